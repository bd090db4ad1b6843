"""Container of frames of the same atoms, with labels and origin of each frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.site_occupancies import require_ordered_atoms

__all__ = ["AnyArray", "BoolArray", "Configurations", "FeatureArray", "FloatArray", "IntArray"]

FloatArray = NDArray[np.float64]
"""Array of float64."""
FeatureArray = NDArray[np.float32] | NDArray[np.float64]
"""Array of float32 or float64."""
IntArray = NDArray[np.int64]
"""Array of int64."""
BoolArray = NDArray[np.bool_]
"""Array of bool."""
AnyArray = NDArray[Any]
"""An array whose type of number is decided elsewhere, such as a column of a table."""

BLOCK_BYTES = 4_000_000
"""Positions of the frames that array expressions take at once: what they allocate is some ten times as much."""

SAME_ELEMENT = 5e-4
"""Relative deviation from the standard atomic weight up to which a mass is that of the natural element: tables of
different years differ by less, the masses of isotopes by more (¹²C by 9e-4)."""

PER_FRAME = ("positions", "cells", "energies", "forces", "stress", "features", "velocities")
ISOTOPE_MASSES, DYNAMICAL_MASSES = "isotope_masses", "dynamical_masses"
ATOMS = ("numbers", ISOTOPE_MASSES, DYNAMICAL_MASSES)


@dataclass(frozen=True, eq=False)
class Configurations:
    """F frames of the same N atoms; periodic in three directions where ``cells`` is given, else finite.

    numbers: atomic numbers, (N,).
    positions: (F, N, 3), Å.
    cells: cell vectors as rows, (F, 3, 3), Å, or None.
    energies: total potential energy, (F,), eV.
    forces: (F, N, 3), eV/Å.
    stress: (F, 3, 3), eV/Å³, positive under tension (ASE's sign).
    features: invariant feature vectors per atom, (F, N, D); float32 or float64, all other quantities are float64.
    velocities: (F, N, 3), Å/fs.
    origin: source of each frame; arrays of first dimension F under names such as ``md_step``,
        ``time_fs``, ``q_index``, ``mode``, ``frame``.
    isotope_masses: (N,), amu, where an atom is an isotope; None where all have their standard atomic weights.
    dynamical_masses: (N,), amu, that the velocities belong to where they are not those of the isotopes and elements;
        nothing else uses them.
    """

    numbers: IntArray
    positions: FloatArray
    cells: FloatArray | None = None
    energies: FloatArray | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    features: FeatureArray | None = None
    velocities: FloatArray | None = None
    origin: Mapping[str, AnyArray] = field(default_factory=dict)
    isotope_masses: FloatArray | None = None
    dynamical_masses: FloatArray | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "numbers", np.ascontiguousarray(self.numbers, dtype=np.int64))
        for name in PER_FRAME:
            value = getattr(self, name)
            if value is not None:
                set_field(self, name, np.ascontiguousarray(value, dtype=_precision(name, value)))
        set_field(self, "origin", {key: np.asarray(value) for key, value in self.origin.items()})
        self._check_shapes()
        if self.isotope_masses is not None:
            masses = np.asarray(self.isotope_masses, dtype=np.float64)
            self._check_masses("masses", masses)
            set_field(self, ISOTOPE_MASSES, self._isotopes_among(masses))
        if self.dynamical_masses is not None:
            masses = np.asarray(self.dynamical_masses, dtype=np.float64)
            self._check_masses(DYNAMICAL_MASSES, masses)
            set_field(self, DYNAMICAL_MASSES, masses)

    def _check_shapes(self) -> None:
        if self.numbers.ndim != 1 or len(self.numbers) == 0:
            raise InvalidStructure(f"numbers has shape {self.numbers.shape}: give one number per atom, at least one.")
        if self.numbers.min() < 0 or self.numbers.max() >= len(atomic_masses):
            wrong = self.numbers[(self.numbers < 0) | (self.numbers >= len(atomic_masses))]
            raise InvalidStructure(f"Atomic number {wrong[0]} is not an element.")
        n = len(self.numbers)
        if self.positions.ndim != 3:
            raise InvalidStructure(f"positions has shape {self.positions.shape}, expected (frames, {n}, 3).")
        f = len(self.positions)
        expected = {
            "positions": (f, n, 3), "cells": (f, 3, 3), "energies": (f,), "forces": (f, n, 3),
            "stress": (f, 3, 3), "velocities": (f, n, 3),
        }  # fmt: skip
        if self.features is not None:
            expected["features"] = (f, n, self.features.shape[-1])
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise InvalidStructure(f"{name} has shape {value.shape}, expected {shape}.")
        for key, value in self.origin.items():
            if len(value) != f:
                raise InvalidStructure(f"origin {key!r} has {len(value)} entries for {f} frames.")

    def _check_masses(self, name: str, masses: FloatArray) -> None:
        if masses.shape != self.numbers.shape:
            raise InvalidStructure(f"{name} has shape {masses.shape}, expected {self.numbers.shape}.")
        if not (np.isfinite(masses) & (masses > 0)).all():
            raise InvalidStructure(f"{name} = {masses.tolist()}: give finite ones above 0 u.")

    def _isotopes_among(self, masses: FloatArray) -> FloatArray | None:
        """The masses, standard weights in place of those that differ by rounding; None where that is all of them."""
        standard = atomic_masses[np.clip(self.numbers, 0, len(atomic_masses) - 1)]
        natural = np.abs(masses / standard - 1) < SAME_ELEMENT
        return None if natural.all() else np.where(natural, standard, masses)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def n_frames(self) -> int:
        """F."""
        return len(self.positions)

    @property
    def n_atoms(self) -> int:
        """N."""
        return len(self.numbers)

    @property
    def periodic(self) -> bool:
        """True where cells are given."""
        return self.cells is not None

    @cached_property
    def masses(self) -> FloatArray:
        """Masses of the isotopes, else standard atomic weights, (N,), amu."""
        return np.asarray(atomic_masses[self.numbers]) if self.isotope_masses is None else self.isotope_masses

    @cached_property
    def kinds(self) -> IntArray:
        """Numbers that are equal for atoms of the same element and mass, (N,); atomic numbers without isotopes."""
        if self.isotope_masses is None:
            return self.numbers
        _, kinds = np.unique(np.stack([self.numbers, self.isotope_masses]), axis=1, return_inverse=True)
        return np.asarray(kinds, dtype=np.int64).ravel() + 1

    @cached_property
    def volumes(self) -> FloatArray:
        """Cell volumes, (F,), Å³; raises InvalidStructure for finite configurations."""
        if self.cells is None:
            raise InvalidStructure("Finite configurations have no volume.")
        volumes: FloatArray = np.abs(np.linalg.det(self.cells))
        return volumes

    def select(self, frames: Sequence[int] | AnyArray | slice) -> Self:
        """The given frames (indices, a boolean mask or a slice), with all their fields."""
        index = frames if isinstance(frames, slice) else np.asarray(frames)
        values = {name: getattr(self, name) for name in PER_FRAME}
        kept: dict[str, Any] = {name: None if value is None else value[index] for name, value in values.items()}
        return replace(self, **kept, origin={key: value[index] for key, value in self.origin.items()})

    def blocks(self) -> Iterator[slice]:
        """Successive frames, in parts of which no array takes much memory; one empty part where there are none."""
        step = max(1, BLOCK_BYTES // (24 * self.n_atoms))
        for start in range(0, max(1, self.n_frames), step):
            yield slice(start, min(start + step, self.n_frames))

    def with_(self, **changes: object) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Frames of the same atoms one after another; a field is kept where every part has it.

        Raises InvalidStructure when the parts have different atoms.
        """
        first = parts[0]
        if any(not np.array_equal(getattr(part, name), getattr(first, name)) for part in parts for name in ATOMS):
            raise InvalidStructure("Only frames of the same atoms in the same order can be concatenated.")
        values = {name: [getattr(part, name) for part in parts] for name in PER_FRAME}
        joined: dict[str, Any] = {
            name: None if any(v is None for v in value) else np.concatenate(value) for name, value in values.items()
        }
        keys = [key for key in first.origin if all(key in part.origin for part in parts)]
        origin = {key: np.concatenate([part.origin[key] for part in parts]) for key in keys}
        atoms: dict[str, Any] = {name: getattr(first, name) for name in ATOMS}
        return cls(**atoms, **joined, origin=origin)

    @classmethod
    def from_atoms(cls, atoms: Atoms | Sequence[Atoms]) -> Self:
        """From ASE atoms; results of an attached calculator are not taken over, masses of isotopes are.

        Periodic in three directions or in none: anything between raises InvalidStructure, as do partial occupancies.
        """
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        if not frames:
            raise InvalidStructure("No frames were given.")
        for frame in frames:
            require_ordered_atoms(frame)
            if frame.pbc.any() and not (frame.pbc.all() and frame.cell.rank == 3):
                raise InvalidStructure(
                    f"The structure has pbc = {frame.pbc.tolist()} and a cell of rank {frame.cell.rank}; "
                    "give a cell of three vectors and periodicity in all directions, or none."
                )
        periodic = bool(frames[0].pbc.all())
        return cls(
            numbers=frames[0].numbers,
            positions=np.array([frame.positions for frame in frames]),
            cells=np.array([frame.cell.array for frame in frames]) if periodic else None,
            isotope_masses=frames[0].get_masses() if frames[0].has("masses") else None,
        )

    def to_atoms(self) -> list[Atoms]:
        """One ASE Atoms per frame, with energy, forces and stress in a SinglePointCalculator where known."""
        return [self._frame_to_atoms(frame) for frame in range(self.n_frames)]

    def _frame_to_atoms(self, frame: int) -> Atoms:
        cell = None if self.cells is None else self.cells[frame]
        atoms = Atoms(self.numbers, self.positions[frame], cell=cell, pbc=self.periodic, masses=self.isotope_masses)
        results: dict[str, object] = {}
        if self.energies is not None:
            results["energy"] = float(self.energies[frame])
        if self.forces is not None:
            results["forces"] = self.forces[frame]
        if self.stress is not None:
            xx, yy, zz = np.diag(self.stress[frame])
            results["stress"] = np.array(
                [xx, yy, zz, self.stress[frame, 1, 2], self.stress[frame, 0, 2], self.stress[frame, 0, 1]]
            )
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes; ``origin`` under the prefix ``origin_``."""
        arrays = {name: value for name in (*ATOMS, *PER_FRAME) if (value := getattr(self, name)) is not None}
        return arrays | {f"origin_{key}": value for key, value in self.origin.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        known = {name: arrays[name] for name in (*ATOMS, *PER_FRAME) if name in arrays}
        prefix = "origin_"
        origin = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
        return cls(**known, origin=origin)


def _precision(name: str, value: object) -> type[np.float32] | type[np.float64]:
    """Type of the numbers of a field: features keep single precision, everything else is made double."""
    single = name == "features" and getattr(value, "dtype", None) == np.float32
    return np.float32 if single else np.float64
