"""The whole chain on argon with Lennard-Jones: real stages, seconds of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import LENNARD_JONES, argon_settings, run_argon
from ase import Atoms
from ase.build import bulk
from commands import call

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import read_dataset, write_dataset
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


def written(node, path: Path) -> str:
    """Sha256 of the content of the node's dataset, written without provenance."""
    return write_dataset(path, dataset_of(stage_nodes(stages_of(node))), provenance=False)


def test_every_stage_hands_out_its_nodes(finished):
    assert set(finished.outputs) == {"md_sampling", "quasi_harmonic", "phonon_sampling", "dataset", "verdicts"}
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


ROOT_KEYS = ("training/md_sampling", "training/quasi_harmonic", "training/phonon_sampling")


def provenance_by_group(file: h5py.File) -> dict[str, dict[str, Any]]:
    """Provenance attributes of every group below a root key, by path."""
    groups: dict[str, h5py.Group] = {}
    for key in ROOT_KEYS:
        file[key].visititems(lambda path, item, key=key: groups.update({f"{key}/{path}": item}))
    return {
        path: {name: group.attrs[name] for name in group.attrs if name.startswith("provenance.")}
        for path, group in groups.items()
        if isinstance(group, h5py.Group)
    }


def test_every_group_below_a_root_key_says_where_it_came_from(finished, tmp_path: Path):
    (tmp_path / "set.hdf5").write_bytes(finished.outputs.dataset.get_content("rb"))
    with h5py.File(tmp_path / "set.hdf5") as file:
        said = provenance_by_group(file)
        assert len(said) > 30
        assert [path for path, attributes in said.items() if not attributes] == []
    dynamics = next(node for node in finished.called_descendants if node.process_label == "molecular_dynamics")
    section = "training/md_sampling/crystal[dyn:T=20.00]"
    for group in ("trajectory", "trajectory/origin", "time_series", "molecular_crystal/supercell"):
        assert said[f"{section}/{group}"]["provenance.process_uuid"] == dynamics.uuid
    constants = finished.outputs.quasi_harmonic.force_constants
    inside = "training/quasi_harmonic/phonons/crystal[opt:atoms,shape]/force_constants"
    for group in ("primitive", "supercell"):
        assert said[f"{inside}/{group}"]["provenance.node_uuid"] == constants.uuid


# ---------------------------------------------------------------------------------------------------------------
# Molecules that differ


def xenon_pair_in_argon() -> Atoms:
    """Fcc lattice of ten argon atoms and two xenon neighbours, which a wide bond_tolerance counts as one molecule."""
    atoms = bulk("Ar", "fcc", a=5.26) * (3, 2, 2)
    atoms.numbers[[0, 4]] = 54
    assert atoms.get_distance(0, 4) < 3.8
    return atoms


@pytest.fixture(scope="module")
def mixed(profile) -> Any:
    """A training set of molecules of one and two atoms."""
    rule = {
        "n_molecules": [1, 2],
        "assert_identical_composition": False,
        "bond_tolerance": 1.4,  # Xe-Xe 3.92 Å, Ar-Xe 3.44 Å; neighbours are 3.72 Å apart
        "bond_check_tolerance": 1.7,
    }
    unit_cell = {"supercell_matrix": np.eye(3, dtype=int).tolist()}
    overrides = argon_settings(
        md_sampling={"finite_subsystem_filter": rule, "md_crystal": unit_cell | {"ensemble": "NPT"}},
        quasi_harmonic=unit_cell,
        phonon_sampling={"finite_subsystem_filter": rule, "n_frames": 1},
    )
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=xenon_pair_in_argon()), orm.Dict(LENNARD_JONES), protocol="fast", overrides=overrides
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


SECTIONS_WITH_MOLECULES = ("training/md_sampling/crystal[dyn:T=20.00,p=0.00010]", "training/phonon_sampling")


@pytest.mark.parametrize("section", SECTIONS_WITH_MOLECULES)
def test_molecules_of_different_sizes_are_padded_in_the_file(mixed, tmp_path: Path, section):
    call("export", mixed.pk, "-o", tmp_path / "mixed.hdf5")
    assert (tmp_path / "mixed.hdf5").read_bytes() == mixed.outputs.dataset.get_content("rb")
    with h5py.File(tmp_path / "mixed.hdf5") as file:
        group = file[f"{section}/molecular_crystal"]
        assert group.attrs["identical_composition"] is np.False_
        assert group.attrs["n_molecules"] == 11
        index_map = group["index_map"][()]
        numbers = group["reference/atomic_numbers"][()]
    assert index_map.shape == (11, 2)
    single = index_map[:, 1] == -1
    assert single.sum() == 10
    assert (numbers[index_map[single, 0]] == 18).all()
    assert (numbers[index_map[~single]] == 54).all()
    assert sorted(index_map[index_map >= 0]) == list(range(12))


def test_molecules_of_different_sizes_come_back_from_the_file(mixed, tmp_path: Path):
    call("export", mixed.pk, "-o", tmp_path / "mixed.hdf5")
    dataset = read_dataset(tmp_path / "mixed.hdf5")
    stages = (mixed.outputs.md_sampling, mixed.outputs.phonon_sampling)
    for section, stage in zip((dataset.md[0], dataset.phonons[0]), stages, strict=True):
        crystal, made = section.molecules.crystal, stage.molecular_crystal.to_science()
        assert crystal.identical_composition is False
        np.testing.assert_array_equal(crystal.index_map, made.index_map)
        for clusters in section.molecules.clusters:
            atoms = np.concatenate([crystal.atoms_of(m) for m in clusters.cluster.molecule_indices])
            np.testing.assert_array_equal(clusters.configurations.numbers, crystal.numbers[atoms])
            assert np.isfinite(clusters.configurations.energies).all()
    write_dataset(tmp_path / "again.hdf5", dataset)
    assert (tmp_path / "again.hdf5").read_bytes() == (tmp_path / "mixed.hdf5").read_bytes()
