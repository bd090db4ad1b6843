"""Delta models from the command line: labels, training, evaluation, and the sum wherever a model is."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import yaml
from aiida import orm
from aiida.engine import run_get_node
from argon import ARGON_SETTINGS, argon_atoms, merged
from campaign_files import argon_campaign
from job_runs import assert_same_outputs, local_code, process_of

from aiida_mbetrain.calculations.functions.training import labelled_frames, labels_of_stages, sum_model
from aiida_mbetrain.cli.sources import stages_of_node
from aiida_mbetrain.cli.trainings import evaluations_of
from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.settings import Inference, TrainingFrames
from aiida_mbetrain.workflows.heavy_stages import HEAVY

LABELS = "lj[order=2]"
SPLIT = {"fractions": [0.5, 0.25, 0.25], "gap": 0, "block": 1, "sizes": [2, 3], "sources": ["md"]}
MACE = {"num_channels": 4, "num_radial_basis": 4, "MLP_irreps": "4x0e", "r_max": 4.5}


@pytest.fixture(scope="module")
def labelled(finished, tmp_path_factory):
    """The pk of a run that labelled pairs and triples of the training set of argon by another Lennard-Jones."""
    return label(finished, tmp_path_factory.mktemp("train"), sigma=3.24, sizes="2,3")


def label(run, folder, *, sigma: float, sizes: str) -> int:
    from commands import call

    path = folder / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": sigma}}}))
    said = call("reference", "run", run.pk, "--settings", path, "--order", 2, "--sizes", sizes)
    found = re.search(r"ReferenceLabelsWorkChain<(\d+)>", said)
    assert found is not None
    return int(found.group(1))


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("train") / "train.yaml"
    path.write_text(yaml.safe_dump({"frames": SPLIT, "training": {"mace": MACE, "device": "cpu"}}))
    return path


@pytest.fixture(scope="module")
def chain(finished, labelled, settings_file):
    """A finished training of two epochs."""
    from commands import call

    said = call("train", finished.pk, "--reference", labelled, "--settings", settings_file, "--epochs", 2)
    assert re.search(r"errors of the validation set: [\d.]+ meV/atom, [\d.]+ meV/Å", said)
    found = re.search(r"ModelTrainingWorkChain<(\d+)>", said)
    assert found is not None
    return orm.load_node(int(found.group(1)))


def test_the_model_says_what_it_was_trained_for(chain, finished):
    model, frames = chain.outputs.model, chain.inputs.frames
    stated = model.base.attributes.get("delta")
    assert stated["level_of_theory"] == LABELS
    assert stated["baseline"].startswith("lennard_jones(")
    assert chain.outputs.summary["n_frames"]["test"] == frames.base.attributes.get("n_test") > 0
    assert chain.outputs.sum.elements == ["Ar"]
    ancestors = orm.QueryBuilder().append(orm.Data, filters={"id": chain.outputs.sum.pk}, tag="sum")
    ancestors.append(orm.Data, with_descendants="sum", project="id")
    known = set(ancestors.all(flat=True))
    sets = [node.pk for node in finished.outputs.md_sampling.clusters.values()]
    assert known & set(sets)


def test_labels_of_the_frames_are_those_of_reference_and_baseline(chain):
    frames = chain.inputs.frames.to_science()
    assert set(frames.n_molecules) == {2, 3}
    assert np.isfinite(frames.targets).all()
    assert frames.with_forces.all()
    assert np.isfinite(frames.interactions).all()
    units = {subset: set(frames.units[frames.subsets == subset]) for subset in range(3)}
    assert not units[0] & units[1] | units[0] & units[2] | units[1] & units[2]


def test_trace_leads_from_the_model_to_labels_split_and_dataset(succeed, fail, chain, finished, labelled):
    said = succeed("trace", chain.outputs.sum.sha256)
    assert said == succeed("trace", chain.pk) == succeed("trace", chain.outputs.sum.pk)
    facts = chain.outputs.model.base.attributes.get("delta")
    clusters = finished.outputs.md_sampling.clusters.n_2
    for words in (
        chain.outputs.model.sha256, facts["method_hash"], facts["baseline"], "level_of_theory = lj[order=2]",
        f"ReferenceLabelsWorkChain<{labelled}>", '"sigma": 3.24', f"ClusterSetData<{clusters.pk}>",
        f"TrainingSetWorkChain<{finished.pk}>", '"fractions": [0.5, 0.25, 0.25]', '"max_num_epochs": 2',
        f"{chain.outputs.summary['n_frames']['test']} test",
    ):  # fmt: skip
        assert words in said, words
    assert "made by labelled_frames<" in said
    assert said.count("made by") == 2  # of the sum and of the labelled frames
    assert "give a model or its training" in fail("trace", clusters.pk)
    assert "give FILE ENTRY FRAME, or a trained model alone" in fail("trace", "set.hdf5", "training")


def test_evaluation_writes_tables_and_a_picture(succeed, chain, tmp_path):
    said = succeed("evaluate", chain.pk, "-o", tmp_path / "judged")
    assert "errors against lj[order=2]" in said
    with (tmp_path / "judged" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {"baseline", "constant", "delta"}
    judged = json.loads((tmp_path / "judged" / "errors.json").read_text())
    assert judged["errors"]["model"] == [row["model"] for row in rows]
    for name in ("parity.png", "learning_curve.png"):
        assert (tmp_path / "judged" / name).read_bytes().startswith(b"\x89PNG")
    number = re.search(r"evaluation<(\d+)>", said).group(1)
    again = orm.load_node(int(re.search(r"evaluation<(\d+)>", succeed("evaluate", chain.pk)).group(1)))
    assert again.base.caching.get_cache_source() == orm.load_node(int(number)).uuid


def test_learning_curve_of_parts_stands_beside_the_whole(succeed, chain, finished, labelled, settings_file, tmp_path):
    given = ("--reference", labelled, "--settings", settings_file, "--epochs", 2, "--learning-curve", "0.5,1")
    said = succeed("train", finished.pk, *given)
    assert f"ModelTrainingWorkChain<{chain.pk}> has trained on this part" in said
    [trained] = re.findall(r"^ModelTrainingWorkChain<(\d+)>$", said, re.MULTILINE)
    half = orm.load_node(int(trained))
    frames = [node.inputs.frames.to_science() for node in (chain, half)]
    train = [set(packed.units[packed.subsets == 0]) for packed in frames]
    assert train[1] < train[0]
    assert len(train[1]) == round(0.5 * len(train[0]))
    assert f"ModelTrainingWorkChain<{half.pk}> has trained on this part" in succeed("train", finished.pk, *given)
    succeed("evaluate", chain.pk, "-o", tmp_path / "judged")
    with (tmp_path / "judged" / "learning_curve.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "delta"]
    assert [int(row["n_frames"]) for row in rows] == [np.count_nonzero(packed.subsets == 0) for packed in frames[::-1]]
    assert f"{float(rows[0]['force_rmse_meV_per_A']):.4g}" in succeed("evaluate", half.pk)
    assert rows[0]["force_rmse_meV_per_A"] != rows[1]["force_rmse_meV_per_A"]


def test_report_shows_the_judged_model_on_its_page_and_on_that_of_the_run(succeed, fail, chain, finished, tmp_path):
    """A page of its own judges the model where that was not done."""
    page = tmp_path / "model.html"
    succeed("report", chain.pk, "-o", page)
    text = page.read_text("utf-8")
    errors = evaluations_of(chain)[0].outputs.errors.to_science()
    (row,) = np.flatnonzero((errors["model"] == "delta") & (errors["group"] == "all"))
    assert f"<td>{errors['force_rmse_meV_per_A'][row]:.4g}</td>" in text
    assert "<h4>Energy parity</h4>" in text
    whole = tmp_path / "run.html"
    succeed("report", finished.pk, "-o", whole)
    assert f"ModelTrainingWorkChain&lt;{chain.pk}&gt;" in whole.read_text("utf-8")
    again = tmp_path / "evaluation.html"
    succeed("report", evaluations_of(chain)[0].pk, "-o", again)
    assert again.read_bytes() == page.read_bytes()
    assert "--reference and --explore are for clusters" in fail("report", chain.pk, "--reference", "lj")


def test_report_of_a_campaign_shows_models_trained_on_its_stages(succeed, chain, finished, tmp_path):
    overrides = merged(ARGON_SETTINGS, {})
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    crystals = [{"node": finished.inputs.structure.uuid, "name": "argon"}]
    path = tmp_path / "campaign.yaml"
    path.write_text(
        yaml.safe_dump(
            argon_campaign(name="of_a_run", crystals=crystals, overrides=overrides)
            | {"temperatures_K": [20.0], "pressures_GPa": [0.0001]}
        )
    )
    assert "nothing to start" in succeed("campaign", "run", path, "--here")
    succeed("campaign", "export", "of_a_run", "-o", tmp_path / "set.hdf5")
    for source in ("of_a_run", tmp_path / "set.hdf5"):
        succeed("report", source, "-o", tmp_path / "page.html", "--no-parts")
        assert f"ModelTrainingWorkChain&lt;{chain.pk}&gt;" in (tmp_path / "page.html").read_text("utf-8")


def test_several_methods_are_learned_by_heads_of_one_model_and_judged_each(
    succeed, fail, finished, labelled, settings_file, tmp_path
):
    other = label(finished, tmp_path, sigma=3.30, sizes="2")
    given = ("--reference", labelled, "--reference", other, "--settings", settings_file, "--epochs", 1)
    assert "takes the labels of one method: give it once, or --kind multihead" in fail("train", finished.pk, *given)
    twice = ("--reference", labelled, "--reference", labelled, "--settings", settings_file, "--kind", "multihead")
    assert "have labels of one method" in fail("train", finished.pk, *twice)
    said = succeed("train", finished.pk, *given, "--kind", "multihead")
    node = orm.load_node(int(re.search(r"ModelTrainingWorkChain<(\d+)>", said).group(1)))
    assert re.search(r"^model of lj\[order=2\] +MaceModelData<\d+>", said, re.MULTILINE)
    assert node.outputs.heads.base.attributes.get("heads") == ["baseline", "reference_2", "reference"]
    second = node.outputs.other_models.reference_2
    facts = [model.base.attributes.get("trained") for model in (node.outputs.model, second)]
    frames = [node.inputs.frames, node.inputs.other_frames.reference_2]
    assert [it["method_hash"] for it in facts] == [part.base.attributes.get("method_hash") for part in frames]
    assert facts[0]["method_hash"] != facts[1]["method_hash"]
    assert set(frames[1].to_science().n_molecules) == {2}

    succeed("evaluate", node.pk, "-o", tmp_path / "judged")
    predicted = evaluations_of(node, head="reference_2")[0].outputs.predictions
    packed = frames[1].to_science()
    rows = np.flatnonzero(packed.subsets == 2)
    found = second.load(Inference(device="cpu")).evaluate([packed.configurations(row) for row in rows])
    energies = [item.energies[0] for item in found]
    np.testing.assert_allclose(predicted.get_array("multihead_eV"), energies, rtol=0, atol=1e-9)
    np.testing.assert_allclose(predicted.get_array("reference_eV"), packed.energies[rows], rtol=0, atol=1e-12)
    assert (tmp_path / "judged" / "errors.csv").is_file()
    assert (tmp_path / "judged" / "reference_2" / "errors.csv").is_file()
    traced = succeed("trace", second.pk)
    assert f"head = reference_2 of MaceModelData<{node.outputs.heads.pk}>" in traced
    assert facts[1]["method_hash"] in traced
    assert facts[0]["method_hash"] not in traced
    assert all(it["method_hash"] in succeed("trace", node.outputs.heads.pk) for it in facts)
    assert f"LabelledFramesData<{frames[1].pk}>" in traced
    page = tmp_path / "model.html"
    succeed("report", node.pk, "-o", page)
    assert page.read_text("utf-8").count("<h4>Energy parity</h4>") == 2


def test_the_sum_gives_the_same_labels_in_process_and_as_a_job(chain, tmp_path):
    frames = as_node(Configurations.from_atoms(argon_atoms()))
    inputs = {"model": chain.outputs.sum, "inference": orm.Dict(Inference(device="cpu").to_dict())}
    _, here = HEAVY["labels"].function.run_get_node(frames=frames, **inputs)
    assert here.is_finished_ok, here.exit_message
    calculation = {"code": local_code(tmp_path), "sets": {"frames": frames}, **inputs}
    _, job = run_get_node(HEAVY["labels"].job, calculation=calculation)
    assert job.is_finished_ok, job.exit_message
    assert_same_outputs(here, job)
    terms = [chain.inputs.baseline, chain.outputs.model]
    parts = [HEAVY["labels"].function(frames=frames, **(inputs | {"model": term}))["frames"] for term in terms]
    total = sum(part.get_array("energies") for part in parts)
    np.testing.assert_allclose(here.outputs.frames.get_array("energies"), total, rtol=0, atol=1e-10)
    assert here.outputs.run_info["potential"]["sha256"] == job.outputs.run_info["potential"]["sha256"]


def test_a_delta_model_is_not_added_to_another_baseline(chain):
    other = orm.Dict({"name": "lennard_jones", "parameters": {"sigma": 3.0}})
    _, node = sum_model.run_get_node(baseline=other, delta=chain.outputs.model)
    assert node.exit_status == InvalidSettings.code
    assert "was trained for the baseline lennard_jones(" in node.exit_message


def test_a_baseline_that_did_not_label_the_clusters_is_refused(finished, labelled):
    stages = stages_of_node(finished)
    labels = labels_of_stages(stages, str(labelled))
    other = orm.Dict({"name": "lennard_jones", "parameters": {"sigma": 3.0}})
    _, node = labelled_frames.run_get_node(
        settings=orm.Dict(TrainingFrames(**SPLIT).to_dict()), baseline=other, **stages, **labels
    )
    assert node.exit_status == InvalidSettings.code
    assert "the clusters of the run were labelled by the model" in node.exit_message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "PBE/def2-SVP"), "No cluster of the run has labels of 'PBE/def2-SVP'"),
        (("--reference", "lj", "--split", "0.9,0.1"), "TrainingFrames.fractions"),
        (("--reference", "lj", "--split", "1,0,0"), "the first two above 0"),
        (("--reference", "lj", "--learning-curve", "0.5,2"), "--learning-curve 2: give parts above 0"),
        (("--hold-out", "temperature=77"), "the dataset has no temperature 77"),
        (("--reference", "lj", "--options", "o.yaml"), "--options o.yaml is about jobs"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(fail, finished, labelled, arguments, message):
    reference = () if "--reference" in arguments else ("--reference", labelled)
    assert message in fail("train", finished.pk, *reference, *arguments)


def test_free_energies_of_isolated_atoms_are_refused(fail, finished, tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text("training: {mace: {E0s: average}}\n")
    said = fail("train", finished.pk, "--reference", "lj", "--settings", path)
    assert "E0s is not to be set here" in said
    assert "one kind of molecule" in said


def test_evaluating_what_is_no_training_is_refused(fail, finished):
    assert "has trained no model" in fail("evaluate", finished.pk)


def test_models_are_written_as_files_that_ase_reads(succeed, chain, tmp_path):
    from mace.calculators import MACECalculator

    written = succeed("model", "export", chain.outputs.sum.pk, "-o", tmp_path / "models").split()
    (delta,) = written
    atoms = argon_atoms()
    atoms.calc = MACECalculator(delta, device="cpu", default_dtype="float64")
    frames = as_node(Configurations.from_atoms(atoms))
    inference = orm.Dict(Inference(device="cpu").to_dict())
    labels = HEAVY["labels"].function(frames=frames, model=chain.outputs.model, inference=inference)["frames"]
    assert atoms.get_potential_energy() == pytest.approx(labels.get_array("energies")[0], abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), labels.get_array("forces")[0], atol=1e-9)


def test_dynamics_run_with_the_sum(chain):
    from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain

    times = {"time_total_fs": 20.0, "time_equilibration_fs": 5.0, "sampling_interval_fs": 5.0, "time_step_fs": 2.5}
    overrides = {"md_sampling": {"temperature_K": 30.0, "finite_subsystem_filter": None, "md_crystal": times}}
    overrides["md_sampling"]["md_crystal"]["supercell_radius"] = 6.0
    structure = orm.StructureData(ase=argon_atoms())
    builder = MDSamplingWorkChain.get_builder_from_protocol(
        structure, chain.outputs.sum, protocol="fast", overrides=overrides
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    assert len(node.outputs.trajectory.get_array("positions")) == 3
    said = process_of(node, "molecular_dynamics").outputs.run_info["potential"]
    assert said["name"].startswith("lennard_jones + ")
