"""Fields of MACE's configuration, by kind and size of the training."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings import JsonObject, Training

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
    "foundation_model": "it is the baseline where Training.kind is finetune or finetune_replay",
    "multiheads_finetuning": "it follows from Training.kind",
    "heads": "they follow from Training.kind",
    "pt_train_file": "it is the input `replay`",
    "pt_valid_file": "it is a part of the input `replay`",
    "pseudolabel_replay": "it is Training.pseudolabel_replay",
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
ARCHITECTURE = (
    "model", "r_max", "radial_type", "num_radial_basis", "num_cutoff_basis", "pair_repulsion", "distance_transform",
    "interaction", "interaction_first", "max_ell", "correlation", "num_interactions", "MLP_irreps", "radial_MLP",
    "hidden_irreps", "num_channels", "max_L", "gate", "avg_num_neighbors", "compute_avg_num_neighbors", "scaling",
)  # fmt: skip
"""Fields that say nothing where the baseline is fine-tuned: MACE takes them from its model."""
FINETUNING: JsonObject = {"lr": 0.001, "force_mh_ft_lr": True}
"""Smaller steps than those from random weights; MACE would replace the learning rate where there is replay."""


def mace_fields(settings: Training) -> JsonObject:
    """Fields of MACE's configuration but for the files and E0s.

    Raises InvalidSettings for a field that MACE does not have or that the stage sets itself.
    """
    _check_overrides(settings.mace)
    fields = COMMON | SIZES[settings.size]
    if settings.starts_from_baseline:
        for name in ARCHITECTURE:
            if name in settings.mace:
                raise InvalidSettings(f"Training.mace: {name} is not to be set here: it is that of the baseline.")
        fields = {name: value for name, value in fields.items() if name not in ARCHITECTURE} | FINETUNING
        fields |= {"model": "MACE", "multiheads_finetuning": settings.kind == "finetune_replay"}
    fields |= settings.mace | {"seed": settings.seed}
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
