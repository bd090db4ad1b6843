"""The tables at the end of a run."""

from __future__ import annotations

import io
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from argon import argon_settings, run_argon
from rich.console import Console

from aiida_mbetrain.cli.summary import print_summary, run_infos
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of


def summary_of(run: Any, tmp_path) -> tuple[list[list[str]], str]:
    """Cells of the table of contents, the header first, and the whole text."""
    output = tmp_path / "set.hdf5"
    output.write_bytes(run.outputs.dataset.get_content("rb"))
    console = Console(file=io.StringIO(), width=120)
    print_summary(console, run, dataset_of(stage_nodes(stages_of(run))), output)
    text = console.file.getvalue()
    rows = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in text.splitlines()]
    return [row for row in rows if len(row) == 4], text


def energies_per_atom(run: Any, stage: str) -> str:
    trajectory = run.outputs[stage].trajectory
    energies = trajectory.get_array("energies") / len(trajectory.symbols)
    return f"{energies.min():.5f} … {energies.max():.5f}"


def periodic_rows(run: Any) -> list[list[str]]:
    """What the contents must say of the frames of dynamics (4 stored) and of phonons."""
    rows = []
    for name, stage in (("MD", "md_sampling"), ("phonons", "phonon_sampling")):
        trajectory = run.outputs[stage].trajectory
        system, n_frames = f"crystal of {len(trajectory.symbols)} atoms", str(trajectory.numsteps)
        rows.append([name, system, n_frames, energies_per_atom(run, stage)])
    return rows


def test_contents_have_a_row_for_every_trajectory_and_cluster(finished, tmp_path):
    (header, *rows), text = summary_of(finished, tmp_path)
    assert header == ["source", "system", "configurations", "energy range (eV per atom)"]
    dynamics, phonons = periodic_rows(finished)
    assert dynamics[2] == "4"
    assert [row[:2] for row in rows] == [
        *([dynamics[:2]] + [["MD", f"n={n}"] for n in (1, 2, 3)]),
        *([phonons[:2]] + [["phonons", f"n={n}"] for n in (1, 2, 3)]),
    ]
    assert rows[0] == dynamics
    assert rows[4] == phonons
    pairs = finished.outputs.md_sampling.clusters.n_2.to_science().configurations
    assert rows[2][2:] == [str(pairs.n_frames), f"{pairs.energies.min() / 2:.5f} … {pairs.energies.max() / 2:.5f}"]
    for stage in ("molecular_dynamics", "force_constants", "labels"):
        assert stage in text
    assert "set.hdf5" in text


def test_import_and_loading_have_a_row_of_their_own(finished, tmp_path):
    output = tmp_path / "set.hdf5"
    output.write_bytes(finished.outputs.dataset.get_content("rb"))
    seconds = {}
    for before in (0.0, 100.0):
        console = Console(file=io.StringIO(), width=120)
        print_summary(console, finished, dataset_of(stage_nodes(stages_of(finished))), output, seconds_before=before)
        rows = [line.split() for line in console.file.getvalue().splitlines() if line.strip().startswith("import")]
        [[*name, time, share]] = rows
        assert name == ["import", "and", "loading"]
        seconds[before] = float(time)
    assert seconds[100.0] - seconds[0.0] == pytest.approx(100.0, abs=0.2)
    assert int(share.removesuffix("%")) > 10


def test_stages_taken_from_an_earlier_run_took_no_time(finished):
    assert {owner for owner, _ in run_infos(finished)} == {"md_sampling", "quasi_harmonic", "phonon_sampling"}
    builder = finished.get_builder_restart()
    builder.phonon_sampling.settings = orm.Dict(builder.phonon_sampling.settings.get_dict() | {"n_frames": 1})
    with enable_caching():
        _, again = run_get_node(builder)
    assert again.is_finished_ok
    assert {owner for owner, _ in run_infos(again)} == {"phonon_sampling"}


@pytest.fixture(scope="module")
def without_clusters(profile) -> Any:
    return run_argon(
        argon_settings(md_sampling={"finite_subsystem_filter": None}, phonon_sampling={"finite_subsystem_filter": None})
    )


def test_phonons_say_what_their_supercell_and_their_free_energy_leave_out(finished, tmp_path):
    _, text = summary_of(finished, tmp_path)
    constants = finished.outputs.quasi_harmonic.force_constants
    n_modes = finished.outputs.quasi_harmonic.thermodynamics.base.attributes.get("n_modes")
    kept = "{n_operations_kept} of {n_operations}".format(**constants.base.attributes.all)
    [row] = [line for line in text.splitlines() if "crystal[opt" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[1] == str(constants.to_science().supercell.n_atoms)
    assert cells[3:] == [kept, f"0 of {n_modes}"]


def test_contents_of_a_run_without_clusters_are_its_trajectories(without_clusters, tmp_path):
    (_, *rows), _ = summary_of(without_clusters, tmp_path)
    assert rows == periodic_rows(without_clusters)
