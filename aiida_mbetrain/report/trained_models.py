"""Facts about trained models for a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import TRAINED

OWN = tuple(dict.fromkeys(TRAINED.values()))
COLUMNS = {
    "energy": ("energy_rmse_meV_per_molecule", ("constant", "ridge", *OWN)),
    "interaction": ("interaction_rmse_kJ_per_mol", ("baseline", "ridge", *OWN)),
    "force": ("force_rmse_meV_per_A", ("baseline", *OWN)),
}
"""Quantity -> column of the errors, and the models that are told apart by it."""
UNITS = {"energy": "meV per molecule", "interaction": "kJ/mol", "force": "meV/Å"}


@dataclass(frozen=True, eq=False)
class Judgement:
    """Comparison of a trained model with the reference on one part of its split.

    errors, predictions, forces, learning_curve: as in ``aiida_mbetrain.science.training.Evaluation``.
    """

    subset: str
    errors: Table
    predictions: Table
    forces: Table
    learning_curve: Table

    @property
    def groups(self) -> dict[str, int]:
        """Groups of frames with their sizes, without sections of the file and those that are all frames again."""
        sizes = {str(group): int(n) for group, n in zip(self.errors["group"], self.errors["n_frames"], strict=True)}
        shown = {group: n for group, n in sizes.items() if not group.startswith("section=")}
        return {group: n for group, n in shown.items() if group == "all" or n < sizes["all"]}

    @property
    def quantities(self) -> list[str]:
        """Names of ``COLUMNS`` of which any error is known."""
        return [name for name, (column, _) in COLUMNS.items() if np.isfinite(self.errors[column]).any()]

    @property
    def trained(self) -> str:
        """Name of the model that was trained: delta, finetuned or multihead."""
        return next(name for name in OWN if name in self.errors["model"])

    def models(self, quantity: str) -> list[str]:
        """Models that are told apart by a quantity."""
        return [name for name in COLUMNS[quantity][1] if name in self.errors["model"]]

    def error(self, quantity: str, model: str, group: str = "all") -> float:
        """Root mean square error of a model; NaN where there is none."""
        rows = np.flatnonzero((self.errors["model"] == model) & (self.errors["group"] == group))
        return float(self.errors[COLUMNS[quantity][0]][rows[0]]) if len(rows) else float("nan")


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model.

    kind: delta, finetune, finetune_replay or multihead.
    name: of its training, such as ``ModelTrainingWorkChain<12>``.  command: that judges it.
    n_frames: clusters by part of the split.  judgement: None where it was not judged.
    """

    name: str
    level_of_theory: str
    baseline: str
    sha256: str
    n_frames: Mapping[str, int]
    n_epochs: int
    command: str
    kind: str = "delta"
    judgement: Judgement | None = None


def readable(group: str) -> str:
    """``2 molecules`` instead of ``size=2``."""
    name, _, value = group.partition("=")
    forms = {
        "all": "all",
        "size": f"{value} molecule{'' if value == '1' else 's'}",
        "source": {"md": "dynamics"}.get(value, value),
        "temperature": f"{value} K",
        "contact": f"contact {value} Å".replace(">=", "≥ ").replace("<", "< ").replace("-", "–"),
    }
    return forms.get(name, value)
