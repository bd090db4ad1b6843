"""Facts about trained delta models for a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiida_mbetrain.science.tables import Table


@dataclass(frozen=True, eq=False)
class Judgement:
    """Comparison of a delta model with the reference on one part of its split.

    errors, predictions, forces, learning_curve: as in ``aiida_mbetrain.science.training.Evaluation``.
    """

    subset: str
    errors: Table
    predictions: Table
    forces: Table
    learning_curve: Table


@dataclass(frozen=True, eq=False)
class DeltaModel:
    """A trained delta model.

    name: of its training, such as ``DeltaModelWorkChain<12>``.  command: that judges it.
    n_frames: clusters by part of the split.  judgement: None where it was not judged.
    """

    name: str
    level_of_theory: str
    baseline: str
    sha256: str
    n_frames: Mapping[str, int]
    n_epochs: int
    command: str
    judgement: Judgement | None = None
