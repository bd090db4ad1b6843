"""Fine-tuning from the command line: with replay, its errors, its page, and the model wherever one is taken."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.engine import run_get_node
from argon import argon_atoms
from ase import Atoms
from ase.io import write
from models import save_random_mace

from aiida_mbetrain.calculations.functions.training import labelled_frames, labels_of_stages, sum_model
from aiida_mbetrain.cli.frames_of_file import frames_of_file
from aiida_mbetrain.cli.sources import stages_of_node
from aiida_mbetrain.cli.trainings import evaluations_of
from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.settings import Inference, TrainingFrames
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.model_training import ModelTrainingWorkChain

LABELS = "lj[order=2]"
SPLIT = {"fractions": [0.5, 0.25, 0.25], "gap": 0, "block": 1, "sizes": [1, 2], "sources": ["md"]}


@pytest.fixture(scope="module")
def sampled(profile, tmp_path_factory):
    """Dynamics of argon with a small MACE model, cut into single atoms and pairs."""
    path = save_random_mace(tmp_path_factory.mktemp("model") / "argon.model", elements=(18,), r_max=4.5)
    times = {"time_total_fs": 16.0, "time_equilibration_fs": 2.0, "sampling_interval_fs": 2.0, "time_step_fs": 1.0}
    section = {"temperature_K": 5.0, "md_crystal": times | {"supercell_radius": 5.0}}
    section["finite_subsystem_filter"] = {"n_molecules": [1, 2]}
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()),
        MaceModelData.get_or_create(path),
        protocol="fast",
        overrides={"md_sampling": section, "inference": {"device": "cpu"}},
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope="module")
def labelled(sampled, tmp_path_factory):
    from commands import call

    path = tmp_path_factory.mktemp("reference") / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.24}}}))
    call("reference", "run", sampled.pk, "--settings", path, "--order", 2, "--sizes", "1,2")
    return sampled


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "train.yaml"
    path.write_text(yaml.safe_dump({"frames": SPLIT, "training": {"device": "cpu", "pseudolabel_replay": True}}))
    return path


@pytest.fixture(scope="module")
def replay_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "replay.xyz"
    write(path, [Atoms("Ar2", [[0, 0, 0], [0, 0, 3.5 + 0.1 * n]]) for n in range(6)], format="extxyz")
    return path


@pytest.fixture(scope="module")
def chain(labelled, settings_file, replay_file):
    """A finished fine-tuning of one epoch."""
    from commands import call

    kind = ("--kind", "finetune_replay", "--replay", replay_file)
    said = call("train", labelled.pk, "--reference", LABELS, "--settings", settings_file, "--epochs", 1, *kind)
    assert re.search(r"^lj\[order=2\] by finetune_replay with", said, re.MULTILINE)
    assert re.search(r"^all heads +MaceModelData<\d+>", said, re.MULTILINE)
    found = re.search(r"ModelTrainingWorkChain<(\d+)>", said)
    assert found is not None
    return orm.load_node(int(found.group(1)))


def test_the_model_knows_labels_baseline_and_replay(chain, sampled):
    stated = chain.outputs.model.base.attributes.get("trained")
    assert (stated["kind"], stated["level_of_theory"]) == ("finetune_replay", "lj[order=2]")
    assert stated["baseline"] == sampled.inputs.model.sha256
    assert chain.outputs.heads.base.attributes.get("heads") == ["pt_head", "reference"]
    assert chain.outputs.model.base.attributes.get("heads") == ["reference"]
    assert "sum" not in chain.outputs
    ancestors = orm.QueryBuilder().append(orm.Node, filters={"id": chain.outputs.model.pk}, tag="model")
    known = set(ancestors.append(orm.Node, with_descendants="model", project="id").all(flat=True))
    assert {sampled.inputs.model.pk, chain.inputs.replay.pk, sampled.pk} - known == {sampled.pk}


def test_trace_names_baseline_replay_labels_and_split(succeed, chain, sampled):
    for source in (chain.outputs.model.pk, chain.outputs.heads.sha256):
        said = succeed("trace", source)
        for words in (
            "finetune_replay of lj[order=2]", f"fine-tuned from MaceModelData<{sampled.inputs.model.pk}>",
            f"replay SinglefileData<{chain.inputs.replay.pk}>", f"identity = {sampled.inputs.model.sha256}",
            f"LabelledFramesData<{chain.inputs.frames.pk}>", '"fractions": [0.5, 0.25, 0.25]',
            f"MDSamplingWorkChain<{sampled.pk}>", '"sigma": 3.24',
        ):  # fmt: skip
            assert words in said, words


def test_the_origin_of_a_model_that_was_not_trained_here_is_unknown(fail, sampled):
    model = sampled.inputs.model
    assert f"MaceModelData<{model.pk}> ({model.sha256}) was not trained" in fail("trace", model.pk)
    assert "the profile has no such model" in fail("trace", __file__)


def test_it_is_judged_beside_baseline_and_constant(succeed, chain, tmp_path):
    said = succeed("evaluate", chain.pk, "-o", tmp_path / "judged")
    assert "finetuned" in said
    tables = evaluations_of(chain)[0].outputs
    assert {"baseline", "constant", "finetuned"} <= set(tables.errors.get_array("model"))
    frames, found = chain.inputs.frames.to_science(), tables.predictions
    rows = np.flatnonzero(frames.subsets == 2)
    model = chain.outputs.model.load(Inference(device="cpu"))
    energies = [item.energies[0] for item in model.evaluate([frames.configurations(row) for row in rows])]
    np.testing.assert_allclose(found.get_array("finetuned_eV"), energies, rtol=0, atol=1e-9)
    page = tmp_path / "model.html"
    succeed("report", chain.pk, "-o", page)
    assert "finetuned" in page.read_text("utf-8")
    for name in ("parity.png", "learning_curve.png"):
        assert (tmp_path / "judged" / name).read_bytes().startswith(b"\x89PNG")


def test_it_is_used_by_itself(chain):
    frames = as_node(Configurations.from_atoms(argon_atoms()))
    found = {}
    for name, head in (("model", None), ("heads", "reference"), ("heads", "pt_head")):
        inference = orm.Dict(Inference(device="cpu", head=head).to_dict())
        labels = HEAVY["labels"].function(frames=frames, model=chain.outputs[name], inference=inference)["frames"]
        found[head] = labels.get_array("energies")[0]
    assert found[None] == pytest.approx(found["reference"], abs=1e-9)
    assert found[None] != pytest.approx(found["pt_head"], abs=1e-9)
    _, node = sum_model.run_get_node(baseline=chain.inputs.baseline, delta=chain.outputs.model)
    assert node.exit_status == InvalidSettings.code
    assert "is used by itself" in node.exit_message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--replay", "none.xyz"), "--replay none.xyz does not exist"),
        (("--kind", "finetune"), "only kind = 'finetune_replay' has a replay file"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(fail, labelled, settings_file, arguments, message):
    kind = () if "--kind" in arguments else ("--kind", "finetune_replay")
    said = fail("train", labelled.pk, "--reference", LABELS, "--settings", settings_file, *kind, *arguments)
    assert message in said


def test_replay_files_without_labels_and_for_other_kinds_are_refused(fail, labelled, replay_file):
    given = ("train", labelled.pk, "--reference", LABELS, "--replay", replay_file)
    assert "has no energy and forces" in fail(*given, "--kind", "finetune_replay")
    assert "only kind = 'finetune_replay' takes one" in fail(*given, "--kind", "multihead")


def test_a_calculator_is_not_finetuned(chain):
    """The process refuses it too, before the stage."""
    builder = ModelTrainingWorkChain.get_builder_from_protocol(
        chain.inputs.frames, orm.Dict({"name": "lennard_jones"}), overrides={"kind": "finetune"}
    )
    _, node = run_get_node(builder)
    assert node.exit_status == InvalidSettings.code
    assert "is no single MACE model and cannot be fine-tuned" in node.exit_message
    assert not node.called


@pytest.fixture(scope="module")
def dataset_file(labelled, tmp_path_factory):
    from commands import call

    path = tmp_path_factory.mktemp("dataset") / "argon.hdf5"
    call("export", labelled.pk, "-o", path, "--reference", LABELS)
    return path


def test_frames_of_a_file_are_those_of_the_run(dataset_file, labelled):
    settings = TrainingFrames(**SPLIT)
    stages, baseline = stages_of_node(labelled), labelled.inputs.model
    labels = labels_of_stages(stages, LABELS)
    of_run = labelled_frames(settings=orm.Dict(settings.to_dict()), baseline=baseline, **stages, **labels)
    of_file, same = frames_of_file(str(dataset_file), LABELS, settings, None)
    assert same.uuid == baseline.uuid
    found = of_file.to_science().to_arrays()
    for name, array in of_run.to_science().to_arrays().items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    facts = of_file.base.attributes.get("file")
    assert facts["sha256"] == hashlib.sha256(dataset_file.read_bytes()).hexdigest()
    assert facts["content_sha256"]
    assert frames_of_file(str(dataset_file), LABELS, settings, None)[0].pk == of_file.pk


@pytest.mark.slow
def test_a_file_is_trained_on(succeed, dataset_file, settings_file, tmp_path):
    given = ("--settings", settings_file, "--epochs", 1, "--kind", "finetune_replay")
    said = succeed("train", dataset_file, "--reference", LABELS, *given)
    node = orm.load_node(int(re.search(r"ModelTrainingWorkChain<(\d+)>", said).group(1)))
    facts = node.inputs.frames.base.attributes.get("file")
    assert facts["name"] == "argon.hdf5"
    traced = succeed("trace", node.outputs.model.pk)
    assert all(facts[name] in traced for name in ("name", "sha256", "content_sha256"))
    assert '"fractions": [0.5, 0.25, 0.25]' in traced
    succeed("report", dataset_file, "-o", tmp_path / "file.html")
    assert f"ModelTrainingWorkChain&lt;{node.pk}&gt;" in (tmp_path / "file.html").read_text("utf-8")
    assert "finetuned" in succeed("evaluate", node.pk)


def test_mistakes_about_files_are_named(fail, dataset_file, labelled, tmp_path):
    other = save_random_mace(tmp_path / "other.model", elements=(18,), r_max=4.5, seed=9)
    given = ("--reference", LABELS)
    assert "the clusters of" in fail("train", dataset_file, *given, "--model", other)
    assert "is for an HDF5 file" in fail("train", labelled.pk, *given, "--model", other)
    assert "there are labels of lj[order=2]" in fail("train", dataset_file, "--reference", "PBE")
    assert "does not exist" in fail("train", "none.hdf5", *given)
