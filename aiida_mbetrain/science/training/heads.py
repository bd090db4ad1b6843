"""Heads of a model with the targets of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.training.frames import SUBSETS, LabelledFrames
from aiida_mbetrain.science.training.shifts import fit_energies

DEFAULT, BASELINE, REFERENCE = "Default", "baseline", "reference"
"""Heads of a delta model, of the labels of the baseline, and of those of the reference."""
OTHERS = "frames_"
"""Beginning of the names of a stage's inputs with the labels of other methods; the rest is the head."""
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

    def rows(self, subset: int) -> IntArray:
        """Clusters in a part of the split."""
        return np.flatnonzero(self.frames.subsets == subset)

    @property
    def with_forces(self) -> BoolArray:
        """True for clusters with forces, (F,)."""
        return np.asarray(np.isfinite(self.forces[self.frames.offsets[:-1]]).all(axis=1))


def heads_of_kind(
    frames: LabelledFrames,
    kind: str,
    baseline_e0s: Mapping[int, float],
    others: Mapping[str, LabelledFrames] | None = None,
) -> tuple[Head, ...]:
    """The heads of a kind of training, that of the resulting model last.

    Isolated atoms of a fine-tuned model are those of the baseline and the shifts of a delta model, so that it starts
    from the baseline plus a constant.
    baseline_e0s: of the model that is fine-tuned; empty for other kinds.
    others: of a multihead training, frames with the labels of other reference methods, by head.  The head of the
    baseline learns all of them.
    """
    shifts = _fitted(frames, frames.targets)
    if kind == "delta":
        return (Head(DEFAULT, frames, frames.targets, frames.target_forces, shifts),)
    if kind == "multihead":
        whole = _union([frames, *(others or {}).values()])
        below = _fitted(whole, whole.baseline_energies)
        # an element that no label of a method has keeps the energy of the baseline's
        of_methods = {**(others or {}), REFERENCE: frames}
        return (
            Head(BASELINE, whole, whole.baseline_energies, whole.baseline_forces, below),
            *(
                Head(name, part, part.energies, part.forces, below | _fitted(part, part.energies))
                for name, part in of_methods.items()
            ),
        )
    e0s = {z: energy + shifts.get(z, 0.0) for z, energy in baseline_e0s.items()}
    return (Head(REFERENCE, frames, frames.energies, frames.forces, e0s),)


def require_joint(frames: LabelledFrames, others: Mapping[str, LabelledFrames]) -> None:
    """Raise InvalidSettings for labels that no heads of one model can learn.

    These are labels of one method twice, of two baselines, and frames that one method trains on and another one is
    tested with.
    """
    known: dict[str, str] = {frames.method_hash: REFERENCE}
    subset_of = dict(zip(frames.uids.tolist(), frames.subsets.tolist(), strict=True))
    for name, part in others.items():
        if part.method_hash in known:
            raise InvalidSettings(
                f"The heads {known[part.method_hash]} and {name} have labels of one method, {part.level_of_theory}: "
                "give every method once."
            )
        known[part.method_hash] = name
        if part.baseline != frames.baseline:
            raise InvalidSettings(
                f"The frames of {part.level_of_theory} have labels of the baseline {part.baseline}, those of "
                f"{frames.level_of_theory} of {frames.baseline}: give frames of one baseline."
            )
        for uid, subset in zip(part.uids.tolist(), part.subsets.tolist(), strict=True):
            if (other := subset_of.setdefault(uid, subset)) != subset:
                raise InvalidSettings(
                    f"The frame {uid} is in the {SUBSETS[subset]} set of {part.level_of_theory} and in the "
                    f"{SUBSETS[other]} set of another method: split the frames of all methods alike."
                )


def _union(parts: Sequence[LabelledFrames]) -> LabelledFrames:
    """The frames of all parts, each once, without features; the labels of the baseline are those of all."""
    known: set[str] = set()
    chosen = []
    for part in parts:
        new = np.array([uid not in known for uid in part.uids.tolist()])
        known |= set(part.uids.tolist())
        if new.any():
            chosen.append(
                replace(
                    part.select(new),
                    features=np.empty((int(new.sum()), 0)),
                    level_of_theory=parts[0].level_of_theory,
                    method_hash=parts[0].method_hash,
                )
            )
    return LabelledFrames.concatenate(chosen)


def _fitted(frames: LabelledFrames, energies: FloatArray) -> dict[int, float]:
    elements = [int(z) for z in frames.elements]
    return dict(zip(elements, fit_energies(frames, energies).tolist(), strict=True))
