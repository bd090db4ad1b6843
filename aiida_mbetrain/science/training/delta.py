"""The delta model of labelled frames."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aiida_mbetrain.errors import DeviceNotAvailable, InvalidSettings, LabelsMissing, TrainingDiverged
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.potentials import load_mace, rewrite_atomic_energies
from aiida_mbetrain.science.progress import Observe, Report, ignore, silent
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training.frames import TRAIN, VALID, LabelledFrames
from aiida_mbetrain.science.training.mace_input import mace_fields, subset_sizes, write_mace_input
from aiida_mbetrain.science.training.model_file import ModelFile
from aiida_mbetrain.science.training.run import MaceTraining, TrainingState
from aiida_mbetrain.science.training.shifts import fit_shifts, shifted_targets
from aiida_mbetrain.settings import Inference, JsonObject, Training

MODEL = "delta.model"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A delta model, validation errors by epoch, and facts: shifts, sizes of the split, labels and baseline."""

    model: ModelFile
    history: Table
    facts: JsonObject

    def outputs(self) -> dict[str, object]:
        """The outputs of the stage."""
        return {"model": self.model, "history": self.history, "summary": self.facts}


def train_delta(
    frames: LabelledFrames,
    settings: Training,
    folder: Path,
    *,
    found: TrainingState | None = None,
    on_poll: Callable[[MaceTraining], None] = lambda training: None,
    report: Report = silent,
    observe: Observe = ignore,
) -> TrainedModel:
    """Train a MACE model of the energies and forces of reference minus baseline, in an empty folder.

    The shifts are fitted on the training split alone, before the training and once more to what it leaves, and are the
    energies of isolated atoms of the model.
    found: state of an earlier job, to continue from.  on_poll: called several times a second.
    Raises InvalidSettings, LabelsMissing, DeviceNotAvailable, TrainingFailed; TrainingDiverged carries the model of
    the last good epoch in its ``results``.
    """
    fields = mace_fields(settings)
    require_trainable(frames)
    shifts = fit_shifts(frames)
    write_mace_input(folder, frames, shifted_targets(frames, shifts), fields, device=_device(settings.device))
    training = MaceTraining(folder, found=found)

    def trained(path: Path) -> TrainedModel:
        target, rows = folder / "with_shifts" / MODEL, training.rows()
        target.parent.mkdir(exist_ok=True)
        final = _write_with_shifts(path, target, frames, shifts)
        model = ModelFile(target.read_bytes())
        return TrainedModel(model, history_of(rows), _facts(frames, final, model, rows))

    try:
        training.run(on_poll=lambda: on_poll(training), report=report, observe=observe)
    except TrainingDiverged as error:
        kept = training.finish_early()
        error.results = {} if kept is None else trained(kept).outputs()
        raise
    return trained(training.model_path)


def _write_with_shifts(path: Path, target: Path, frames: LabelledFrames, shifts: FloatArray) -> dict[int, float]:
    """Write the model with shifts that leave no mean error in the training split; gives them by element, eV.

    The loss is mostly one of forces, to which constants mean nothing: they wander by some meV per atom.
    """
    chosen = frames.select(frames.subsets == TRAIN)
    rewrite_atomic_energies(path, _by_element(frames, shifts), target)
    potential = load_mace(target, Inference(device="cpu"))
    predicted = potential.evaluate([chosen.configurations(row) for row in range(len(chosen))])
    energies = np.array([item.energies[0] for item in predicted if item.energies is not None])
    counts = chosen.compositions_of(frames.elements).astype(np.float64)
    final = _by_element(frames, shifts + np.linalg.lstsq(counts, chosen.targets - energies, rcond=None)[0])
    rewrite_atomic_energies(path, final, target)
    return final


def _by_element(frames: LabelledFrames, shifts: FloatArray) -> dict[int, float]:
    return {int(z): float(shift) for z, shift in zip(frames.elements, shifts, strict=True)}


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
    frames: LabelledFrames, shifts: Mapping[int, float], model: ModelFile, rows: Mapping[int, JsonObject]
) -> JsonObject:
    return {
        "level_of_theory": frames.level_of_theory,
        "method_hash": frames.method_hash,
        "baseline": frames.baseline,
        "shifts_eV": {str(z): shift for z, shift in shifts.items()},
        "n_frames": subset_sizes(frames),
        "n_epochs": max(rows, default=-1) + 1,
        "sha256": hashlib.sha256(model.content).hexdigest(),
    }


def _device(wanted: str) -> str:
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceNotAvailable("Training.device = 'cuda', and this machine has no CUDA device that PyTorch can use.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
