"""A crystal as whole molecules: the reference that frames are followed against and clusters are chosen on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from ase.symbols import Symbols

from aiida_mbetrain.science.configurations import ISOTOPE_MASSES, AnyArray, Configurations, FloatArray, IntArray
from aiida_mbetrain.science.molecules.bond_graph import spanning_forest


@dataclass(frozen=True, eq=False)
class MolecularCrystal:
    """A periodic reference structure of N atoms in M whole molecules.

    numbers: atomic numbers, (N,), in the input's order.
    positions: (N, 3) Å, every molecule whole, its centre of mass inside the cell (on the lower faces included).
    cell: (3, 3) Å, rows.
    image_offsets: (N, 3), ``positions = input positions + image_offsets @ cell``.
    index_map: atom indices of each molecule, (M, n_max), rows padded with -1; molecules are ordered by their
        first atom, atoms as in the input.
    bonds: (B, 2), i < j.
    bond_offsets: (B, 3), in the *input's* wrapping: the bond is the vector
        ``input[j] + bond_offset @ cell - input[i]``.  Between the whole molecules' ``positions`` every offset is zero.
    centers_of_mass: (M, 3) Å.
    central_molecule_index: the molecule closest, over its periodic images, to the centre of mass of
        ``positions``; equal distances are decided by index.
    min_distances_to_central_molecule, max_distances_to_central_molecule: interatomic, smallest over periodic
        images, (M,) Å; for the central molecule itself 0 and its diameter.
    identical_composition: True when all molecules have the same formula.
    isotope_masses: as in Configurations, (N,), amu, or None.
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    image_offsets: IntArray
    index_map: IntArray
    bonds: IntArray
    bond_offsets: IntArray
    centers_of_mass: FloatArray
    central_molecule_index: int
    min_distances_to_central_molecule: FloatArray
    max_distances_to_central_molecule: FloatArray
    identical_composition: bool
    isotope_masses: FloatArray | None = None

    @property
    def n_atoms(self) -> int:
        """N."""
        return len(self.numbers)

    @property
    def n_molecules(self) -> int:
        """M."""
        return len(self.index_map)

    def atoms_of(self, molecule: int) -> IntArray:
        """Indices of the molecule's atoms, (n,)."""
        row = self.index_map[molecule]
        atoms: IntArray = row[row >= 0]
        return atoms

    @cached_property
    def molecules(self) -> list[IntArray]:
        """``atoms_of`` every molecule."""
        return [self.atoms_of(m) for m in range(self.n_molecules)]

    @cached_property
    def molecule_of_atom(self) -> IntArray:
        """The molecule of each atom, (N,)."""
        owner = np.empty(self.n_atoms, dtype=np.int64)
        rows, columns = np.nonzero(self.index_map >= 0)
        owner[self.index_map[rows, columns]] = rows
        return owner

    @property
    def volume_per_molecule(self) -> float:
        """Å³."""
        return float(abs(np.linalg.det(self.cell)) / self.n_molecules)

    @cached_property
    def radii(self) -> FloatArray:
        """Largest distance of an atom from its molecule's centre of mass, (M,) Å."""
        distances = np.linalg.norm(self.positions - self.centers_of_mass[self.molecule_of_atom], axis=1)
        return np.array([distances[atoms].max() for atoms in self.molecules])

    @cached_property
    def reference(self) -> Configurations:
        """The whole molecules as a container of one frame."""
        return Configurations(
            numbers=self.numbers,
            positions=self.positions[None],
            cells=self.cell[None],
            isotope_masses=self.isotope_masses,
        )

    @cached_property
    def parents(self) -> IntArray:
        """The parent of each atom in the walk along its molecule's bonds, (N,)."""
        return spanning_forest(self.molecule_of_atom, self.bonds)

    def composition_of(self, molecule: int) -> str:
        """Formula in Hill order, such as ``CH4N2O``."""
        return str(Symbols(self.numbers[self.atoms_of(molecule)]).get_chemical_formula())

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        optional = {} if ISOTOPE_MASSES in arrays else {ISOTOPE_MASSES: None}
        values: dict[str, Any] = {field.name: {**optional, **arrays}[field.name] for field in fields(cls)}
        central, identical = values.pop("central_molecule_index"), values.pop("identical_composition")
        return cls(**values, central_molecule_index=int(central), identical_composition=bool(identical))


def centers_of_mass(masses: FloatArray, positions: FloatArray, owner: IntArray) -> FloatArray:
    """Centres of mass (..., M, 3) of positions (..., N, 3), in the units of the positions."""
    atoms = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[atoms], np.arange(owner.max() + 1))
    moments = np.add.reduceat((masses[:, None] * positions)[..., atoms, :], starts, axis=-2)
    return np.asarray(moments / np.add.reduceat(masses[atoms], starts)[:, None])
