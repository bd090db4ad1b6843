"""Primitive lattice of a crystal, and the molecules to which the atoms of its primitive cell belong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal import SpaceGroup, find_symmetry
from aiida_mbetrain.science.molecules import MolecularCrystal


@dataclass(frozen=True, eq=False)
class PrimitiveAtoms:
    """The atoms of the primitive cell, and the molecule that each belongs to, named by its first atom: the anchor.

    numbers: (p,).  positions: (p, 3), fractional coordinates times basis, Å.  fractional: (p, 3).
    anchors: (M,), anchor of each molecule of the crystal.  anchor_translations: (M, 3).
    owners: (p,), anchor of each primitive atom's molecule.  owner_offsets: (p, 3), its translation.
    """

    numbers: IntArray
    positions: FloatArray
    fractional: FloatArray
    anchors: IntArray
    anchor_translations: IntArray
    owners: IntArray
    owner_offsets: IntArray

    @classmethod
    def of(cls, crystal: MolecularCrystal, basis: FloatArray, kinds: IntArray) -> PrimitiveAtoms:
        """Atoms of a crystal; basis: primitive lattice vectors, Å; kinds: translational class of each atom."""
        _, first, kinds = np.unique(kinds, return_index=True, return_inverse=True)
        # ranks in the order of first appearance: the same whatever numbers the classes had
        rank = np.argsort(np.argsort(first))
        kinds, first = rank[kinds], np.sort(first)
        fractional = crystal.positions @ np.linalg.inv(basis)
        cells = np.rint(fractional - fractional[first][kinds]).astype(np.int64)
        anchor_atoms = np.array([atoms[np.argmin(kinds[atoms])] for atoms in crystal.molecules])
        owners = anchor_atoms[crystal.molecule_of_atom[first]]
        return cls(
            numbers=crystal.numbers[first],
            positions=crystal.positions[first],
            fractional=fractional[first],
            anchors=kinds[anchor_atoms],
            anchor_translations=cells[anchor_atoms],
            owners=kinds[owners],
            owner_offsets=cells[owners],
        )

    def molecules_under(self, group: SpaceGroup) -> tuple[IntArray, IntArray, IntArray]:
        """Images of the molecule of each primitive atom under the G operations.

        Returns its image's anchor (G, p), that one's translation (G, p, 3), and the operations that keep every
        molecule whole, as indices.
        """
        moved = np.einsum("gab,pb->gpa", group.rotations, self.fractional) + group.translations[:, None]
        cells = np.rint(moved - self.fractional[group.images]).astype(np.int64)
        owners, offsets = self.owners[group.images], cells + self.owner_offsets[group.images]
        # by way of the atom, and by way of its molecule's anchor
        turned = np.einsum("gab,pb->gpa", group.rotations, self.owner_offsets)
        same = (owners == owners[:, self.owners]) & (offsets == offsets[:, self.owners] + turned).all(axis=-1)
        return owners, offsets, np.flatnonzero(same.all(axis=1))


def primitive_lattice(structure: Configurations, symprec: float) -> tuple[FloatArray, IntArray]:
    """Primitive lattice vectors in units of the cell's, (3, 3), and the translational class of each atom, (N,).

    The basis is the Hermite normal form of the lattice, so that it depends on the lattice alone; spglib's own
    reduced basis may change with rounding errors where vectors are equally long.
    """
    assert structure.cells is not None
    dataset = find_symmetry(structure, symprec=symprec)
    pure = (np.asarray(dataset.rotations) == np.eye(3, dtype=int)).all(axis=(1, 2))
    translations = np.asarray(dataset.translations)[pure]
    n = len(translations)
    for denominator in (d for d in range(1, n + 1) if n % d == 0):
        numerators = np.rint(translations * denominator).astype(np.int64)
        error = np.linalg.norm((translations - numerators / denominator) @ structure.cells[0], axis=1).max()
        basis = _hermite_basis(np.concatenate([denominator * np.eye(3, dtype=np.int64), numerators]))
        kinds = np.asarray(dataset.mapping_to_primitive, dtype=np.int64)
        whole = len(kinds) == n * len(np.unique(kinds))
        if error <= symprec and round(np.linalg.det(basis)) * n == denominator**3 and whole:
            return basis / denominator, kinds
    raise InvalidStructure(
        f"The {n} lattice translations that spglib finds within symmetry_tolerance = {symprec} Å form no lattice: "
        "lower the tolerance or symmetrise the structure."
    )


def _hermite_basis(vectors: IntArray) -> IntArray:
    """The upper triangular basis of the lattice that integer vectors (n, 3) of full rank generate."""
    rows = np.array(vectors, dtype=np.int64)
    for k in range(3):
        while np.count_nonzero(rows[k:, k]) > 1:
            below = k + np.flatnonzero(rows[k:, k])
            pivot = below[np.argmin(np.abs(rows[below, k]))]
            rows[[k, pivot]] = rows[[pivot, k]]
            rows[k + 1 :] -= (rows[k + 1 :, k] // rows[k, k])[:, None] * rows[k]
        pivot = k + np.flatnonzero(rows[k:, k])[0]
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] *= np.sign(rows[k, k])
        rows[:k] -= (rows[:k, k] // rows[k, k])[:, None] * rows[k]
    return rows[:3]
