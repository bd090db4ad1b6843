"""Labelled frames of clusters of any size, packed: training, validation and test set of a delta model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import AnyArray, BoolArray, Configurations, FloatArray, IntArray

SUBSETS = ("train", "valid", "test")
"""Names of the parts of a split, in the order of their numbers."""
TRAIN = SUBSETS.index("train")
"""Number of the part that shifts and weights are fitted to."""
VALID = SUBSETS.index("valid")
"""Number of the part that decides which epoch is kept."""
TEST = SUBSETS.index("test")
"""Number of the part that is held out."""
Strings = NDArray[np.str_]

PER_ATOM = ("numbers", "positions", "molecules", "forces", "baseline_forces")


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """F clusters with labels of a reference method and of the baseline; A is the number of atoms of all together.

    numbers: (A,).  positions: (A, 3), Å.  molecules: molecule of each atom, counted from 0 in every cluster, (A,).
    offsets: first atom of each cluster, and A, (F + 1,).
    energies, baseline_energies: total, (F,), eV.  forces, baseline_forces: (A, 3), eV/Å; forces are NaN where the
        reference method gives energies alone.
    interactions: energies of the reference less those of its molecules, (F,), eV; NaN where they are not known.
    features: sums of the baseline's feature vectors over the atoms of a cluster, (F, D); D is 0 without features.
    subsets: index into ``SUBSETS``, (F,).  units: number of the unit of the split, (F,): frames of one are related.
    sources: such as ``md``, (F,).  temperatures_K: of the sampling, (F,).  paths: groups in the file, (F,).
    uids: (F,).
    level_of_theory, method_hash: of the reference.  baseline: sha256 of the baseline model, or name of a calculator.
    """

    numbers: IntArray
    positions: FloatArray
    molecules: IntArray
    offsets: IntArray
    energies: FloatArray
    forces: FloatArray
    baseline_energies: FloatArray
    baseline_forces: FloatArray
    interactions: FloatArray
    features: FloatArray
    subsets: IntArray
    units: IntArray
    sources: Strings
    temperatures_K: FloatArray
    paths: Strings
    uids: Strings
    level_of_theory: str
    method_hash: str
    baseline: str

    def __len__(self) -> int:
        return len(self.energies)

    @cached_property
    def n_atoms(self) -> IntArray:
        """Atoms of each cluster, (F,)."""
        return np.diff(self.offsets)

    @cached_property
    def n_molecules(self) -> IntArray:
        """Molecules of each cluster, (F,)."""
        return np.maximum.reduceat(self.molecules, self.offsets[:-1]) + 1

    @cached_property
    def targets(self) -> FloatArray:
        """Energies of reference minus baseline, (F,), eV."""
        return self.energies - self.baseline_energies

    @cached_property
    def target_forces(self) -> FloatArray:
        """Forces of reference minus baseline, (A, 3), eV/Å; NaN where the reference has none."""
        return self.forces - self.baseline_forces

    @cached_property
    def with_forces(self) -> BoolArray:
        """True for clusters with forces of the reference, (F,)."""
        return np.asarray(np.isfinite(self.forces[self.offsets[:-1]]).all(axis=1))

    @cached_property
    def crystals(self) -> Strings:
        """First groups of the paths, which are the crystals in the file of a campaign, (F,)."""
        return np.array([path.partition("/")[0] for path in self.paths])

    @cached_property
    def elements(self) -> IntArray:
        """Atomic numbers that occur, ascending, (Z,)."""
        return np.unique(self.numbers)

    @cached_property
    def compositions(self) -> IntArray:
        """Atoms of each element in each cluster, (F, Z)."""
        return self.compositions_of(self.elements)

    def compositions_of(self, elements: IntArray) -> IntArray:
        """Atoms of each of these elements, which are all that occur and ascending, in each cluster, (F, Z)."""
        frame = np.repeat(np.arange(len(self)), self.n_atoms)
        counts = np.zeros((len(self), len(elements)), dtype=np.int64)
        np.add.at(counts, (frame, np.searchsorted(elements, self.numbers)), 1)
        return counts

    def atoms_of(self, frame: int) -> slice:
        """Rows of the atoms of a cluster."""
        return slice(int(self.offsets[frame]), int(self.offsets[frame + 1]))

    def configurations(self, frame: int) -> Configurations:
        """The geometry of one cluster."""
        atoms = self.atoms_of(frame)
        return Configurations(self.numbers[atoms], self.positions[atoms][None])

    def molecules_of(self, frame: int) -> list[Configurations]:
        """The molecules of a cluster, each by itself."""
        atoms = self.atoms_of(frame)
        numbers, positions, molecules = self.numbers[atoms], self.positions[atoms], self.molecules[atoms]
        found = (molecules == number for number in range(int(self.n_molecules[frame])))
        return [Configurations(numbers[which], positions[which][None]) for which in found]

    def select(self, frames: Sequence[int] | IntArray | BoolArray) -> Self:
        """The given clusters (indices or a mask)."""
        rows = np.arange(len(self))[np.asarray(frames)]
        pieces = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in rows]
        atoms = np.concatenate([np.empty(0, dtype=np.int64), *pieces])
        changes: dict[str, Any] = {"offsets": np.concatenate([[0], np.cumsum(self.n_atoms[rows])]).astype(np.int64)}
        for item in fields(self):
            values = getattr(self, item.name)
            if isinstance(values, np.ndarray) and item.name != "offsets":
                changes[item.name] = values[atoms if item.name in PER_ATOM else rows]
        return replace(self, **changes)

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """All clusters of the parts; raises InvalidSettings for labels of different methods or baselines."""
        facts = {(part.level_of_theory, part.method_hash, part.baseline) for part in parts}
        if len(facts) > 1:
            methods = "; ".join(f"{name} ({digest}) on {baseline}" for name, digest, baseline in sorted(facts))
            raise InvalidSettings(f"Frames with labels of different methods cannot be joined: {methods}.")
        changes: dict[str, Any] = {
            item.name: np.concatenate([getattr(part, item.name) for part in parts])
            for item in fields(cls)
            if isinstance(getattr(parts[0], item.name), np.ndarray)
        }
        n_atoms = np.concatenate([part.n_atoms for part in parts])
        changes["offsets"] = np.concatenate([[0], np.cumsum(n_atoms)]).astype(np.int64)
        return replace(parts[0], **changes)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        return {item.name: np.asarray(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        values: dict[str, Any] = {item.name: arrays[item.name] for item in fields(cls)}
        texts = ("level_of_theory", "method_hash", "baseline")
        return cls(**values | {name: str(values[name]) for name in texts})
