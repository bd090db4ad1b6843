"""Every foreseeable mistake ends a process with its own exit code and a message with field, value and remedy."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms, argon_settings
from ase import Atoms
from ase.build import bulk, molecule
from models import save_random_mace

from aiida_mbetrain.calculations.functions.molecular_dynamics import molecular_dynamics
from aiida_mbetrain.data.mace_model import MaceModelData, sha256_of
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.errors import InvalidSettings, NotAModel, UnreadableFile, UnwritableOutput
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


@pytest.fixture(scope="module")
def mace_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MACE model of hydrogen, carbon and nitrogen with random weights."""
    return save_random_mace(tmp_path_factory.mktemp("models") / "random.model", channels=2)


@pytest.fixture(scope="module")
def mace_model(profile, mace_file) -> MaceModelData:
    return MaceModelData.get_or_create(mace_file)


def builder_of(workchain: Any, source: Any, model: Any = None, overrides: dict[str, Any] | None = None) -> Any:
    """A builder with the settings of argon; source: atoms, or force constants."""
    source = orm.StructureData(ase=source) if isinstance(source, Atoms) else source
    return workchain.get_builder_from_protocol(
        source, model or orm.Dict(LENNARD_JONES), protocol="fast", overrides=overrides or ARGON_SETTINGS
    )


def refused(workchain: Any, source: Any, **inputs: Any) -> orm.WorkChainNode:
    """The node of a process that failed."""
    _, node = run_get_node(builder_of(workchain, source, **inputs))
    assert not node.is_finished_ok
    return node


def steps_of(node: orm.WorkChainNode) -> list[str]:
    """Labels of all steps that ran, at any depth."""
    return [called.process_label for called in node.called_descendants]


def assert_message(node: orm.ProcessNode, pattern: str) -> None:
    """The exit message is one line that says what the pattern asks for."""
    assert re.search(pattern, node.exit_message), node.exit_message
    assert "\n" not in node.exit_message


# ---------------------------------------------------------------------------------------------------------------
# What is refused before the first step


def slab() -> Atoms:
    atoms = argon_atoms()
    atoms.pbc = (True, True, False)
    return atoms


def overlapping() -> Atoms:
    atoms = argon_atoms()
    return atoms + Atoms("Ar", [[0.1, 0.0, 0.0]])


def nitrogen_and_argon() -> Atoms:
    return Atoms("N2Ar", [[0, 0, 0], [0, 0, 1.1], [3.5, 3.5, 3.5]], cell=np.eye(3) * 7.0, pbc=True)


