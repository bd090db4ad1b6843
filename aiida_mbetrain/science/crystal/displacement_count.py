"""Number of finite displacements that phonopy needs in a supercell, without building the supercell."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from phonopy.harmonic.displacement import get_displacement, is_minus_displacement

from aiida_mbetrain.science.configurations import BoolArray, Configurations, IntArray
from aiida_mbetrain.science.crystal.symmetry import SpaceGroup


@dataclass(frozen=True)
class DisplacementCounter:
    """Counter of the displacements of a crystal in supercells that keep some of its n symmetry operations."""

    group: SpaceGroup
    _counts: dict[bytes, int] = field(default_factory=dict)

    def kept_by(self, matrix: IntArray) -> BoolArray:
        """Mask of the operations that map the lattice of the supercell (3, 3) onto itself, (n,)."""
        kept: BoolArray = keep_sublattices(matrix[None], self.group.rotations)[0]
        return kept

    def number(self, kept: BoolArray, matrix: IntArray) -> int:
        """Displacements that phonopy needs in a supercell that keeps these operations.

        phonopy tries directions along the supercell's own axes, so its count depends on their choice.
        """
        key = kept.tobytes() + np.ascontiguousarray(matrix).tobytes()
        if key not in self._counts:
            images, rotations = self.group.images[kept], self.group.rotations[kept]
            # Rotations in the basis of the supercell.
            turned = np.rint(np.linalg.inv(matrix).T @ rotations @ matrix.T).astype(np.int64)
            # One atom of each orbit is displaced, in directions that its site symmetry does not connect.
            independent = np.unique(images.min(axis=0))
            sites = [turned[images[:, atom] == atom].tobytes() for atom in independent]
            self._counts[key] = sum(_n_directions(site) for site in sites)
        return self._counts[key]


@lru_cache(maxsize=4096)
def _n_directions(site_rotations: bytes) -> int:
    """phonopy's number of displacements of one atom, counting +u and -u where no operation connects them."""
    rotations = np.frombuffer(site_rotations, dtype=np.int64).reshape(-1, 3, 3)
    directions = get_displacement(rotations)
    return len(directions) + sum(is_minus_displacement(direction, rotations) for direction in directions)


def keep_sublattices(forms: IntArray, rotations: IntArray) -> BoolArray:
    """Mask of the rotations W that map each sublattice H onto itself (H W^T H^-1 integer), (s, n).

    forms: (s, 3, 3) integers, rows are vectors.  rotations: (n, 3, 3) integers, fractional, of columns.
    """
    determinants = np.rint(np.linalg.det(forms)).astype(np.int64)
    # H^-1 = adj(H) / det(H): divisibility by the determinant decides without rounding.
    adjugates = np.rint(np.linalg.inv(forms) * determinants[:, None, None]).astype(np.int64)
    kept = np.empty((len(forms), len(rotations)), dtype=bool)
    for i, rotation in enumerate(rotations):
        kept[:, i] = ((forms @ rotation.T @ adjugates) % determinants[:, None, None] == 0).all(axis=(1, 2))
    return kept


def count_displacements(structure: Configurations, matrix: IntArray, *, symprec: float = 1e-5) -> int:
    """Finite displacements that phonopy makes for this crystal in this supercell, (3, 3) integers in rows."""
    displacements = DisplacementCounter(SpaceGroup.of(structure, symprec=symprec))
    return displacements.number(displacements.kept_by(matrix), matrix)
