"""Bonds of a periodic structure, the spanning forest of its molecules, and what closes through the cell boundary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from aiida_mbetrain.science.configurations import AnyArray, FloatArray, IntArray

NETWORK_NAMES = {1: "a chain", 2: "a layer", 3: "a framework"}


def bond_cutoffs(numbers: IntArray, first: IntArray, second: IntArray, tolerance: float) -> FloatArray:
    """``tolerance`` times the sum of the covalent radii of each pair, Å.

    Radii: Cordero et al., Dalton Trans. (2008) 2832, as tabulated in ``ase.data``.
    """
    radii = covalent_radii[numbers]
    return np.asarray(tolerance * (radii[first] + radii[second]), dtype=np.float64)


def find_bonds(
    numbers: IntArray, positions: FloatArray, cell: FloatArray, tolerance: float
) -> tuple[IntArray, IntArray]:
    """Every pair closer than ``tolerance`` times its covalent radii, through every periodic image.

    positions: (N, 3) Å, wrapped or not; cell: (3, 3) Å, of any size and shape.
    Returns bonds (B, 2) and offsets (B, 3): the vector of a bond is
    ``positions[j] + offset @ cell - positions[i]``.  Each bond appears once, with i < j; a bond between an
    atom and its own image has i = j.
    """
    largest = 2.0 * tolerance * covalent_radii[numbers].max()
    i, j, distance, offset = neighbour_list("ijdS", cutoff=largest, positions=positions, cell=cell, pbc=(True,) * 3)
    # One of the two directions of each pair; for an atom and its own image, the one with the positive offset.
    positive = offset @ np.array([10**8, 10**4, 1]) > 0
    kept = ((i < j) | ((i == j) & positive)) & (distance < bond_cutoffs(numbers, i, j, tolerance))
    bonds = np.stack([i[kept], j[kept]], axis=1).astype(np.int64)
    offsets = np.asarray(offset[kept], dtype=np.int64)
    order = np.lexsort((*offsets.T[::-1], bonds[:, 1], bonds[:, 0]))
    return bonds[order], offsets[order]


@dataclass(frozen=True)
class NearMiss:
    """Two atoms that are almost bonded: indices, distance (Å) and its ratio to the sum of their covalent radii."""

    first: int
    second: int
    distance: float
    ratio: float

    @property
    def bridging_tolerance(self) -> float:
        """Smallest tolerance of two decimals that bonds the two."""
        return math.floor(self.ratio * 100) / 100 + 0.01


def nearest_miss(
    numbers: IntArray, positions: FloatArray, cell: FloatArray, molecule_of_atom: IntArray, tolerance: float
) -> NearMiss | None:
    """The pair of atoms of different molecules nearest to a bond; None where all are twice as far apart."""
    largest = 4.0 * tolerance * covalent_radii[numbers].max()
    i, j, distance = neighbour_list("ijd", cutoff=largest, positions=positions, cell=cell, pbc=(True,) * 3)
    apart = (i < j) & (molecule_of_atom[i] != molecule_of_atom[j])
    if not apart.any():
        return None
    i, j, distance = i[apart], j[apart], distance[apart]
    ratios = distance / bond_cutoffs(numbers, i, j, 1.0)
    nearest = int(np.argmin(ratios))
    return NearMiss(int(i[nearest]), int(j[nearest]), float(distance[nearest]), float(ratios[nearest]))


def label_molecules(n_atoms: int, bonds: IntArray) -> IntArray:
    """The molecule of each atom, (N,); molecules are numbered by their smallest atom index."""
    _, labels = connected_components(_adjacency(n_atoms, bonds), directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def spanning_forest(molecule_of_atom: IntArray, bonds: IntArray) -> IntArray:
    """The parent of each atom in a breadth-first walk of its molecule, (N,); a root is its own parent.

    The root is the molecule's first atom.  All molecules are walked at once from an extra atom bonded to every root.
    """
    n_atoms = len(molecule_of_atom)
    roots = np.unique(molecule_of_atom, return_index=True)[1]
    spokes = np.column_stack([np.full(len(roots), n_atoms), roots])
    graph = _adjacency(n_atoms + 1, np.concatenate([bonds, spokes]))
    _, predecessors = breadth_first_order(graph, n_atoms, directed=False, return_predecessors=True)
    parents: IntArray = predecessors[:n_atoms].astype(np.int64)
    parents[roots] = roots
    return parents


def sum_to_roots(parents: IntArray, steps: NDArray[np.float64] | IntArray) -> AnyArray:
    """Sums of ``steps`` (..., N, 3) along the path from each atom to its root, whose own step must be zero.

    Pointer jumping: each pass doubles the length of path summed, so the number of passes is the logarithm of
    the depth and a long polymer costs no more than a small molecule.
    """
    ancestors, total = parents, steps
    while not np.array_equal(ancestors, ancestors[ancestors]):
        total = total + total[..., ancestors, :]
        ancestors = ancestors[ancestors]
    return total + total[..., ancestors, :]


def tree_offsets(parents: IntArray, bonds: IntArray, offsets: IntArray) -> IntArray:
    """Lattice offset of each atom that puts it next to its root along the spanning forest, (N, 3)."""
    n_atoms = len(parents)
    keys = np.concatenate([bonds @ [n_atoms, 1], bonds @ [1, n_atoms]])
    both = np.concatenate([offsets, -offsets])
    order = np.argsort(keys, kind="stable")
    children = np.flatnonzero(parents != np.arange(n_atoms))
    found = np.searchsorted(keys[order], parents[children] * n_atoms + children)
    steps = np.zeros((n_atoms, 3), dtype=np.int64)
    steps[children] = both[order[found]]
    return np.asarray(sum_to_roots(parents, steps), dtype=np.int64)


def network_dimensions(molecule_of_atom: IntArray, bonds: IntArray, open_offsets: IntArray) -> dict[int, int]:
    """Dimension of every component that closes through the lattice: {molecule: 1, 2 or 3}.

    open_offsets: (B, 3), the lattice vector by which each bond misses the atom it should meet after unwrapping;
    the vectors of one component span the lattice of its translations.
    """
    crossing = open_offsets.any(axis=1)
    owner = molecule_of_atom[bonds[crossing, 0]]
    return {int(m): int(np.linalg.matrix_rank(open_offsets[crossing][owner == m])) for m in np.unique(owner)}


def _adjacency(n_nodes: int, bonds: IntArray) -> csr_array:
    ones = np.ones(len(bonds), dtype=np.int8)
    return csr_array((ones, (bonds[:, 0], bonds[:, 1])), shape=(n_nodes, n_nodes))
