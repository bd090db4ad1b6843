"""Runs of which a part fails: what was made is kept, and the other branch goes on."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import argon_settings
from job_runs import assert_same_outputs, local_code, process_of
from partial_runs import UNSTABLE, run_unstable

from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain


@pytest.fixture(scope="module")
def unstable(profile) -> orm.WorkChainNode:
    """A training set of argon whose dynamics becomes unstable."""
    return run_unstable()


def test_unstable_dynamics_keeps_its_trajectory_and_series(unstable):
    node = process_of(unstable, "molecular_dynamics")
    assert node.exit_status == 450
    assert node.outputs.trajectory.get_array("origin_time_fs").tolist() == [30.0, 40.0]
    assert node.outputs.thermodynamics.get_array("time_fs")[-1] == 40.0
    assert node.outputs.run_info["stage"] == "molecular_dynamics"
    assert unstable.outputs.md_sampling.trajectory.uuid == node.outputs.trajectory.uuid


def test_dynamics_that_fails_while_it_equilibrates_keeps_its_series(argon, lennard_jones):
    settings = argon_settings(md_sampling=UNSTABLE)["md_sampling"]
    settings["md_crystal"]["time_equilibration_fs"] = 50.0
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        argon, lennard_jones, protocol="fast", overrides={"md_sampling": settings}
    )
    _, node = run_get_node(builder)
    assert node.exit_status == 450
    assert set(node.outputs) == {"supercell", "thermodynamics"}
    assert np.all(np.diff(node.outputs.thermodynamics.get_array("time_fs")) > 0)


def test_phonon_branch_goes_on_when_the_dynamics_fails(unstable, finished):
    assert unstable.exit_status == 450
    assert "outside temperature_window" in unstable.exit_message
    assert set(unstable.outputs) == {"md_sampling", "quasi_harmonic", "phonon_sampling"}
    for stage in ("QuasiHarmonicWorkChain", "PhononSamplingWorkChain"):
        expected, found = ({child.process_label: child for child in node.called} for node in (finished, unstable))
        assert_same_outputs(expected[stage], found[stage])


def test_dynamics_goes_on_when_the_phonon_branch_fails(argon, lennard_jones, finished):
    overrides = argon_settings(quasi_harmonic={"max_n_steps": 1, "max_force_on_atom": 1e-12})
    builder = TrainingSetWorkChain.get_builder_from_protocol(argon, lennard_jones, protocol="fast", overrides=overrides)
    builder.structure = orm.StructureData(ase=_strained(argon))
    _, node = run_get_node(builder)
    assert node.exit_status == 451
    assert set(node.outputs) == {"md_sampling"}
    assert process_of(node, "md_sampling").is_finished_ok


def _strained(argon):
    """Two atoms in a cell, one of them out of place, so that there is something to relax."""
    atoms = argon.get_ase() * (2, 1, 1)
    atoms.positions[0] += [0.3, 0.1, 0.0]
    return atoms


def test_unstable_job_hands_out_what_the_same_stage_in_process_does(unstable, tmp_path):
    inputs = unstable.base.links.get_incoming().nested()
    builder = MDSamplingWorkChain.get_builder()
    builder.code = local_code(tmp_path)
    builder.structure, builder.model = inputs["structure"], inputs["model"]
    builder.settings = inputs["md_sampling"]["settings"]
    _, node = run_get_node(builder)
    assert node.exit_status == 450
    assert_same_outputs(process_of(unstable, "md_sampling"), node)
    assert_same_outputs(process_of(unstable, "molecular_dynamics"), process_of(node, "molecular_dynamics"))
