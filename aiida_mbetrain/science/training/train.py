"""Training of a model on labelled frames: a delta model, the baseline trained on, or a model of several heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_mbetrain.errors import DeviceNotAvailable, InvalidSettings, LabelsMissing, TrainingDiverged
from aiida_mbetrain.science.potentials import (
    load_mace,
    mace_atomic_energies,
    rewrite_atomic_energies,
    select_head,
    write_foundation,
)
from aiida_mbetrain.science.progress import Observe, Report, ignore, silent
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training.frames import TRAIN, VALID, LabelledFrames
from aiida_mbetrain.science.training.heads import REFERENCE, REPLAY, Head, heads_of_kind, require_joint
from aiida_mbetrain.science.training.mace_fields import mace_fields
from aiida_mbetrain.science.training.mace_input import FOUNDATION, Replay, subset_sizes, write_mace_input
from aiida_mbetrain.science.training.model_file import ModelFile
from aiida_mbetrain.science.training.replay import ReplayFile, replay_of_file, replay_of_frames
from aiida_mbetrain.science.training.run import MaceTraining, TrainingState
from aiida_mbetrain.settings import Inference, JsonObject, Training

NAMES = {"delta": "delta.model", "multihead": "multihead.model"}
FINETUNED = "finetuned.model"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model, validation errors by epoch, and facts: kind, isolated atoms, sizes of the split, labels and baseline.

    heads: the model with all its heads, where there are several; ``model`` has that of the reference alone.
    """

    model: ModelFile
    history: Table
    facts: JsonObject
    heads: ModelFile | None = None

    def outputs(self) -> dict[str, object]:
        """The outputs of the stage."""
        found: dict[str, object] = {"model": self.model, "history": self.history, "summary": self.facts}
        return found if self.heads is None else found | {"heads": self.heads}


@dataclass(frozen=True, eq=False)
class Foundation:
    """The model that is fine-tuned, with the energies of its isolated atoms.

    head: of several; None: the only one, or that named default.
    """

    path: Path
    head: str | None
    e0s: Mapping[int, float]


def train_model(
    frames: LabelledFrames,
    settings: Training,
    folder: Path,
    *,
    others: Mapping[str, LabelledFrames] | None = None,
    baseline: ModelFile | None = None,
    replay: ReplayFile | None = None,
    found: TrainingState | None = None,
    on_poll: Callable[[MaceTraining], None] = lambda training: None,
    report: Report = silent,
    observe: Observe = ignore,
) -> TrainedModel:
    """Train a MACE model of the energies and forces that ``settings.kind`` says, in an empty folder.

    Energies of isolated atoms are fitted on the training split alone, before the training and once more to what it
    leaves, and stand in the model.
    others: of a multihead training, frames with the labels of other reference methods, by the names of their heads; a
    frame without a label of a method is not among those of its head.
    baseline: the model that is fine-tuned.  replay: configurations of its own training; None: for a replay, the frames
    themselves with the labels of the baseline.
    found: state of an earlier job, to continue from.  on_poll: called several times a second.
    Raises InvalidSettings, LabelsMissing, NotAModel, ElementsNotInModel, UnreadableFile, DeviceNotAvailable,
    TrainingFailed; TrainingDiverged carries the model of the last good epoch in its ``results``.
    """
    fields = mace_fields(settings)
    others = dict(others or {})
    if others and settings.kind != "multihead":
        raise InvalidSettings(
            f"Training.kind = {settings.kind!r} learns one method, and frames of {1 + len(others)} are given: give "
            "one, or take kind = 'multihead'."
        )
    for part in (frames, *others.values()):
        require_trainable(part)
    require_joint(frames, others)
    device = _device(settings.device)
    foundation = _foundation(frames, settings, baseline, folder)
    heads = heads_of_kind(frames, settings.kind, {} if foundation is None else foundation.e0s, others)
    if foundation is not None:
        write_foundation(foundation.path, folder / FOUNDATION, head=foundation.head, dtype=str(fields["default_dtype"]))
    replayed = None if foundation is None else _replay(frames, settings, replay, foundation, device)
    write_mace_input(folder, heads, fields, device=device, foundation=foundation is not None, replay=replayed)
    training = MaceTraining(folder, found=found)

    def trained(path: Path) -> TrainedModel:
        rows = training.rows()
        model, whole, e0s = _finished(path, folder, heads, foundation, settings)
        return TrainedModel(model, history_of(rows), _facts(frames, others, settings.kind, e0s, model, rows), whole)

    try:
        training.run(on_poll=lambda: on_poll(training), report=report, observe=observe)
    except TrainingDiverged as error:
        kept = training.finish_early()
        error.results = {} if kept is None else trained(kept).outputs()
        raise
    return trained(training.model_path)


def _foundation(
    frames: LabelledFrames, settings: Training, baseline: ModelFile | None, folder: Path
) -> Foundation | None:
    """The baseline where it is fine-tuned, written to the folder; None else."""
    if not settings.starts_from_baseline:
        return None
    if baseline is None:
        raise InvalidSettings(
            f"Training.kind = {settings.kind!r} starts from the model of the baseline, {frames.baseline}, which is not "
            "given: give its MACE model, or train a delta model."
        )
    if baseline.sha256 != frames.baseline:
        raise InvalidSettings(
            f"The model to be fine-tuned has sha256 {baseline.sha256}, and the labels of the frames are those of the "
            f"baseline {frames.baseline}: give that one."
        )
    path = folder / "baseline.model"
    path.write_bytes(baseline.content)
    head = settings.mace.get("foundation_head")
    return Foundation(path, head, mace_atomic_energies(path, head=head))


