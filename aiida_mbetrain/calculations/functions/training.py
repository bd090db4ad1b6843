"""Trained models: labelled frames of a run, training in process, and the sum of baseline and delta."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from aiida import orm
from ase.data import atomic_numbers

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, load_potential, report_for, run_stage
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.ridge_model import RidgeModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.datasets.from_graph import STAGE_OF, chosen_composition, compositions_of, dataset_of
from aiida_mbetrain.datasets.model import ClusterReference, Dataset, MDSection, PhononSection, Section
from aiida_mbetrain.datasets.training import labelled_frames as pack_frames
from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.potentials import select_head
from aiida_mbetrain.science.training import OTHERS, configurations_of_file, evaluate_trained
from aiida_mbetrain.settings import Inference, Training, TrainingFrames


def labels_of_stages(stages: Nodes, word: str) -> dict[str, Nodes]:
    """Labelled cluster sets of finished stages and their expansions, under names such as ``md_sampling_n_3``.

    word: name of the labels, or pk or uuid of a run that made them.  Raises LabelsMissing where there are none.
    """
    labels: dict[str, orm.Data] = {}
    expansions: dict[str, orm.Data] = {}
    known: set[str] = set()
    for stage, outputs in sorted(stages.items()):
        for label, node in sorted(outputs.get("clusters", {}).items()):
            compositions = compositions_of(node)
            known |= set(compositions)
            chosen = chosen_composition(compositions, word)
            labelled, table = (None, None) if chosen is None else map(chosen.output, ("clusters", "expansions"))
            if labelled is not None and table is not None:
                labels[f"{stage}_{label}"], expansions[f"{stage}_{label}"] = labelled, table
    if not labels:
        raise LabelsMissing(
            f"No cluster of the run has labels of {word!r}: there are those of "
            f"{', '.join(sorted(known)) or 'no method'}; `aiida-mbetrain reference run` makes others."
        )
    return {"labels": labels, "expansions": expansions}


@calcfunction
@exit_codes
def labelled_frames(settings: orm.Dict, baseline: orm.Data, **inputs: Nodes) -> LabelledFramesData:
    """Pack the labelled clusters of a run or of a campaign: training, validation and test set of a delta model.

    inputs: the stages as for ``build_dataset``, and the namespaces ``labels`` and ``expansions`` of
    :func:`labels_of_stages`; of a campaign a namespace with these for each of its stages, whose places in the file are
    in ``settings`` under ``root_keys``.  baseline: the model that labelled the clusters.
    Raises InvalidSettings for another baseline and for labels of two methods.
    """
    wanted = settings.get_dict()
    root_keys = wanted.pop("root_keys", {})
    parts = {place: inputs[name] for name, place in root_keys.items()} or {"": inputs}
    names = {node.base.attributes.get("level_of_theory") for part in parts.values() for node in part["labels"].values()}
    if len(names) > 1:
        raise InvalidSettings(
            f"The labels are of {len(names)} methods ({', '.join(sorted(names))}): give those of one."
        )
    sections: list[Section] = []
    for place, part in parts.items():
        stages = {name: nodes for name, nodes in part.items() if name in STAGE_OF.values()}
        dataset = dataset_of(stages)
        _require_baseline(dataset, baseline)
        found = _with_labels(dataset, stages, part).sections
        sampled = [section for section in found if isinstance(section, MDSection | PhononSection)]
        sections += [replace(section, root_key=place) if place else section for section in sampled]
    packed = pack_frames(
        Dataset(tuple(sections)), names.pop(), TrainingFrames(**wanted), baseline=identity_of_model(baseline)
    )
    return LabelledFramesData.from_science(packed)


def identity_of_model(model: orm.Data) -> str:
    """The sha256 of a model, or the name of a calculator with its parameters."""
    if isinstance(model, orm.Dict):
        facts = model.get_dict()
        parameters = ", ".join(f"{name}={value}" for name, value in sorted(facts.get("parameters", {}).items()))
        return f"{facts['name']}({parameters})"
    return str(model.base.attributes.get("sha256"))


def _require_baseline(dataset: Dataset, baseline: orm.Data) -> None:
    stated = dataset.provenance.get("model_sha256"), dataset.provenance.get("model_uuid")
    given = getattr(baseline, "sha256", None), baseline.uuid
    if given[0] is not None and stated[0] is not None and given[0] == stated[0]:
        return
    if given[1] != stated[1]:
        raise InvalidSettings(
            f"baseline = {identity_of_model(baseline)}: the clusters of the run were labelled by the model "
            f"{stated[0] or stated[1]}; give that one, or label the clusters by this one."
        )


def _with_labels(dataset: Dataset, stages: Nodes, inputs: Nodes) -> Dataset:
    """The dataset with the labels of the reference beside those of the baseline."""
    sections = []
    for section in dataset.sections:
        stage = {MDSection: "md_sampling", PhononSection: "phonon_sampling"}.get(type(section), "")
        if stage in stages and isinstance(section, MDSection | PhononSection) and section.molecules is not None:
            references: dict[str, dict[str, ClusterReference]] = {}
            for label, node in stages[stage].get("clusters", {}).items():
                name = f"{stage}_{label}"
                if name in inputs["labels"]:
                    found = _reference(node, inputs["labels"][name], inputs["expansions"].get(name))
                    references[node.key] = {found.level_of_theory: found}
            section = replace(section, molecules=replace(section.molecules, references=references))
        sections.append(section)
    return Dataset(tuple(sections), dataset.provenance)


def _reference(clusters: ClusterSetData, labelled: orm.Data, table: orm.Data | None) -> ClusterReference:
    """Labels of all frames of a cluster set, NaN where a frame has none."""
    whole, found = as_science(clusters).configurations, as_science(labelled).configurations
    rows, energies = found.origin["row"], np.full(len(whole), np.nan)
    energies[rows] = found.energies
    forces = interaction = None
    if found.forces is not None:
        forces = np.full(whole.positions.shape, np.nan)
        forces[rows] = found.forces
    if isinstance(table, TableData) and "interaction_eV" in table.get_arraynames():
        interaction = np.full(len(whole), np.nan)
        interaction[rows] = table.get_array("interaction_eV")
    facts = labelled.base.attributes
    return ClusterReference(
        facts.get("level_of_theory"), facts.get("method_hash"), energies, forces, interaction, ("",) * len(whole)
    )


@calcfunction
@exit_codes
def training(
    frames: LabelledFramesData,
    settings: orm.Dict,
    foundation: MaceModelData | None = None,
    replay: orm.SinglefileData | None = None,
    **others: Nodes,
) -> dict[str, orm.Data]:
    """Train a model in this process, or rather beside it.

    foundation: the baseline where it is fine-tuned.  replay: extended XYZ of its own training.
    others: the namespace ``other_frames`` of a multihead training, frames with the labels of other methods by head.
    """
    given = {"frames": frames, "foundation": foundation, "replay": replay, **science_names(others)}
    inputs = {name: node for name, node in given.items() if node is not None}
    outputs = run_stage("training", None, None, settings.get_dict(), **inputs)
    describe_trained(outputs)
    return outputs


def science_names(namespaces: Mapping[str, Nodes]) -> dict[str, orm.Data]:
    """Frames of other methods under the names that the stage takes them by."""
    return {f"{OTHERS}{head}": node for head, node in namespaces.get(OTHER_FRAMES, {}).items()}


def require_inputs(
    settings: Training,
    baseline: orm.Data,
    replay: orm.SinglefileData | None,
    others: Mapping[str, LabelledFramesData] | None = None,
) -> None:
    """Refuse a baseline, a replay file and frames of other methods that the kind of training cannot take.

    Raises InvalidSettings, NotAModel, UnreadableFile, ElementsNotInModel, LabelsMissing.
    """
    if replay is not None and settings.kind != "finetune_replay":
        raise InvalidSettings(
            f"A replay file with Training.kind = {settings.kind!r}: only kind = 'finetune_replay' takes one."
        )
    if others and settings.kind != "multihead":
        raise InvalidSettings(
            f"Training.kind = {settings.kind!r} learns one method, and there are labels of {1 + len(others)}: give "
            "those of one, or take kind = 'multihead'."
        )
    if not settings.starts_from_baseline:
        return
    if not isinstance(baseline, MaceModelData):
        raise InvalidSettings(
            f"Training.kind = {settings.kind!r}: the baseline {identity_of_model(baseline)} is no single MACE model "
            "and cannot be fine-tuned: train a delta model (kind = 'delta')."
        )
    if replay is not None:
        elements = [atomic_numbers[symbol] for symbol in baseline.elements]
        configurations_of_file(as_science(replay), elements, labels_needed=not settings.pseudolabel_replay)


OTHER_FRAMES = "other_frames"
"""Input namespace of trainings for frames with the labels of other methods."""
FACTS = ("kind", "level_of_theory", "method_hash", "baseline")
"""Facts of the summary that the nodes of trained models have as attribute ``trained``, or ``delta``."""


def describe_trained(outputs: Mapping[str, orm.Data]) -> None:
    """Write kind, labels and baseline onto the nodes of the models of a training."""
    summary = outputs.get("summary")
    if not isinstance(summary, orm.Dict):
        return
    facts = {name: summary[name] for name in FACTS}
    for name in ("model", "heads"):
        model = outputs.get(name)
        if isinstance(model, MaceModelData):
            model.base.attributes.set("delta" if facts["kind"] == "delta" else "trained", facts)


@calcfunction
@exit_codes
def single_head(heads: MaceModelData, training: orm.Dict, head: orm.Str) -> MaceModelData:
    """One head of a multihead model by itself, which knows the method of its labels.

    training: the summary of the training.  Raises InvalidSettings for a head of no reference method.
    """
    methods = training.get("methods", {})
    if head.value not in methods:
        raise InvalidSettings(f"head = {head.value!r}: the heads of reference methods are {', '.join(methods)}.")
    with heads.as_path() as path, tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{head.value}.model"
        select_head(path, head.value, target)
        node = MaceModelData(target)
    facts = {name: training[name] for name in FACTS} | methods[head.value]
    node.base.attributes.set("trained", {name: facts[name] for name in FACTS})
    return node


def kind_of(model: orm.Data) -> str:
    """Kind of training of a model: delta, finetune, finetune_replay or multihead."""
    return str(model.base.attributes.get("trained", {}).get("kind", "delta"))


@calcfunction
@exit_codes
def evaluation(
    frames: LabelledFramesData, model: MaceModelData, baseline: orm.Data, settings: orm.Dict
) -> dict[str, orm.Data]:
    """Errors of a trained model, beside those of the baseline, of a constant and of a ridge model of the features.

    settings: ``subset`` (train, valid or test) and ``inference`` (the settings class Inference).
    Outputs: ``errors`` by model and group of frames, ``predictions`` by frame, ``forces`` by component,
    ``learning_curve`` of constant and ridge model, ``ridge`` where the frames have features, ``summary``.
    """
    wanted = settings.get_dict()
    inference = Inference(**wanted.get("inference", {}))
    _require_own_baseline(model, baseline)
    found = evaluate_trained(
        as_science(frames),
        load_potential(model, inference.model_copy(update={"head": None})),
        load_potential(baseline, inference),
        kind=kind_of(model),
        subset=wanted.get("subset", "test"),
        report=report_for("evaluation"),
    )
    tables = {name: getattr(found, name) for name in ("errors", "predictions", "forces", "learning_curve")}
    outputs: dict[str, orm.Data] = {name: TableData.from_science(table) for name, table in tables.items()}
    if found.ridge is not None:
        outputs["ridge"] = RidgeModelData.from_science(found.ridge)
    return outputs | {"summary": orm.Dict(found.facts)}


def _require_own_baseline(model: MaceModelData, baseline: orm.Data) -> None:
    """Raise InvalidSettings for a model that was trained with the labels of another baseline."""
    facts = model.base.attributes.get("delta", None) or model.base.attributes.get("trained", {})
    trained_for = facts.get("baseline")
    if trained_for is not None and trained_for != identity_of_model(baseline):
        raise InvalidSettings(
            f"The model <{model.pk}> was trained for the baseline {trained_for}, not for "
            f"{identity_of_model(baseline)}: take it with its own."
        )


@calcfunction
@exit_codes
def sum_model(baseline: orm.Data, delta: MaceModelData) -> SumModelData:
    """Baseline and delta as one model.  Raises InvalidSettings for a delta of another baseline and for no delta."""
    if (kind := kind_of(delta)) != "delta":
        raise InvalidSettings(f"The model <{delta.pk}> (kind = {kind!r}) is used by itself: add a delta model.")
    _require_own_baseline(delta, baseline)
    return SumModelData.of(baseline, delta)
