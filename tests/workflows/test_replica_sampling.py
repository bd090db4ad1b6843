"""Dynamics of several conditions as one job, and the samplings that are made of it."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import LENNARD_JONES, argon_atoms, argon_settings
from job_runs import local_code

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes
from aiida_mbetrain.errors import InvalidSettings, UnstableDynamics
from aiida_mbetrain.settings import MDSampling
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.replica_sampling import ReplicaSamplingWorkChain

REPLICAS = {"cold": {"temperature_K": 10.0}, "warm": {}, "seed_1": {"rng_seed": 1}}


def sampling_of(replicas, *, code=None, **changes):
    builder = ReplicaSamplingWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()),
        orm.Dict(LENNARD_JONES),
        replicas,
        code=code,
        protocol="fast",
        overrides={"md_sampling": argon_settings(md_sampling=changes)["md_sampling"]},
    )
    return run_get_node(builder)[1]


def children(node):
    return {
        link.link_label.removeprefix("sampling_"): link.node
        for link in node.base.links.get_outgoing(node_class=orm.WorkChainNode).all()
        if link.node.process_label == "MDSamplingWorkChain"
    }


@pytest.fixture(scope="module")
def sampled():
    node = sampling_of(REPLICAS, relax_first=True)
    assert node.is_finished_ok, node.exit_message
    return node


def test_every_replica_has_a_sampling_of_its_own_as_if_it_had_been_alone(sampled):
    found = children(sampled)
    assert sorted(found) == ["cold", "seed_1", "warm"]
    for name, sampling in found.items():
        assert sampling.is_finished_ok
        assert "molecular_dynamics" not in {child.process_label for child in sampling.called}
        inputs = {port: sampling.inputs[port] for port in ("structure", "model", "inference", "settings")}
        _, alone = run_get_node(MDSamplingWorkChain, **inputs)
        assert alone.is_finished_ok
        assert sorted(alone.outputs) == sorted(sampling.outputs)
        for array in ("positions", "forces", "velocities"):
            expected = alone.outputs.trajectory.get_array(array)
            np.testing.assert_allclose(sampling.outputs.trajectory.get_array(array), expected, atol=1e-10)
        ours, theirs = sampling.outputs.clusters.n_2, alone.outputs.clusters.n_2
        np.testing.assert_allclose(ours.get_array("energies"), theirs.get_array("energies"), atol=1e-10)
        settings = MDSampling(**sampling.inputs.settings.get_dict())
        assert settings.temperature_K == (10.0 if name == "cold" else 20.0)
        assert settings.md_crystal.rng_seed == (1 if name == "seed_1" else 42)


def test_dynamics_of_all_replicas_is_one_process(sampled):
    labels = [child.process_label for child in sampled.called_descendants]
    assert labels.count("md_replicas") == labels.count("relaxation") == labels.count("md_supercell") == 1
    assert sorted(sampled.outputs.replicas) == sorted(sampled.outputs.clusters) == ["cold", "seed_1", "warm"]
    assert sampled.outputs.outcomes.get_dict()["cold"] == {"status": "finished", "message": ""}


def test_sampling_of_a_replica_becomes_a_dataset(sampled):
    [section] = dataset_of(stage_nodes([children(sampled)["cold"]])).md
    assert section.temperature_K == 10.0
    assert section.trajectory.n_frames == 4
    assert section.provenance["trajectory"]["process_label"] == "md_replicas"


def test_unstable_replica_fails_alone_with_what_it_has_made():
    node = sampling_of({"calm": {}, "wild": {"temperature_K": 20000.0}}, md_crystal={"max_force": 0.5})
    assert node.exit_status == UnstableDynamics.code
    assert "MDSamplingWorkChain" in node.exit_message
    found = children(node)
    assert found["calm"].is_finished_ok
    assert found["wild"].exit_status == UnstableDynamics.code
    assert "max_force = 0.5" in found["wild"].exit_message
    assert "thermodynamics" in found["wild"].outputs


def test_dynamics_as_a_job(tmp_path):
    node = sampling_of(REPLICAS, code=local_code(tmp_path))
    assert node.is_finished_ok, node.exit_message
    jobs = [child for child in node.called_descendants if isinstance(child, orm.CalcJobNode)]
    assert sorted(job.process_label for job in jobs) == ["LabelsCalculation"] * 3 + ["MDReplicasCalculation"]


@pytest.mark.parametrize("changes", [{"temperature_K": 21.0}, {"md_crystal": {"rng_seed": 5}}])
def test_dynamics_of_other_settings_is_refused(sampled, changes):
    given = children(sampled)["warm"].inputs
    settings = argon_settings(md_sampling=given.settings.get_dict() | {})["md_sampling"]
    settings = {**settings, **{key: value for key, value in changes.items() if key != "md_crystal"}}
    settings["md_crystal"] = settings["md_crystal"] | changes.get("md_crystal", {})
    inputs = {port: given[port] for port in ("structure", "model", "inference", "replica")}
    _, node = run_get_node(MDSamplingWorkChain, settings=orm.Dict(settings), **inputs)
    assert node.exit_status == InvalidSettings.code
    assert "is not the dynamics of these settings" in node.exit_message
