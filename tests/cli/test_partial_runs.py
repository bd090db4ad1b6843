"""Commands on a run whose dynamics failed, and single stages from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from aiida import orm
from argon import argon_atoms, argon_settings
from ase.io import read, write
from models import save_random_mace
from partial_runs import UNSTABLE, run_unstable


@pytest.fixture(scope="module")
def unstable(profile) -> orm.WorkChainNode:
    """A training set of argon whose dynamics becomes unstable."""
    return run_unstable()


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """Options of ``run`` that name a crystal whose atoms are out of place, a model and settings."""
    folder = tmp_path_factory.mktemp("given")
    atoms = argon_atoms() * (2, 1, 1)
    atoms.positions[0] += [0.2, 0.1, 0.0]
    write(folder / "argon.cif", atoms)
    model = save_random_mace(folder / "argon.model", elements=(18,), channels=2, seed=21)
    settings = argon_settings(quasi_harmonic={"max_force_on_atom": 0.05, "symmetrize_unit_cell": False})
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    options = {"--structure": folder / "argon.cif", "--model": model, "--overrides": folder / "settings.yaml"}
    return [str(word) for option in options.items() for word in option] + ["--protocol", "fast"]


def test_messages_are_told_whole(unstable, succeed):
    told = " ".join(succeed("status", unstable.pk).split())
    assert re.search(r"outside temperature_window = \(0\.9999, 1\.0001\); reduce time_step_fs", told)
    assert "`aiida-mbetrain run --relax-first`" in told


def test_show_lists_what_the_failed_run_made(unstable, succeed):
    told = succeed("show", unstable.pk)
    for output in ("md_sampling.trajectory", "md_sampling.thermodynamics", "phonon_sampling.modes"):
        assert output in told


def test_verdicts_judge_what_there_is(unstable, succeed):
    sections = {verdict["section"].split("/")[1] for verdict in json.loads(succeed("verdicts", unstable.pk, "--json"))}
    assert sections == {"md_sampling", "quasi_harmonic", "phonon_sampling"}


def test_plot_draws_what_there_is(unstable, succeed, tmp_path):
    told = succeed("plot", unstable.pk, "-o", tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn >= {"molecular_dynamics", "phonon_bands", "phonon_clusters"}
    assert "md_clusters" not in drawn
    assert "md_sampling is not whole: it failed [450]: Molecular dynamics stopped at step 9" in told


def test_export_of_a_partial_run_says_what_is_missing_in_the_file_and_the_terminal(unstable, succeed, tmp_path):
    from aiida_mbetrain.datasets.hdf5 import read_dataset

    told = succeed("export", unstable.pk, "-o", tmp_path / "partial.hdf5")
    assert "Missing or not whole: md_sampling: it failed [450]" in told
    dataset = read_dataset(tmp_path / "partial.hdf5")
    (missing,) = dataset.provenance["missing"]
    assert missing.startswith("md_sampling: it failed [450]: Molecular dynamics stopped at step 9 (45 fs)")
    assert dataset.md[0].trajectory.origin["time_fs"].tolist() == [30.0, 40.0]
    assert dataset.md[0].molecules is None
    assert dataset.phonons[0].molecules is not None


def test_report_of_a_partial_run_is_written(unstable, succeed, tmp_path):
    succeed("report", unstable.pk, "-o", tmp_path / "report.html")
    assert "Molecular dynamics stopped" in (tmp_path / "report.html").read_text("utf-8")


def test_other_commands_want_a_whole_run(unstable, fail, tmp_path):
    assert "450" in fail("export-xyz", unstable.pk, "-o", tmp_path / "xyz")


def test_relaxation_alone_writes_the_relaxed_crystal(given, succeed, tmp_path):
    output = tmp_path / "relaxed.extxyz"
    told = succeed("run", *given, "--only", "relaxation", "-o", output)
    pk = re.search(r"StructureData<(\d+)>", told)[1]
    np.testing.assert_allclose(read(output).positions, orm.load_node(int(pk)).get_ase().positions, atol=1e-7)


def test_force_constants_alone_then_phonons_alone(given, succeed, fail, tmp_path):
    from aiida_mbetrain.datasets.hdf5 import read_dataset

    told = succeed("run", *given, "--only", "force_constants", "-o", tmp_path / "constants.hdf5")
    pk = re.search(r"QuasiHarmonicWorkChain<(\d+)>", told)[1]
    assert len(read_dataset(tmp_path / "constants.hdf5").quasi_harmonic) == 1
    assert "--only phonons needs --force-constants" in fail("run", *given, "--only", "phonons")
    succeed("run", *given, "--only", "phonons", "--force-constants", pk, "-o", tmp_path / "phonons.hdf5")
    assert len(read_dataset(tmp_path / "phonons.hdf5").phonons) == 1


def test_dynamics_alone_from_the_relaxed_crystal(given, succeed, tmp_path):
    """In NPT the cell is relaxed, too."""
    settings = yaml.safe_load(Path(given[5]).read_text())
    settings["md_sampling"]["md_crystal"] |= {"ensemble": "NPT"}
    npt = tmp_path / "npt.yaml"
    npt.write_text(yaml.safe_dump(settings))
    given = [str(npt) if word == given[5] else word for word in given]
    told = succeed("run", *given, "--only", "md", "--relax-first", "-o", tmp_path / "md.hdf5")
    node = orm.load_node(int(re.search(r"MDSamplingWorkChain<(\d+)>", told)[1]))
    relaxed, start = node.outputs.relaxed_structure, node.inputs.structure
    assert relaxed.get_cell_volume() != pytest.approx(start.get_cell_volume(), rel=1e-6)
    assert node.outputs.supercell.creator.inputs.structure.uuid == relaxed.uuid
    assert node.outputs.supercell.creator.exit_status == 0


def test_guard_in_equilibration_can_be_plotted(lennard_jones, argon, succeed, tmp_path):
    from aiida.engine import run_get_node

    from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain

    settings = argon_settings(md_sampling=UNSTABLE)["md_sampling"]
    settings["md_crystal"]["time_equilibration_fs"] = 50.0
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        argon, lennard_jones, protocol="fast", overrides={"md_sampling": settings}
    )
    _, node = run_get_node(builder)
    assert "molecular_dynamics.png" in succeed("plot", node.pk, "-o", tmp_path)
