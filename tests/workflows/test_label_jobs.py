"""Labels by several jobs in the WorkChains: the same nodes as by one."""

from __future__ import annotations

import pytest
from aiida import orm
from aiida.engine import run_get_node
from job_runs import assert_same_outputs, local_code

from aiida_mbetrain.calculations.functions.labels import labels
from aiida_mbetrain.calculations.labels import LabelsCalculation
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.science.stages import table
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain

WORKCHAINS = {item.__name__: item for item in (MDSamplingWorkChain, PhononSamplingWorkChain)}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setitem(table.ATOMS_PER_PIECE, "cpu", 8)


@pytest.fixture
def phonons(finished) -> orm.WorkChainNode:
    """The phonon sampling of a training set."""
    return stage_of(finished, "PhononSamplingWorkChain")


def stage_of(run: orm.WorkChainNode, label: str) -> orm.WorkChainNode:
    return next(child for child in run.called if child.process_label == label)


def again(stage: orm.WorkChainNode, **more) -> orm.WorkChainNode:
    """The stage with the same inputs and some more."""
    given = stage.base.links.get_incoming(node_class=orm.Data).nested()
    _, node = run_get_node(WORKCHAINS[stage.process_label], **given, **more)
    return node


@pytest.mark.parametrize("stage", WORKCHAINS)
def test_three_jobs_give_the_nodes_of_one(finished, stage, tmp_path):
    one = stage_of(finished, stage)
    three = again(one, n_jobs=orm.Int(3))
    assert three.is_finished_ok, three.exit_message
    assert_same_outputs(one, three)
    assert sum(child.process_label == "labels" for child in three.called) == 3
    digests = {write_dataset(tmp_path / "file", dataset_of(stage_nodes([node]))) for node in (one, three)}
    assert len(digests) == 1


def test_labels_of_several_jobs_name_model_and_versions(phonons):
    three = again(phonons, n_jobs=orm.Int(3))
    section = dataset_of(stage_nodes([three])).phonons[0]
    facts = next(values for path, values in section.provenance.items() if path.startswith("finite_subsystems"))
    assert facts["process_label"] == "join_labels"
    assert facts["model_uuid"] == three.inputs.model.uuid
    assert facts["potential_name"] == "lennard_jones"


@pytest.mark.parametrize(("number", "n_outputs"), [(1, 0), (2, 1)])
def test_parts_of_a_job_are_those_in_process(phonons, tmp_path, number, n_outputs, monkeypatch):
    """A single piece of the size that the worker knows: the second part has it, the first has nothing."""
    monkeypatch.setitem(table.ATOMS_PER_PIECE, "cpu", 2048)
    given = {"model": phonons.inputs.model, "inference": phonons.inputs.inference, "part": orm.List([number, 2])}
    frames = phonons.outputs.modes.creator.outputs.frames
    _, in_process = labels.run_get_node(**given, frames=frames)
    _, job = run_get_node(LabelsCalculation, code=local_code(tmp_path), **given, sets={"frames": frames})
    assert job.is_finished_ok, job.exit_message
    assert_same_outputs(in_process, job)
    assert sum(name == "frames" for name in job.outputs) == n_outputs


@pytest.mark.parametrize("part", [[0, 2], [3, 2], [1], [1.0, 2]])
def test_parts_that_do_not_exist_are_refused(phonons, part, tmp_path):
    inputs = {"model": phonons.inputs.model, "inference": phonons.inputs.inference, "part": orm.List(part)}
    with pytest.raises(ValueError, match="number from 1, number of parts"):
        run_get_node(LabelsCalculation, code=local_code(tmp_path), **inputs, sets={})


def test_no_job_at_all_is_refused(phonons):
    with pytest.raises(ValueError, match="n_jobs = 0: give 1 or more"):
        again(phonons, n_jobs=orm.Int(0))
