"""A campaign file beside crystals of argon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from campaign_files import argon_campaign, write_argon

Write = Callable[..., Path]


@pytest.fixture
def write_campaign(tmp_path: Path) -> Write:
    """Write a campaign file with changes beside some crystals, and give its path."""

    def write(*, lattice_constants: tuple[float, ...] = (5.26, 5.30, 5.34), **changes: Any) -> Path:
        write_argon(tmp_path / "crystals", *lattice_constants)
        path = tmp_path / "campaign.yaml"
        path.write_text(yaml.safe_dump(argon_campaign(**changes)))
        return path

    return write
