"""Energies by element that the difference of two methods is referred to."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.errors import LabelsMissing
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.training.frames import TRAIN, LabelledFrames


def fit_shifts(frames: LabelledFrames) -> FloatArray:
    """Energies of the elements, (Z,), eV, whose sums fit the targets of the training split best, and are smallest.

    Clusters of one kind of molecule do not tell the elements apart; of all solutions the one of least norm is taken,
    whose sum over a molecule is the mean target per molecule.  Raises LabelsMissing where nothing is trained on.
    """
    return fit_energies(frames, frames.targets)


def fit_energies(frames: LabelledFrames, energies: FloatArray) -> FloatArray:
    """Energies of the elements, (Z,), eV, likewise for any energies of the frames, (F,), eV."""
    chosen = frames.subsets == TRAIN
    if not chosen.any():
        raise LabelsMissing("No frame of the training split has a reference label: label more, or split otherwise.")
    solution = np.linalg.lstsq(frames.compositions[chosen].astype(np.float64), energies[chosen], rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)


def shifted_targets(frames: LabelledFrames, shifts: FloatArray) -> FloatArray:
    """Energies of reference minus baseline minus shifts, (F,), eV."""
    return np.asarray(frames.targets - frames.compositions @ shifts)
