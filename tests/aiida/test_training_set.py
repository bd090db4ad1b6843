"""The whole chain on argon with Lennard-Jones: real stages, seconds of work."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import run_get_node
from argon import argon_settings, run_argon

from aiida_mbetrain.datasets.graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.reader import read_dataset
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain


def written(node, path: Path) -> str:
    """Sha256 of the content of the node's dataset, written without provenance."""
    return write_dataset(path, dataset_of(stage_nodes(stages_of(node))), provenance=False)


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


def test_same_seed_gives_the_same_bytes(finished, tmp_path: Path):
    again = run_argon()
    assert written(again, tmp_path / "b") == written(finished, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # with its provenance the file names its own nodes, which are others
    assert again.outputs.dataset.get_content("rb") != finished.outputs.dataset.get_content("rb")


def test_another_seed_gives_another_content(finished, argon, lennard_jones, tmp_path: Path):
    seeded = argon_settings(md_sampling={"md_crystal": {"rng_seed": 43}})
    builder = MDSamplingWorkChain.get_builder_from_protocol(argon, lennard_jones, protocol="fast", overrides=seeded)
    _, other = run_get_node(builder)
    assert written(other, tmp_path / "b") != written(stages_of(finished)[0], tmp_path / "a")


def test_dataset_reads_back(finished, tmp_path: Path):
    path = tmp_path / "set.hdf5"
    path.write_bytes(finished.outputs.dataset.get_content("rb"))
    dataset = read_dataset(path)
    assert sorted(dataset.cluster_sets) == [
        f"training/{stage}/finite_subsystems/n={n}"
        for stage in ("md_sampling/crystal[dyn:T=20.00]", "phonon_sampling")
        for n in (1, 2, 3)
    ]
