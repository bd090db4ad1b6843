"""Fragments: finite systems of real and ghost atoms, each the input of one calculation of a reference method.

A fragment is identified by its content: elements, ghosts, charge, multiplicity and the geometry up to a translation.
Fragments that several clusters, cluster sizes, sources or earlier runs have in common are therefore recognised without
knowledge of where they came from, and calculated once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import AnyArray, BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal

ID_LENGTH = 32
"""Hexadecimal digits of a fragment's id: 128 bits of sha256."""

RESOLUTION = 1e-6
"""Å to which coordinates enter the id: far above the rounding errors of a lattice translation, far below physics."""


@dataclass(frozen=True, eq=False)
class Fragment:
    """One calculation.

    numbers: atomic numbers, (N,).
    positions: (N, 3), Å.
    ghosts: (N,), True for atoms of which only the basis functions are present.
    charge: total charge, e.
    multiplicity: 2S + 1.
    """

    numbers: IntArray
    positions: FloatArray
    ghosts: BoolArray
    charge: int = 0
    multiplicity: int = 1

    @cached_property
    def id(self) -> str:
        """Identity of the calculation, apart from the method."""
        return fragment_ids(self.numbers, self.positions[None], self.ghosts, self.charge, self.multiplicity)[0]


def fragment_ids(
    numbers: IntArray, positions: FloatArray, ghosts: BoolArray, charge: int, multiplicity: int
) -> list[str]:
    """Ids of F geometries (F, N, 3) of the same atoms; coordinates count from the first atom."""
    header = np.concatenate([numbers, ghosts, [charge, multiplicity]]).astype("<i8").tobytes()
    grid = np.rint((positions - positions[:, :1]) / RESOLUTION).astype("<i8")
    return [hashlib.sha256(header + geometry.tobytes()).hexdigest()[:ID_LENGTH] for geometry in grid]


@dataclass(frozen=True, eq=False)
class Fragments:
    """R fragments, the atoms of one after those of another.

    offsets: (R + 1,), fragment r has the atoms ``offsets[r]`` to ``offsets[r + 1]``.
    numbers, positions, ghosts: (A,), (A, 3) Å, (A,).
    charges, multiplicities: (R,).
    ids: (R,), distinct.
    """

    offsets: IntArray
    numbers: IntArray
    positions: FloatArray
    ghosts: BoolArray
    charges: IntArray
    multiplicities: IntArray
    ids: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, row: int) -> Fragment:
        atoms = slice(self.offsets[row], self.offsets[row + 1])
        return Fragment(
            self.numbers[atoms],
            self.positions[atoms],
            self.ghosts[atoms],
            int(self.charges[row]),
            int(self.multiplicities[row]),
        )

    @classmethod
    def of(cls, fragments: Iterable[Fragment]) -> Self:
        """Packed, in the order of their first appearance, equal ones once."""
        distinct = list({fragment.id: fragment for fragment in fragments}.values())
        return cls(
            offsets=np.cumsum([0, *(len(fragment.numbers) for fragment in distinct)], dtype=np.int64),
            numbers=np.concatenate([np.empty(0, np.int64), *(f.numbers for f in distinct)]),
            positions=np.concatenate([np.empty((0, 3)), *(f.positions for f in distinct)]),
            ghosts=np.concatenate([np.empty(0, bool), *(f.ghosts for f in distinct)]),
            charges=np.array([f.charge for f in distinct], dtype=np.int64),
            multiplicities=np.array([f.multiplicity for f in distinct], dtype=np.int64),
            ids=np.array([f.id for f in distinct], dtype=f"<U{ID_LENGTH}"),
        )

    def select(self, rows: Sequence[int] | IntArray) -> Self:
        """The given fragments, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        atoms = atoms_of_rows(self.offsets, rows)
        return type(self)(
            offsets=np.concatenate([[0], np.cumsum(self.n_atoms[rows])]).astype(np.int64),
            numbers=self.numbers[atoms],
            positions=self.positions[atoms],
            ghosts=self.ghosts[atoms],
            charges=self.charges[rows],
            multiplicities=self.multiplicities[rows],
            ids=self.ids[rows],
        )

    @property
    def n_atoms(self) -> IntArray:
        """Atoms of each fragment, ghosts included, (R,)."""
        return np.diff(self.offsets)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def atoms_of_rows(offsets: IntArray, rows: IntArray) -> IntArray:
    """Indices of the atoms of the given rows of a packed array, one row after another."""
    sizes = offsets[rows + 1] - offsets[rows]
    starts = np.repeat(offsets[rows] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return np.asarray(starts + np.arange(sizes.sum()), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class MoleculeStates:
    """Size, charge and spin of the M molecules of a crystal: n_atoms, charges (e), unpaired electrons, each (M,)."""

    n_atoms: IntArray
    charges: IntArray
    unpaired: IntArray

    @classmethod
    def of(
        cls,
        crystal: MolecularCrystal,
        charges: Mapping[str, int] | None = None,
        multiplicities: Mapping[str, int] | None = None,
    ) -> Self:
        """From charges and multiplicities by formula (Hill order); a molecule without is neutral and a singlet.

        Raises InvalidSettings for a formula that no molecule has, and for a multiplicity that the number of electrons
        does not allow.
        """
        charges, multiplicities = charges or {}, multiplicities or {}
        formulas = [crystal.composition_of(m) for m in range(crystal.n_molecules)]
        for name, given in (("charges", charges), ("multiplicities", multiplicities)):
            if unknown := sorted(set(given) - set(formulas)):
                raise InvalidSettings(
                    f"ReferenceLabels.{name}: no molecule is {', '.join(unknown)}; the crystal has "
                    f"{', '.join(sorted(set(formulas)))}."
                )
        for formula, molecule in {formula: m for m, formula in enumerate(formulas)}.items():
            charge, multiplicity = charges.get(formula, 0), multiplicities.get(formula, 1)
            n_electrons = int(crystal.numbers[crystal.atoms_of(molecule)].sum()) - charge
            if n_electrons < multiplicity - 1 or (n_electrons - multiplicity) % 2 == 0:
                raise InvalidSettings(
                    f"{formula} has {n_electrons} electrons at charge {charge} and cannot have the multiplicity "
                    f"{multiplicity}: set ReferenceLabels.charges or multiplicities for {formula}."
                )
        return cls(
            n_atoms=np.array([len(atoms) for atoms in crystal.molecules], dtype=np.int64),
            charges=np.array([charges.get(formula, 0) for formula in formulas], dtype=np.int64),
            unpaired=np.array([multiplicities.get(formula, 1) - 1 for formula in formulas], dtype=np.int64),
        )