STRUCTURES = {
    "no-cell": (molecule("N2"), 203, "no cell.*Give the periodic structure"),
    "slab": (slab(), 203, "periodic"),
    "overlap": (overlapping(), 203, r"Atoms 0 and 1 .* 0.100 Å apart; remove duplicates"),
    "network": (bulk("C", "diamond", a=3.567), 204, "own periodic images.*bond_tolerance = 1.2"),
    "unequal": (nitrogen_and_argon(), 205, "1 x Ar, 1 x N2.*set assert_identical_composition = False"),
}
SETTINGS = {
    "md-supercell": ({"md_sampling": {"md_crystal": {"max_atoms": 3}}}, 206, r"atoms.*max_atoms = 3.*"),
    "phonon-supercell": ({"quasi_harmonic": {"max_atoms": 3}}, 206, r"atoms.*max_atoms = 3.*"),
    "mesh": (
        {"phonon_sampling": {"phonon_filter": {"k_point_mesh": [5, 5, 5]}}},
        207,
        r"k_point_mesh.*5.*commensurate",
    ),
    "modes": (
        {"phonon_sampling": {"phonon_filter": {"selected_modes": [4]}}},
        209,
        r"selected_modes = \[4\]: .* modes 1 to 3",
    ),
    "window": (
        {"phonon_sampling": {"phonon_filter": {"freq_min_THz": 500.0, "freq_max_THz": None}}},
        208,
        r"PhononFilter.freq_min_THz = 500.0: no mode lies above 140 THz.*Lower freq_min_THz",
    ),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_training_set_refuses_a_structure_before_anything_is_computed(name):
    atoms, code, message = STRUCTURES[name]
    node = refused(TrainingSetWorkChain, atoms)
    assert node.exit_status == code
    assert steps_of(node) == []
    assert_message(node, message)


@pytest.mark.parametrize("name", SETTINGS)
def test_training_set_refuses_settings_that_do_not_fit_before_anything_is_computed(name):
    changes, code, message = SETTINGS[name]
    node = refused(TrainingSetWorkChain, argon_atoms(), overrides=argon_settings(**changes))
    assert node.exit_status == code
    assert steps_of(node) == []
    assert_message(node, message)


@pytest.mark.parametrize("workchain", [TrainingSetWorkChain, MDSamplingWorkChain, QuasiHarmonicWorkChain])
def test_elements_the_model_lacks_are_refused_before_anything_is_computed(workchain, mace_model):
    node = refused(workchain, argon_atoms(), model=mace_model)
    assert node.exit_status == 202
    assert steps_of(node) == []
    assert_message(node, "contains Ar, the model knows H, C, N: take a model trained for these elements")


def test_elements_the_named_calculator_lacks_are_refused_before_anything_is_computed():
    node = refused(TrainingSetWorkChain, argon_atoms(), model=orm.Dict({"name": "emt"}))
    assert node.exit_status == 202
    assert steps_of(node) == []


@pytest.mark.parametrize("name", ["no-cell", "slab", "overlap"])
@pytest.mark.parametrize("workchain", [MDSamplingWorkChain, QuasiHarmonicWorkChain])
@pytest.mark.parametrize("with_clusters", [True, False])
def test_a_stage_alone_refuses_what_is_no_crystal(workchain, name, with_clusters):
    atoms, code, message = STRUCTURES[name]
    changes = {} if with_clusters else {"md_sampling": {"finite_subsystem_filter": None}}
    node = refused(workchain, atoms, overrides=argon_settings(**changes))
    assert node.exit_status == code
    assert_message(node, message)
    assert not {"molecular_dynamics", "relaxation"} & set(steps_of(node))


# ---------------------------------------------------------------------------------------------------------------
# What the settings classes refuse, before there is a process


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"md_sampling": {"md_crystal": {"sampling_interval_fs": 2.0}}}, "sampling_interval_fs = 2.0 is below"),
        ({"md_sampling": {"md_crystal": {"time_equilibration_fs": 80.0}}}, "time_equilibration_fs = 80.0"),
        ({"md_sampling": {"temperature_K": -5.0}}, "temperature_K = -5.0"),
        ({"md_sampling": {"finite_subsystem_filter": {"n_molecules": [0]}}}, r"n_molecules = \[0\]"),
        ({"md_sampling": {"finite_subsystem_filter": {"selection_rule": "nearest"}}}, "selection_rule = 'nearest'"),
        (
            {
                "phonon_sampling": {
                    "finite_subsystem_filter": {"selection_rule": "max_max_distance_to_central_molecule"}
                }
            },
            r"needs distances \(Å\)",
        ),
        ({"phonon_sampling": {"phonon_filter": {"freq_min_THz": 9.0}}}, "freq_min_THz = 9.0"),
        ({"phonon_samplings": {}}, "no section 'phonon_samplings'"),
        ({"quasi_harmonic": {"volume_rnage": [1.0]}}, "did you mean 'volume_range'"),
    ],
)
def test_builders_refuse_settings_that_contradict_themselves(argon, lennard_jones, changes, message):
    with pytest.raises(InvalidSettings, match=message):
        TrainingSetWorkChain.get_builder_from_protocol(argon, lennard_jones, overrides=argon_settings(**changes))


def test_unknown_protocols_are_refused_with_the_known_ones(argon, lennard_jones):
    with pytest.raises(InvalidSettings, match="no protocol 'quick': take one of fast, balanced, stringent, reference"):
        TrainingSetWorkChain.get_builder_from_protocol(argon, lennard_jones, protocol="quick")


# ---------------------------------------------------------------------------------------------------------------
# What only the model, the dynamics or the phonons tell


