"""Every test here works in the session's profile, on argon."""

from __future__ import annotations

import pytest
from aiida import orm
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms

__all__ = ["ARGON_SETTINGS", "LENNARD_JONES"]


@pytest.fixture(scope="session", autouse=True)
def _loaded(profile):
    """The profile of tests/conftest.py."""


@pytest.fixture
def argon() -> orm.StructureData:
    """Fcc argon, one atom and one molecule per cell."""
    return orm.StructureData(ase=argon_atoms())


@pytest.fixture
def lennard_jones() -> orm.Dict:
    """A model input that needs no model file."""
    return orm.Dict(LENNARD_JONES)
