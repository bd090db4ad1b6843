"""Every test here works in the session's profile."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def _loaded(profile):
    """The profile of tests/conftest.py."""