def test_dynamics_that_blows_up_ends_the_training_set_after_its_phonons(profile):
    hot = argon_settings(md_sampling={"temperature_K": 2.0e6, "md_crystal": {"time_step_fs": 10.0}})
    node = refused(TrainingSetWorkChain, argon_atoms(), overrides=hot)
    assert node.exit_status == 450
    assert_message(node, r"molecular_dynamics<\d+>: Molecular dynamics stopped at step \d+ .*reduce time_step_fs")
    assert set(node.outputs) == {"md_sampling", "quasi_harmonic", "phonon_sampling"}


def test_relaxation_that_does_not_converge_ends_the_stage(profile):
    hopeless = {"max_n_steps": 1, "max_force_on_atom": 1e-9, "symmetrize_unit_cell": False}
    crystal = argon_atoms() * (2, 1, 1)
    crystal.rattle(0.05, seed=1)
    node = refused(QuasiHarmonicWorkChain, crystal, overrides=argon_settings(quasi_harmonic=hopeless))
    assert node.exit_status == 451
    assert_message(node, "PreconLBFGS and PreconFIRE .* max_force_on_atom = 1.00e-09 and .*: raise max_n_steps = 1")
    assert steps_of(node) == ["relaxation"]
    assert "force_constants" not in node.outputs


def test_frames_with_other_bonds_end_the_stage_where_they_are_refused(profile):
    strict = {"bond_tolerance": 1.753, "bond_check_tolerance": 1.754, "broken_molecules": "refuse"}
    node = refused(
        MDSamplingWorkChain,
        argon_atoms(),
        overrides=argon_settings(md_sampling={"temperature_K": 60.0, "finite_subsystem_filter": strict}),
    )
    assert node.exit_status == 452
    assert_message(node, "other bonds than the reference .*broken_molecules = 'refuse'")


def phonons(force_constants: Any, **phonon_filter: Any) -> orm.WorkChainNode:
    overrides = argon_settings(phonon_sampling={"phonon_filter": phonon_filter})
    return refused(PhononSamplingWorkChain, force_constants, overrides=overrides)


@pytest.mark.parametrize(
    ("phonon_filter", "code", "message"),
    [
        ({"freq_min_THz": 7.9, "freq_max_THz": 8.0}, 208, "freq_min_THz = 7.9"),
        ({"selected_modes": [4]}, 209, "selected_modes contains 4, but there are 3 modes"),
        ({"k_point_mesh": [3, 1, 1]}, 207, "Meshes that fit"),
    ],
)
def test_phonon_sampling_refuses_what_the_force_constants_do_not_hold(finished, phonon_filter, code, message):
    node = phonons(finished.outputs.quasi_harmonic.force_constants, **phonon_filter)
    assert node.exit_status == code
    assert_message(node, message)
    assert "labels" not in steps_of(node)


def run_dynamics(structure: orm.StructureData, ensemble: str) -> orm.ProcessNode:
    """The step molecular_dynamics by itself, of argon's settings."""
    settings = ARGON_SETTINGS["md_sampling"]["md_crystal"] | {"ensemble": ensemble}
    wanted = {"temperature_K": 20.0, "pressure_GPa": 1e-4, "md_crystal": settings}
    inputs = {"settings": orm.Dict(wanted), "model": orm.Dict(LENNARD_JONES), "inference": orm.Dict({})}
    return molecular_dynamics.run_get_node(supercell=structure, **inputs)[1]


def test_npt_of_a_finite_structure_is_refused_where_nvt_runs(profile):
    pair = orm.StructureData(ase=Atoms("Ar2", [[0, 0, 0], [0, 0, 3.8]]))
    node = run_dynamics(pair, "NPT")
    assert node.exit_status == 203
    assert_message(node, "ensemble = 'NPT' needs a periodic cell, this structure is finite: use 'NVT'")
    assert run_dynamics(pair, "NVT").is_finished_ok


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ({"name": "lennard_jones", "parameters": {"sgima": 3.4}}, 211, "no parameter sgima; it has"),
        ({"name": "morse", "parameters": {"rho0": "wide"}}, 211, "morse refuses rho0 = 'wide': give a number"),
    ],
)
def test_parameters_a_calculator_refuses_end_the_first_stage(model, code, message):
    node = refused(MDSamplingWorkChain, argon_atoms(), model=orm.Dict(model))
    assert node.exit_status == code
    assert_message(node, message)


