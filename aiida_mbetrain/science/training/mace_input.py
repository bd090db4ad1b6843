"""Input of ``mace_run_train``: extended XYZ of the shifted targets and the configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.io import write

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.training.frames import SUBSETS, TEST, TRAIN, VALID, LabelledFrames
from aiida_mbetrain.settings import JsonObject, Training

ENERGY, FORCES = "REF_energy", "REF_forces"
CONFIG = "train.yaml"
NAME = "delta"

COMMON: JsonObject = {
    "model": "MACE", "loss": "weighted", "energy_weight": 100.0, "forces_weight": 10.0, "lr": 0.01,
    "scheduler": "ReduceLROnPlateau", "ema": True, "ema_decay": 0.99, "amsgrad": True, "clip_grad": 10.0,
    "error_table": "PerAtomRMSE", "eval_interval": 1, "plot": False, "save_cpu": True,
}  # fmt: skip
SIZES: dict[str, JsonObject] = {
    "small": {
        "num_interactions": 1, "num_channels": 16, "max_L": 0, "correlation": 2, "r_max": 4.5,
        "default_dtype": "float32", "batch_size": 5, "valid_batch_size": 10, "max_num_epochs": 60,
    },
    "balanced": {
        "num_interactions": 2, "num_channels": 64, "max_L": 1, "correlation": 3, "r_max": 5.0,
        "default_dtype": "float64", "batch_size": 5, "valid_batch_size": 10, "max_num_epochs": 300,
    },
    "stringent": {
        "num_interactions": 2, "num_channels": 128, "max_L": 2, "correlation": 3, "r_max": 6.0,
        "default_dtype": "float64", "batch_size": 5, "valid_batch_size": 10, "max_num_epochs": 1000,
    },
}  # fmt: skip
"""Fields of MACE's configuration by ``Training.size``."""

OWN = {
    "name": "the output is a node",
    "seed": "it is Training.seed",
    "device": "it is Training.device",
    "default_dtype": "it is Training.default_dtype",
    "max_num_epochs": "it is Training.max_num_epochs",
    "E0s": "the shifts are fitted on the training split and written into the model; the compositions of one kind of "
    "molecule could not determine them",
    "train_file": "the frames are the input `frames`",
    "valid_file": "the frames are the input `frames`",
    "test_file": "the frames are the input `frames`",
    "valid_fraction": "a split at random would separate related frames; it is TrainingFrames.fractions",
    "restart_latest": "a job that was interrupted is always continued",
    "dry_run": "the stage trains",
    "work_dir": "files are kept in the folder of the job",
    "model_dir": "files are kept in the folder of the job",
    "checkpoints_dir": "files are kept in the folder of the job",
    "results_dir": "files are kept in the folder of the job",
    "log_dir": "files are kept in the folder of the job",
    "config": "its fields are Training.mace",
}
"""Fields that are not to be overridden, with the reason."""


def mace_fields(settings: Training) -> JsonObject:
    """Fields of MACE's configuration but for the files and E0s.

    Raises InvalidSettings for a field that MACE does not have or that the stage sets itself.
    """
    _check_overrides(settings.mace)
    fields = COMMON | SIZES[settings.size] | settings.mace | {"seed": settings.seed}
    if settings.default_dtype is not None:
        fields["default_dtype"] = settings.default_dtype
    if settings.max_num_epochs is not None:
        fields["max_num_epochs"] = settings.max_num_epochs
    return fields


def _check_overrides(overrides: Mapping[str, object]) -> None:
    if not overrides:
        return
    for name, reason in OWN.items():
        if name in overrides:
            raise InvalidSettings(f"Training.mace: {name} is not to be set here: {reason}.")
    from mace.tools import build_default_arg_parser

    known = {action.dest for action in build_default_arg_parser()._actions}
    for name in overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`mace_run_train --help` lists the fields."
            raise InvalidSettings(f"Training.mace: MACE's configuration has no field {name!r}: {hint}")


def write_mace_input(
    folder: Path, frames: LabelledFrames, targets: FloatArray, fields: Mapping[str, Any], *, device: str
) -> None:
    """Write ``train.xyz``, ``valid.xyz`` and ``train.yaml``.

    targets: energies to be learned, (F,), eV, less the shifts: E0s are zero in training, so that single precision does
    not round large energies.
    """
    for subset in (TRAIN, VALID):
        atoms = [_atoms(frames, targets, int(row)) for row in np.flatnonzero(frames.subsets == subset)]
        write(folder / f"{SUBSETS[subset]}.xyz", atoms, format="extxyz")
    zeros = "{" + ", ".join(f"{z}: 0.0" for z in frames.elements) + "}"
    options: JsonObject = {"name": NAME, "work_dir": ".", "energy_key": ENERGY, "forces_key": FORCES}
    options |= {"train_file": "train.xyz", "valid_file": "valid.xyz", "E0s": zeros, "restart_latest": True}
    if not frames.with_forces[frames.subsets == TRAIN].any():
        options["scaling"] = "std_scaling"  # the default divides by the mean square of the forces
    options |= {"device": device} | dict(fields)
    # MACE leaves out the last, incomplete batch: of a set that is smaller than one batch nothing would be left
    options["batch_size"] = min(int(fields["batch_size"]), int(np.count_nonzero(frames.subsets == TRAIN)))
    text = yaml.safe_dump(options, sort_keys=False)
    (folder / CONFIG).write_text(text, "utf-8")


def _atoms(frames: LabelledFrames, targets: FloatArray, row: int) -> Atoms:
    part = frames.atoms_of(row)
    atoms = Atoms(frames.numbers[part], frames.positions[part])
    atoms.info |= {ENERGY: float(targets[row]), "uid": str(frames.uids[row])}
    if frames.with_forces[row]:
        atoms.arrays[FORCES] = frames.target_forces[part]
    else:
        atoms.info["config_forces_weight"] = 0.0
    return atoms


def subset_sizes(frames: LabelledFrames) -> dict[str, int]:
    """Clusters in each part of the split."""
    return {SUBSETS[subset]: int(np.count_nonzero(frames.subsets == subset)) for subset in (TRAIN, VALID, TEST)}


def rows_by_epoch(lines: Iterator[JsonObject]) -> dict[int, JsonObject]:
    """Validation errors by epoch from MACE's results file; the last one where an epoch was repeated."""
    return {int(line["epoch"]): line for line in lines if line.get("mode") == "eval" and line.get("epoch") is not None}
