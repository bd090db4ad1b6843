"""Campaigns of argon: files of new ones, and one that is finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from campaign_files import argon_campaign, write_argon
from click.testing import CliRunner

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


@pytest.fixture(scope="session")
def finished_campaign(profile: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The plan and states of a finished campaign, ``exported``, of two crystals at 20 and 30 K."""
    from aiida_mbetrain.campaigns.record import group_of, read_record
    from aiida_mbetrain.campaigns.state import stage_states
    from aiida_mbetrain.cli import main

    folder = tmp_path_factory.mktemp("export")
    write_argon(folder / "crystals", 5.26, 5.30)
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(argon_campaign(name="exported", pressures_GPa=[0.0001])))
    result = CliRunner().invoke(main, ["campaign", "run", str(path), "--here"])
    assert result.exit_code == 0, result.output
    record = read_record(group_of("exported"))
    assert record is not None
    plan = record.plan()
    return plan, stage_states(plan)


@pytest.fixture(scope="session")
def exported(finished_campaign: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of that campaign."""
    from aiida_mbetrain.campaigns.export import export_campaign

    path = tmp_path_factory.mktemp("file") / "set.hdf5"
    assert len(export_campaign(path, *finished_campaign)) == 2 * (1 + 2 + 2)
    return path
