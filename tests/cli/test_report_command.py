"""The report command on runs, files, failed runs and what is neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import LENNARD_JONES, argon_atoms, argon_settings

from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


@pytest.fixture(scope="module")
def failed(profile) -> orm.WorkChainNode:
    """A training set whose dynamics exceeds the largest force at once."""
    settings = argon_settings(md_sampling={"md_crystal": {"max_force": 1e-9}})
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()), LENNARD_JONES, protocol="fast", overrides=settings
    )
    _, node = run_get_node(builder)
    assert not node.is_finished_ok
    return node


def test_report_of_a_run_shows_processes_times_and_the_map(succeed, finished, tmp_path: Path):
    page = tmp_path / "run.html"
    assert succeed("report", finished.pk, "-o", page).strip() == str(page)
    text = page.read_text("utf-8")
    assert f"TrainingSetWorkChain &lt;{finished.pk}&gt;" in text
    assert "Time by stage" in text
    assert "the map is one of geometry" in text  # Lennard-Jones has no features


def test_report_of_a_file_finds_the_run_in_the_profile(succeed, finished, tmp_path: Path):
    file, page = tmp_path / "set.hdf5", tmp_path / "file.html"
    succeed("export", finished.pk, "-o", file)
    succeed("report", file, "-o", page)
    text = page.read_text("utf-8")
    assert f"TrainingSetWorkChain &lt;{finished.pk}&gt;" in text
    assert str(file) in text  # in the trace command


def test_report_of_a_failed_run_names_the_failure_first(succeed, failed, tmp_path: Path):
    page = tmp_path / "failed.html"
    succeed("report", failed.pk, "-o", page)
    text = page.read_text("utf-8")
    assert f"failed with exit status {failed.exit_status}" in text
    assert text.index("failed with exit status") < text.index('id="overview"')


def test_report_refuses_other_nodes_and_files(fail, finished, tmp_path: Path):
    page = tmp_path / "r.html"
    structure = finished.inputs.structure
    assert "is a StructureData: give a dataset file" in fail("report", structure.pk, "-o", page)
    assert "does not exist" in fail("report", tmp_path / "none.hdf5", "-o", page)
    (tmp_path / "notes.hdf5").write_text("no")
    assert "not an HDF5 file" in fail("report", tmp_path / "notes.hdf5", "-o", page)
    assert "cannot be written" in fail("report", finished.pk, "-o", tmp_path / "none" / "r.html")
    assert not page.exists()
