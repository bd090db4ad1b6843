"""Every node type gives back the science object it was made of, and works with AiiDA's own commands."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from aiida import orm
from labelled_frames import MORSE, labelled_frames
from models import save_random_mace

from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.conversion import TO_NODE, as_node, as_science
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.structures import structure_from_configurations
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.demo import model_path
from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.phonons import band_structure
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.reference_labels import Fragment, FragmentLabels, Fragments
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import ModelFile
from aiida_mbetrain.settings import FiniteSubsystemFilter, Inference


def nitrogen_frames(n_frames: int = 3) -> Configurations:
    """Distorted crystals of one N2 per cell with every per-frame array there is."""
    rng = np.random.default_rng(2)
    positions = np.array([[0, 0, 0], [0, 0, 1.1]]) + rng.normal(scale=0.02, size=(n_frames, 2, 3))
    return Configurations(
        numbers=np.array([7, 7]),
        positions=positions,
        cells=np.repeat(np.diag([4.0, 4.1, 4.9])[None], n_frames, axis=0),
        energies=rng.normal(size=n_frames),
        forces=rng.normal(size=positions.shape),
        stress=rng.normal(size=(n_frames, 3, 3)),
        velocities=rng.normal(size=positions.shape),
        features=rng.normal(size=(n_frames, 2, 5)),
        origin={"md_step": np.arange(n_frames) * 20, "time_fs": np.arange(n_frames) * 10.0},
    )


def examples(finished: Any) -> dict[str, Any]:
    """One science object of every type that has a node."""
    frames = nitrogen_frames()
    crystal = detect_molecules(frames.select([0]))
    force_constants = finished.outputs.quasi_harmonic.force_constants.to_science()
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.1]])
    ghosts = [np.array([False, False]), np.array([False, True])]
    fragments = Fragments.of(Fragment(np.array([7, 7]), positions, ghost) for ghost in ghosts)
    return {
        "Configurations": frames,
        "MolecularCrystal": crystal,
        "ClusterSet": extract_clusters(crystal, frames, FiniteSubsystemFilter(n_molecules=[2]))[0],
        "ForceConstants": force_constants,
        "BandStructure": band_structure(force_constants),
        "Table": Table({"time_fs": np.arange(3.0), "q_mesh": np.eye(3, dtype=int)}),
        "Fragments": fragments,
        "FragmentLabels": replace(
            FragmentLabels.empty(fragments, "0" * 32), failures={1: "SCF not converged"}, programs=("tblite 0.5.0",)
        ),
        "LabelledFrames": labelled_frames(named_calculator(MORSE), n_frames=6),
        "ModelFile": ModelFile(model_path().read_bytes(), model_path().name),
        "dict": {"label": "crystal", "n": 3, "values": [1.0, 2.0]},
    }


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    """Recursive equality of dataclasses, arrays and plain values, to the last bit, types included."""
    assert type(a) is type(b), where
    if is_dataclass(a):
        for field in fields(a):
            assert_equal(getattr(a, field.name), getattr(b, field.name), f"{where}.{field.name}")
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f"{where}[{key}]")
    elif isinstance(a, np.ndarray):
        assert a.dtype.kind == b.dtype.kind, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def test_every_type_that_has_a_node_is_tested(finished):
    assert {cls.__name__ for cls in TO_NODE} == set(examples(finished))


@pytest.mark.parametrize("name", [cls.__name__ for cls in TO_NODE])
def test_stored_node_gives_back_the_object(finished, name):
    value = examples(finished)[name]
    node = as_node(value).store()
    assert_equal(as_science(orm.load_node(node.uuid)), value, name)


def test_structure_there_and_back(argon):
    configurations = as_science(argon)
    atoms = configurations.to_atoms()[0]
    assert atoms == argon.get_ase()


def test_minimal_frames_survive():
    bare = Configurations(numbers=np.array([18]), positions=np.zeros((2, 1, 3)), cells=np.stack([np.eye(3) * 4] * 2))
    assert_equal(as_science(as_node(bare)), bare)


def test_trajectory_works_with_the_core_api(finished):
    node = finished.outputs.md_sampling.trajectory
    frames = as_science(node)
    structure = node.get_step_structure(1)
    np.testing.assert_allclose(structure.get_ase().positions, frames.positions[1])
    np.testing.assert_allclose(structure.cell, frames.cells[1])
    assert structure.pbc == (True, True, True)
    assert node.get_stepids().tolist() == frames.origin["md_step"].tolist()
    np.testing.assert_allclose(node.get_times() * 1000.0, frames.origin["time_fs"])
    exported = node._exportcontent("xsf")[0].decode()
    assert exported.count("PRIMCOORD") == frames.n_frames


def test_bands_work_with_the_core_export(finished):
    node = finished.outputs.quasi_harmonic.phonon_bands
    assert node.units == "THz"
    bands = as_science(node)
    exported = node._exportcontent("agr")[0].decode()
    assert "THz" in exported
    assert len(node.get_bands()) == sum(len(segment) for segment in bands.frequencies_THz)
    json_text = node._exportcontent("json")[0].decode()
    assert "paths" in json_text


def test_facts_worth_querying_are_attributes(finished):
    crystal = finished.outputs.md_sampling.molecular_crystal
    assert isinstance(crystal, MolecularCrystalData)
    query = orm.QueryBuilder().append(ClusterSetData, filters={"attributes.key": "n=3", "attributes.labelled": True})
    assert finished.outputs.md_sampling.clusters.n_3.pk in [node.pk for node in query.all(flat=True)]
    atoms = crystal.base.attributes.get("n_atoms")
    query = orm.QueryBuilder().append(MolecularCrystalData, filters={"attributes.n_molecules": atoms})
    assert query.count() >= 1
    assert isinstance(finished.outputs.md_sampling.thermodynamics, TableData)


def test_force_constants_give_a_live_phonopy_and_come_from_one(finished):
    node = finished.outputs.quasi_harmonic.force_constants
    phonon = node.phonopy()
    phonon.run_qpoints([[0.1, 0.2, 0.3]])
    assert (phonon.qpoints.frequencies > 0).all()
    again = ForceConstantsData.from_phonopy(phonon).to_science()
    np.testing.assert_allclose(again.force_constants, node.to_science().force_constants, atol=1e-10)


# ---------------------------------------------------------------------------------------------------------------
# Models


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    return save_random_mace(tmp_path_factory.mktemp("models") / "unique.model", channels=2, seed=11)


def test_the_same_model_file_is_never_stored_twice(profile, model_file, tmp_path):
    first = MaceModelData.get_or_create(model_file)
    copy = tmp_path / "other_name.model"
    copy.write_bytes(model_file.read_bytes())
    assert MaceModelData.get_or_create(model_file).pk == first.pk
    assert MaceModelData.get_or_create(str(copy)).pk == first.pk
    count = orm.QueryBuilder().append(MaceModelData, filters={"attributes.sha256": first.sha256}).count()
    assert count == 1


def test_a_model_node_says_what_the_model_is(profile, model_file):
    node = MaceModelData.get_or_create(model_file)
    assert node.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert node.elements == ["H", "C", "N"]
    facts = node.base.attributes.all
    assert (facts["r_max"], facts["num_interactions"], facts["dtype"], facts["heads"]) == (
        4.0,
        2,
        "float64",
        ["Default"],
    )
    assert facts["mace_version"]


def test_a_model_node_loads_the_potential_of_its_file(profile, model_file):
    from aiida_mbetrain.science.potentials import load_mace

    frames = nitrogen_frames(1)
    node = MaceModelData.get_or_create(model_file)
    energies = [p.evaluate([frames])[0].energies for p in (node.load(Inference()), load_mace(model_file))]
    np.testing.assert_array_equal(*energies)


def test_masses_of_isotopes_survive_nodes_of_structures_and_frames():
    """With ordinary masses nothing is stored, and AiiDA's own table is not mistaken for isotopes."""
    usual = nitrogen_frames()
    assert "isotope_masses" not in as_node(usual).get_arraynames()
    assert as_science(structure_from_configurations(usual)).isotope_masses is None
    heavy = usual.with_(isotope_masses=np.array([14.007, 15.0001]))
    for node in (as_node(heavy), structure_from_configurations(heavy)):
        np.testing.assert_array_equal(as_science(node).masses, heavy.masses)
    moved = heavy.with_(dynamical_masses=np.array([14.5, 14.5]))
    np.testing.assert_array_equal(as_science(as_node(moved)).dynamical_masses, [14.5, 14.5])
    np.testing.assert_array_equal(as_science(as_node(moved)).masses, heavy.masses)
    labelled = orm.StructureData(cell=np.diag([5.0, 5.0, 5.0]).tolist())
    labelled.append_atom(symbols="Tc", position=[0, 0, 0])
    labelled.append_atom(symbols="S", position=[2.5, 2.5, 2.5], name="S2")
    np.testing.assert_allclose(as_science(labelled).masses, [97.907, 32.06], rtol=1e-3)


@pytest.mark.parametrize(
    ("symbols", "weights", "said"),
    [(["Ar", "Kr"], [0.5, 0.5], r"site 1 .* Ar 0\.5, Kr 0\.5"), (["Ar"], [0.7], r"site 1 .* Ar 0\.7")],
)
def test_alloy_and_vacancy_are_refused_by_their_site(symbols, weights, said):
    node = orm.StructureData(cell=np.diag([5.0, 5.0, 5.0]).tolist())
    node.append_atom(symbols="Ar", position=[0, 0, 0])
    node.append_atom(symbols=symbols, weights=weights, position=[2.5, 2.5, 2.5])
    with pytest.raises(InvalidStructure, match=said):
        as_science(node)