# ---------------------------------------------------------------------------------------------------------------
# Models


def hydrogen_cyanide() -> Atoms:
    """Hypothetical crystal of one HCN per cell."""
    atoms = Atoms("HCN", [[0, 0, 0], [0, 0, 1.07], [0, 0, 2.23]], cell=[4.0, 4.0, 4.8], pbc=True)
    return atoms


def test_a_model_whose_file_was_changed_is_refused(tmp_path, monkeypatch):
    model = MaceModelData(save_random_mace(tmp_path / "tampered.model", channels=2, seed=5)).store()
    other = save_random_mace(tmp_path / "other.model", channels=2, seed=6)
    repository = model.base.repository._repository.backend
    key = model.base.repository.get_object(model.filename).key
    stored = Path(repository.sandbox.abspath) / key
    assert stored.read_bytes() == (tmp_path / "tampered.model").read_bytes()
    stored.write_bytes(other.read_bytes())
    node = refused(MDSamplingWorkChain, hydrogen_cyanide(), model=model)
    assert node.exit_status == 304
    assert_message(node, f"has sha256 [0-9a-f]{{64}}, on record is {model.sha256}: restore the registered file")


def test_a_device_that_is_not_there_is_refused(mace_model, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changes = argon_settings(inference={"device": "cuda"})
    node = refused(MDSamplingWorkChain, hydrogen_cyanide(), model=mace_model, overrides=changes)
    assert node.exit_status == 212
    assert_message(node, "Inference.device = 'cuda'.*take 'auto' or 'cpu'")


def test_a_head_the_model_does_not_have_is_refused(mace_model):
    changes = argon_settings(inference={"head": "pbe"})
    node = refused(MDSamplingWorkChain, hydrogen_cyanide(), model=mace_model, overrides=changes)
    assert node.exit_status == 201
    assert_message(node, "Inference.head = 'pbe': the model has the heads Default")


FOREIGN = {"text": b"not a model", "pickle": pickle.dumps({"weights": [1.0, 2.0]})}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_model_is_not_registered(tmp_path, content):
    path = tmp_path / "notes.model"
    path.write_bytes(content)
    for register in (MaceModelData.get_or_create, MaceModelData):
        with pytest.raises(NotAModel, match=r"give the \.model file") as caught:
            register(path)
        assert "\n" not in caught.value.message
    with pytest.raises(NotAModel, match=str(path)):
        MaceModelData.get_or_create(path)


def test_a_model_file_that_is_missing_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="There is no model file"):
        MaceModelData.get_or_create(tmp_path / "missing.model")


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_registered_file_that_is_no_model_ends_the_stage(mace_file, tmp_path, content):
    """A node of an archive may hold anything: here with the facts of a model, and the sha256 of what it holds."""
    path = tmp_path / "notes.model"
    path.write_bytes(content)
    model = MaceModelData(mace_file)
    model.set_file(path)
    model.base.attributes.set("sha256", sha256_of(path))
    node = refused(MDSamplingWorkChain, hydrogen_cyanide(), model=model.store())
    assert node.exit_status == 303
    assert_message(node, r"molecular_dynamics<\d+>: .*is not a MACE model.*give the .model file")
    assert steps_of(node)[-1] == "molecular_dynamics"


# ---------------------------------------------------------------------------------------------------------------
# Datasets


def test_a_file_that_cannot_be_written_is_refused(finished, tmp_path):
    dataset = dataset_of(stage_nodes(stages_of(finished)[:1]))
    for path in (tmp_path / "missing" / "set.hdf5", tmp_path):
        with pytest.raises(UnwritableOutput, match=str(path)):
            write_dataset(path, dataset)


def test_only_finished_stages_make_a_dataset(finished):
    failed = refused(TrainingSetWorkChain, molecule("N2"))
    with pytest.raises(InvalidSettings, match=f"TrainingSetWorkChain<{failed.pk}> has not run md_sampling"):
        stages_of(failed)
    with pytest.raises(InvalidSettings, match="give a finished TrainingSetWorkChain or one of MDSamplingWorkChain"):
        stage_nodes([finished.outputs.dataset.creator])