def _replay(
    frames: LabelledFrames, settings: Training, file: ReplayFile | None, foundation: Foundation, device: str
) -> Replay | None:
    """Targets of the second head of a fine-tuned model; None for one head."""
    if settings.kind != "finetune_replay":
        return None
    if file is None:
        return replay_of_frames(frames, foundation.e0s)
    labels = load_mace(foundation.path, Inference(device=device, head=foundation.head))
    return replay_of_file(
        file, foundation.e0s, seed=settings.seed, labels=labels if settings.pseudolabel_replay else None
    )


def _finished(
    path: Path, folder: Path, heads: Sequence[Head], foundation: Foundation | None, settings: Training
) -> tuple[ModelFile, ModelFile | None, Mapping[int, float]]:
    """The model of the last head, that of all where there are several, and the isolated atoms of the former, eV."""
    name = NAMES.get(settings.kind, FINETUNED)
    target = folder / "with_isolated_atoms" / name
    target.parent.mkdir(exist_ok=True)
    e0s: dict[str, Mapping[int, float]] = {head.name: head.e0s for head in heads}
    if foundation is not None and settings.kind == "finetune_replay":
        e0s[REPLAY] = foundation.e0s
    rewrite_atomic_energies(path, e0s, target)
    e0s |= {head.name: _without_mean_error(target, head) for head in heads}
    rewrite_atomic_energies(path, e0s, target)
    whole, last = ModelFile(target.read_bytes(), f"heads_of_{name}"), heads[-1].name
    if len(e0s) == 1:
        return ModelFile(whole.content, name), None, e0s[last]
    select_head(target, last, target)
    return ModelFile(target.read_bytes(), name), whole, e0s[last]


def _without_mean_error(path: Path, head: Head) -> dict[int, float]:
    """Energies of isolated atoms that leave no mean error in the training split, eV.

    The loss is mostly one of forces, to which constants mean nothing: they wander by some meV per atom.
    """
    train = head.frames.subsets == TRAIN
    chosen = head.frames.select(train)
    potential = load_mace(path, Inference(device="cpu", head=head.name))
    predicted = potential.evaluate([chosen.configurations(row) for row in range(len(chosen))])
    energies = np.array([item.energies[0] for item in predicted if item.energies is not None])
    counts = chosen.compositions_of(head.frames.elements).astype(np.float64)
    corrections = np.linalg.lstsq(counts, head.energies[train] - energies, rcond=None)[0]
    changed = {int(z): head.e0s[int(z)] + float(e) for z, e in zip(head.frames.elements, corrections, strict=True)}
    return dict(head.e0s) | changed


def require_trainable(frames: LabelledFrames) -> None:
    """Raise LabelsMissing where training or validation set are empty, InvalidSettings for infinite labels."""
    for name, subset in (("training", TRAIN), ("validation", VALID)):
        if not np.any(frames.subsets == subset):
            raise LabelsMissing(f"No frame of the {name} set has a reference label: label more, or split otherwise.")
    if not (np.isfinite(frames.energies).all() and np.isfinite(frames.baseline_energies).all()):
        raise InvalidSettings("An energy of the labelled frames is not finite: take the frames from train --reference.")


def history_of(rows: Mapping[int, JsonObject]) -> Table:
    """Columns epoch, loss, energy_rmse_eV_per_atom and force_rmse_eV_per_A of the validation set."""
    columns = {"loss": "loss", "energy_rmse_eV_per_atom": "rmse_e_per_atom", "force_rmse_eV_per_A": "rmse_f"}
    found = {
        name: np.array([float(rows[epoch].get(key, np.nan)) for epoch in sorted(rows)]) for name, key in columns.items()
    }
    return Table({"epoch": np.array(sorted(rows), dtype=np.int64), **found})


def _facts(
    frames: LabelledFrames,
    others: Mapping[str, LabelledFrames],
    kind: str,
    e0s: Mapping[int, float],
    model: ModelFile,
    rows: Mapping[int, JsonObject],
) -> JsonObject:
    methods = {name: _method_of(part) for name, part in {REFERENCE: frames, **others}.items()} if others else {}
    return ({"methods": methods} if methods else {}) | {
        "kind": kind,
        "level_of_theory": frames.level_of_theory,
        "method_hash": frames.method_hash,
        "baseline": frames.baseline,
        "shifts_eV": {str(z): energy for z, energy in e0s.items()},
        "n_frames": subset_sizes(frames),
        "n_epochs": max(rows, default=-1) + 1,
        "sha256": model.sha256,
    }


def _method_of(frames: LabelledFrames) -> JsonObject:
    """Labels that a head learns, and the clusters in each part of the split."""
    return {
        "level_of_theory": frames.level_of_theory,
        "method_hash": frames.method_hash,
        "n_frames": subset_sizes(frames),
    }


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceNotAvailable("Training.device = 'cuda', and this machine has no CUDA device that PyTorch can use.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
