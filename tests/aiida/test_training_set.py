"""The whole chain on argon with Lennard-Jones: real stages, seconds of work."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from conftest import ARGON_SETTINGS

from aiida_mbetrain.datasets.graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.reader import read_dataset


def run_argon(argon: orm.StructureData, model: orm.Dict) -> orm.WorkChainNode:
    builder = WorkflowFactory("mbetrain.training_set").get_builder_from_protocol(
        argon, model, protocol="fast", overrides=ARGON_SETTINGS
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


@pytest.fixture(scope="module")
def finished(profile) -> orm.WorkChainNode:
    from ase.build import bulk
    from conftest import LENNARD_JONES

    return run_argon(orm.StructureData(ase=bulk("Ar", "fcc", a=5.26)), orm.Dict(LENNARD_JONES))


def test_every_stage_hands_out_its_nodes(finished):
    assert set(finished.outputs) == {"md_sampling", "quasi_harmonic", "phonon_sampling", "dataset"}
    assert set(finished.outputs.md_sampling.clusters) == {"n_1", "n_2", "n_3"}


def test_children_are_linked_under_the_names_of_their_stages(finished):
    links = finished.base.links.get_outgoing().all()
    calls = {link.link_label for link in links if link.link_type.value.startswith("call")}
    assert calls == {"md_sampling", "quasi_harmonic", "phonon_sampling", "build_dataset"}


def test_only_frames_after_equilibration_enter(finished):
    times = finished.outputs.md_sampling.trajectory.get_array("origin_time_fs")
    assert times.tolist() == [30.0, 40.0, 50.0, 60.0]


def test_stored_dataset_equals_the_one_rebuilt_from_the_graph(finished, tmp_path: Path):
    write_dataset(tmp_path / "rebuilt.hdf5", dataset_of(stage_nodes(stages_of(finished))))
    assert (tmp_path / "rebuilt.hdf5").read_bytes() == finished.outputs.dataset.get_content("rb")


def test_same_seed_gives_the_same_bytes(finished, argon, lennard_jones, tmp_path: Path):
    again = run_argon(argon, lennard_jones)
    for name, node in (("a", finished), ("b", again)):
        write_dataset(tmp_path / name, dataset_of(stage_nodes(stages_of(node))), provenance=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_dataset_reads_back(finished, tmp_path: Path):
    path = tmp_path / "set.hdf5"
    path.write_bytes(finished.outputs.dataset.get_content("rb"))
    dataset = read_dataset(path)
    assert sorted(dataset.cluster_sets) == [
        f"training/{stage}/finite_subsystems/n={n}"
        for stage in ("md_sampling/crystal[dyn:T=20.00]", "phonon_sampling")
        for n in (1, 2, 3)
    ]
