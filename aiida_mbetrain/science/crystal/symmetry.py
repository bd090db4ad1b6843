"""Space groups: found by spglib, applied to positions, cells, forces and stress in the user's own setting.

The standard setting is never imposed: cell orientation, origin and atom order stay as they are.  Isotopes of an
element are different kinds of atoms, because normal modes are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import spglib
from scipy.linalg import sqrtm

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray

SPGLIB_ERROR: type[Exception] = getattr(spglib, "SpglibError", RuntimeError)
"""Newer versions raise, older ones return None."""


@dataclass(frozen=True, eq=False)
class SpaceGroup:
    """The n symmetry operations of a crystal of N atoms, in fractional coordinates of its cell.

    number, symbol: of the space group type, as in the International Tables.
    rotations: (n, 3, 3) integers acting on columns of fractional coordinates.
    translations: (n, 3), fractional; exact with respect to the group, so that averaging over it is a projection.
    images: the atom that each operation puts each atom on, (n, N).
    """

    number: int
    symbol: str
    rotations: IntArray
    translations: FloatArray
    images: IntArray

    @classmethod
    def of(cls, structure: Configurations, *, symprec: float = 1e-5) -> Self:
        """The space group of the first frame within a tolerance (Å); raises InvalidStructure."""
        dataset = find_symmetry(structure, symprec=symprec)
        assert structure.cells is not None
        cell = structure.cells[0]
        fractional = structure.positions[0] @ np.linalg.inv(cell)
        rotations = np.asarray(dataset.rotations, dtype=np.int64)
        translations = np.asarray(dataset.translations, dtype=float)
        images = _images(rotations, translations, fractional, cell, structure.kinds)
        return cls(int(dataset.number), str(dataset.international), rotations, translations, images)

    def symmetrized(self, structure: Configurations) -> Configurations:
        """The nearest structure with exactly this symmetry; positions and cell alone are kept."""
        assert structure.cells is not None
        fractional = structure.positions[0] @ np.linalg.inv(structure.cells[0])
        moved = np.einsum("oab,oib->oia", self.rotations, fractional[self._origins])
        moved += self.translations[:, None]
        # To the image nearest to the atom itself, so that the mean is not taken across the cell boundary.
        moved -= np.rint(moved - fractional)
        cell = self.symmetrized_cell(structure.cells[0])
        positions = (moved.mean(axis=0) @ cell)[None]
        return Configurations(structure.numbers, positions, cell[None], isotope_masses=structure.isotope_masses)

    def symmetrized_cell(self, cell: FloatArray) -> FloatArray:
        """The cell whose metric is the group's average, reached by a stretch without rotation."""
        # W^T G W averaged over the group is invariant.  The symmetric square root maps the old cell onto one with this
        # metric by a pure stretch (polar decomposition), so that the crystal keeps its orientation.
        metric = np.einsum("oba,bc,ocd->ad", self.rotations, cell @ cell.T, self.rotations) / len(self.rotations)
        inverse = np.linalg.inv(cell)
        symmetrized: FloatArray = cell @ np.real(sqrtm(inverse @ metric @ inverse.T))
        return symmetrized

    def symmetrized_vectors(self, vectors: FloatArray, cell: FloatArray) -> FloatArray:
        """The invariant part of one Cartesian vector per atom (forces, displacements), (N, 3)."""
        fractional = vectors @ np.linalg.inv(cell)
        turned = np.einsum("oab,oib->oia", self.rotations, fractional[self._origins])
        mean: FloatArray = turned.mean(axis=0) @ cell
        return mean

    def symmetrized_tensor(self, tensor: FloatArray, cell: FloatArray) -> FloatArray:
        """The invariant part of a Cartesian tensor of rank two (stress), (3, 3)."""
        # Rotations act on columns of fractional coordinates, x = A^T f with the cell vectors as rows of A.
        cartesian = cell.T @ self.rotations @ np.linalg.inv(cell.T)
        mean: FloatArray = np.einsum("oab,bc,odc->ad", cartesian, tensor, cartesian) / len(cartesian)
        return mean

    @property
    def _origins(self) -> IntArray:
        """The atom that each operation brings to each atom's place, (n, N)."""
        return np.argsort(self.images, axis=1)


def find_symmetry(structure: Configurations, *, symprec: float) -> spglib.SpglibDataset:
    """spglib's symmetry dataset of the first frame within a tolerance (Å); raises InvalidStructure."""
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no space group: give a periodic crystal.")
    cell = structure.cells[0]
    crystal: Any = (cell, structure.positions[0] @ np.linalg.inv(cell), structure.kinds)
    try:
        dataset = spglib.get_symmetry_dataset(crystal, symprec=symprec)
    except SPGLIB_ERROR as error:
        raise InvalidStructure(f"spglib finds no space group: {error}.") from None
    if dataset is None:
        raise InvalidStructure("spglib finds no space group: do atoms overlap?")
    return dataset


def _images(
    rotations: IntArray, translations: FloatArray, fractional: FloatArray, cell: FloatArray, kinds: IntArray
) -> IntArray:
    different = kinds[:, None] != kinds
    images = np.empty((len(rotations), len(kinds)), dtype=np.int64)
    for k, (rotation, translation) in enumerate(zip(rotations, translations, strict=True)):  # bounds the memory
        away = (fractional @ rotation.T + translation)[:, None] - fractional
        distances = np.linalg.norm((away - np.rint(away)) @ cell, axis=-1)
        images[k] = np.where(different, np.inf, distances).argmin(axis=1)
    return images
