"""A preconditioner of stretching springs, for relaxing molecular crystals by PreconFIRE.

Bonds are a thousand times stiffer than contacts between molecules.  ASE's ``Exp`` gives neighbours springs that are
equally stiff in all directions, and so hinders the rotation of molecules; here a spring resists stretching alone,
and a strain of the cell stretches the springs with it.  After the idea of Packwood et al., J. Chem. Phys. 144, 164109
(2016), and Mones et al., Sci. Rep. 8, 13991 (2018).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.filters import FrechetCellFilter
from ase.optimize.precon.precon import Precon
from matscipy.neighbours import neighbour_list
from scipy import sparse
from scipy.sparse.linalg import splu

from aiida_mbetrain.science.configurations import FloatArray, IntArray

BOND_STIFFNESS = 45.0
"""eV/Å² at the sum of the covalent radii."""
DECAY = 3.0
"""1/Å; a contact 2 Å beyond the sum of covalent radii is left with 0.1 eV/Å²."""
CUTOFF = 5.0
"""Å; pairs farther apart have no spring."""
ATOM_STABILIZER = 0.05
"""eV/Å², for directions that no spring resists."""
CELL_STABILIZER = 0.05
"""eV/Å³, an elastic constant of 8 GPa."""


class StretchingSprings(Precon):
    """ASE preconditioner: ``make_precon`` with the atoms or their cell filter, then ``solve`` and ``dot``."""

    def make_precon(self, atoms: Any, reinitialize: bool | None = None) -> None:
        """Build and factorise P for the present positions of Atoms or of their FrechetCellFilter, in its rows."""
        filtered = isinstance(atoms, FrechetCellFilter)
        crystal: Atoms = atoms.atoms if filtered else atoms
        n = len(crystal)
        i, j, d, vectors = neighbour_list("ijdD", crystal, CUTOFF)
        bonded = covalent_radii[crystal.numbers]
        # Capped at 0.4 Å below the covalent radii: the springs of overlapping atoms would dominate P.
        stiffness = BOND_STIFFNESS * np.exp(-DECAY * np.maximum(d - bonded[i] - bonded[j], -0.4))
        along = vectors / d[:, None]
        # Stretch of every spring per unit of every coordinate.
        blocks = [(3 * i[:, None] + np.arange(3), -along), (3 * j[:, None] + np.arange(3), along)]
        stabilizer = np.full(3 * len(atoms), ATOM_STABILIZER)
        if filtered:
            # A strain ε stretches a vector d by d·ε·d/|d|; the filter's cell rows are log-strains times its factor.
            strain = along[:, :, None] * vectors[:, None, :]
            if atoms.constant_volume:
                strain -= np.eye(3) * np.trace(strain, axis1=1, axis2=2)[:, None, None] / 3
            columns = np.tile(3 * n + np.arange(9), (len(d), 1))
            blocks.append((columns, strain.reshape(-1, 9) / atoms.exp_cell_factor))
            stabilizer[3 * n :] = CELL_STABILIZER * crystal.get_volume() / atoms.exp_cell_factor**2
        stretch = sum(_scattered(columns, values, 3 * len(atoms)) for columns, values in blocks)
        # Each pair is listed twice.
        self.P = (stretch.T @ sparse.diags(stiffness / 2) @ stretch + sparse.diags(stabilizer)).tocsc()
        self._factors = splu(self.P)

    def Pdot(self, x: FloatArray) -> FloatArray:
        """P x."""
        product: FloatArray = self.P @ x
        return product

    def solve(self, x: FloatArray) -> FloatArray:
        """P^-1 x."""
        solution: FloatArray = self._factors.solve(x)
        return solution

    def dot(self, x: FloatArray, y: FloatArray) -> float:
        """x P y."""
        return float(x @ (self.P @ y))

    def asarray(self) -> FloatArray:
        """P, dense."""
        dense: FloatArray = self.P.toarray()
        return dense

    def copy(self) -> Self:
        """A new preconditioner; nothing is kept between steps."""
        return type(self)()


def _scattered(columns: IntArray, values: FloatArray, n_columns: int) -> sparse.csr_matrix:
    """A sparse matrix with the given columns filled in each row."""
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])
    shape = (len(columns), n_columns)
    return sparse.coo_matrix((values.ravel(), (rows, columns.ravel())), shape=shape).tocsr()
