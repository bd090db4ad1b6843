"""The settings whose effect only WorkChains and datasets show: clusters, keys of the file, and thermal expansion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import argon_atoms, argon_settings
from ase import units
from settings_catalog import IN_WORKFLOWS

from aiida_mbetrain.calculations.functions.thermal_expansion import sampled_structures
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.settings import FreeEnergy
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain

SECTIONS = {"MDSampling": "md_sampling", "FreeEnergy": "quasi_harmonic", "PhononSampling": "phonon_sampling"}
KEYS = {"MDSampling.root_key", "FreeEnergy.root_key", "PhononSampling.root_key", "PhononSampling.force_constants_key"}
FILTERS = {"MDSampling.finite_subsystem_filter", "PhononSampling.finite_subsystem_filter"}
EXPANSION = {
    "FreeEnergy.volume_range": ({}, [0.98, 1.0, 1.02, 1.04]),
    "FreeEnergy.eos_sampling": ({}, "pressure"),
    "FreeEnergy.pressure_range": ({"eos_sampling": "pressure"}, [0.1, 0.0, -0.1, -0.2]),
}


def test_every_field_of_the_catalog_is_tested_here():
    alone = {"FreeEnergy.sublimation", "FreeEnergy.thermal_expansion", "MDSampling.relax_first"}
    assert FILTERS | KEYS | set(EXPANSION) | alone == IN_WORKFLOWS


def test_dynamics_that_relaxes_first_keeps_the_cell_in_nvt(lennard_jones):
    atoms = argon_atoms() * (2, 1, 1)
    atoms.positions[0] += [0.2, 0.1, 0.0]
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=atoms),
        lennard_jones,
        protocol="fast",
        overrides=argon_settings(md_sampling={"relax_first": True}),
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    relaxed = node.outputs.relaxed_structure.get_ase()
    np.testing.assert_allclose(relaxed.cell.array, atoms.cell.array, atol=1e-10)
    assert np.linalg.norm(relaxed.get_distance(0, 1, mic=True) - atoms.get_distance(0, 1, mic=True)) > 0.01


def test_sublimation_is_into_a_molecule_of_the_crystal(finished, argon, lennard_jones):
    builder = QuasiHarmonicWorkChain.get_builder_from_protocol(
        argon, lennard_jones, protocol="fast", overrides=argon_settings(quasi_harmonic={"sublimation": True})
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    cut = node.outputs.molecule["relaxed"].creator.inputs.structure
    assert cut.pbc == (False, False, False)
    assert cut.creator.process_label == "molecule_of_crystal"
    assert cut.creator.inputs.structure.uuid == argon.uuid
    static = node.outputs.relaxed.get_array("energies")[0]  # one atom in the cell, none bound without the crystal
    found = node.outputs.sublimation.to_science()["E_lattice_kJ_per_mol"]
    assert found == pytest.approx(np.full(len(found), static * units.mol / units.kJ))
    assert "sublimation" not in finished.outputs.quasi_harmonic


@pytest.mark.parametrize("field", sorted(FILTERS))
def test_without_a_filter_a_stage_gives_frames_and_no_molecules(finished, argon, lennard_jones, field):
    section = SECTIONS[field.partition(".")[0]]
    workchain, source = {
        "md_sampling": (MDSamplingWorkChain, argon),
        "phonon_sampling": (PhononSamplingWorkChain, finished.outputs.quasi_harmonic.force_constants),
    }[section]
    without = argon_settings(**{section: {"finite_subsystem_filter": None}})
    builder = workchain.get_builder_from_protocol(source, lennard_jones, protocol="fast", overrides=without)
    _, node = run_get_node(builder)
    given = {name for name in finished.outputs[section] if name not in ("clusters", "molecular_crystal")}
    assert set(finished.outputs[section]) == given | {"clusters", "molecular_crystal"}
    assert set(node.outputs) == given
    assert not {"detect_molecules", "extract_clusters"} & {step.process_label for step in node.called_descendants}
    same, other = (parent.trajectory.get_array("positions") for parent in (node.outputs, finished.outputs[section]))
    assert (same == other).all()


def with_setting(finished: Any, stage: str, **changes: Any) -> dict[str, Any]:
    """The nodes of the finished training set as if the stage had been given other settings."""
    nodes = stage_nodes(stages_of(finished))
    settings = orm.Dict(nodes[stage]["settings"].get_dict() | changes).store()
    return nodes | {stage: dict(nodes[stage]) | {"settings": settings}}


@pytest.mark.parametrize("field", sorted(KEYS - {"PhononSampling.force_constants_key"}))
def test_root_keys_name_the_groups_of_the_dataset(finished, field):
    stage = SECTIONS[field.partition(".")[0]]
    sections = dataset_of(with_setting(finished, stage, root_key="elsewhere/set")).sections
    moved = [section.root_key for section in sections].count("elsewhere/set")
    assert moved == 1


def test_force_constants_key_names_them_where_phonon_sampling_stands_alone(finished):
    key = "other/phonons/crystal[opt:atoms]/force_constants"
    nodes = with_setting(finished, "phonon_sampling", force_constants_key=key)
    sections = dataset_of({"phonon_sampling": nodes["phonon_sampling"]}).sections
    assert sections[0].root_key == "other"
    assert list(sections[0].force_constants) == ["crystal[opt:atoms]"]
    assert sections[1].force_constants_key == key


@pytest.mark.parametrize("field", sorted(EXPANSION))
def test_fields_of_thermal_expansion_choose_the_sampled_crystals(finished, field):
    base, other = EXPANSION[field]
    constants = finished.outputs.quasi_harmonic.force_constants
    sampled = [
        set(sampled_structures(constants, orm.Dict(FreeEnergy(**values).to_dict())))
        for values in (base, base | {field.partition(".")[2]: other})
    ]
    assert sampled[0] != sampled[1]


def test_thermal_expansion_decides_whether_volumes_are_sampled(finished):
    assert not finished.outputs.quasi_harmonic.get("volumes")
    too_few = orm.Dict(FreeEnergy(thermal_expansion=True, volume_range=[1.0]).to_dict())
    port = QuasiHarmonicWorkChain.spec().inputs["settings"]
    assert "volume" in str(port.validate(too_few))
    harmonic = orm.Dict(FreeEnergy(thermal_expansion=False, volume_range=[1.0]).to_dict())
    assert port.validate(harmonic) is None
