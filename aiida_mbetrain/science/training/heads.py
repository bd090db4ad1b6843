"""Heads of a model with the targets of each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.science.configurations import BoolArray, FloatArray
from aiida_mbetrain.science.training.frames import LabelledFrames
from aiida_mbetrain.science.training.shifts import fit_energies, fit_shifts

DEFAULT, BASELINE, REFERENCE = "Default", "baseline", "reference"
"""Heads of a delta model, of the labels of the baseline, and of those of the reference."""
REPLAY = "pt_head"
"""MACE's name of the head that keeps to the model that is fine-tuned."""


@dataclass(frozen=True, eq=False)
class Head:
    """Targets of one head of a model.

    energies: total or a difference, (F,), eV.  forces: (A, 3), eV/Å; NaN where there are none.
    e0s: energies of isolated atoms by atomic number, eV; the training is of what is left.
    """

    name: str
    frames: LabelledFrames
    energies: FloatArray
    forces: FloatArray
    e0s: Mapping[int, float]

    @property
    def residuals(self) -> FloatArray:
        """Energies less those of the isolated atoms, (F,), eV."""
        e0s = [self.e0s[int(z)] for z in self.frames.elements]
        return np.asarray(self.energies - self.frames.compositions @ e0s)

    @property
    def with_forces(self) -> BoolArray:
        """True for clusters with forces, (F,)."""
        return np.asarray(np.isfinite(self.forces[self.frames.offsets[:-1]]).all(axis=1))


def heads_of_kind(frames: LabelledFrames, kind: str, baseline_e0s: Mapping[int, float]) -> tuple[Head, ...]:
    """The heads of a kind of training, that of the resulting model last.

    Isolated atoms of a fine-tuned model are those of the baseline and the shifts of a delta model, so that it starts
    from the baseline plus a constant.
    baseline_e0s: of the model that is fine-tuned; empty for other kinds.
    """
    elements = [int(z) for z in frames.elements]
    shifts = dict(zip(elements, fit_shifts(frames).tolist(), strict=True))
    if kind == "delta":
        return (Head(DEFAULT, frames, frames.targets, frames.target_forces, shifts),)
    if kind == "multihead":
        below, above = (
            dict(zip(elements, fit_energies(frames, energies).tolist(), strict=True))
            for energies in (frames.baseline_energies, frames.energies)
        )
        return (
            Head(BASELINE, frames, frames.baseline_energies, frames.baseline_forces, below),
            Head(REFERENCE, frames, frames.energies, frames.forces, above),
        )
    e0s = {z: energy + shifts.get(z, 0.0) for z, energy in baseline_e0s.items()}
    return (Head(REFERENCE, frames, frames.energies, frames.forces, e0s),)
