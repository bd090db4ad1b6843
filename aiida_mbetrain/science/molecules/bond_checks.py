"""Comparison of the bond graph of frames with that of the reference crystal."""

from __future__ import annotations

import numpy as np
from matscipy.neighbours import neighbour_list
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.molecules.bond_graph import bond_cutoffs, find_bonds
from aiida_mbetrain.science.molecules.molecular_crystal import MolecularCrystal
from aiida_mbetrain.science.molecules.unwrapping import geometry_of

CALM_DISPLACEMENT = 1.5
"""Frames whose atoms all moved less than this (Å) share one list of pairs that could have come close."""

CALM_STRETCH = 0.8
"""... and whose cell shrank by no more than this factor in any direction."""


def bonds_intact(
    crystal: MolecularCrystal, whole: Configurations, *, bond_tolerance: float, bond_check_tolerance: float
) -> NDArray[np.bool_]:
    """Mask of the frames whose bond graph is that of the reference, (F,).

    whole: frames from :func:`unwrap_molecules`.  Every reference bond must be shorter than ``bond_check_tolerance``
    times the covalent radii, and no other two atoms, periodic images included, closer than ``bond_tolerance`` times
    theirs.  The first is wider because hot molecules stretch; the second is the criterion of detection.
    """
    parts = [geometry_of(whole, block) for block in whole.blocks()]
    return np.concatenate([_intact(crystal, part, bond_tolerance, bond_check_tolerance) for part in parts])


def _intact(
    crystal: MolecularCrystal, whole: Configurations, bond_tolerance: float, bond_check_tolerance: float
) -> NDArray[np.bool_]:
    first, second = crystal.bonds.T
    lengths = np.linalg.norm(whole.positions[:, second] - whole.positions[:, first], axis=-1)
    unbroken = (lengths < bond_cutoffs(crystal.numbers, first, second, bond_check_tolerance)).all(axis=1)
    return np.asarray(unbroken & ~_new_bonds(crystal, whole, bond_tolerance))


def _new_bonds(crystal: MolecularCrystal, whole: Configurations, tolerance: float) -> NDArray[np.bool_]:
    """Frames with a bond that the reference lacks, (F,)."""
    assert whole.cells is not None
    displacements, stretches = _displacements(crystal, whole)
    calm = (displacements.max(axis=1) < CALM_DISPLACEMENT) & (stretches > CALM_STRETCH)
    formed = np.zeros(whole.n_frames, dtype=bool)
    if calm.any():
        pairs, offsets = _candidates(crystal, tolerance, displacements[calm].max(axis=0), stretches[calm].min())
        formed[calm] = _any_closer(crystal, whole.positions[calm], whole.cells[calm], pairs, offsets, tolerance)
    # A neighbour search per frame for the others: compiled, linear in atoms, and seldom needed.
    for frame in np.flatnonzero(~calm):
        bonds, offsets = find_bonds(crystal.numbers, whole.positions[frame], whole.cells[frame], tolerance)
        formed[frame] = not _known(crystal, bonds, offsets).all()
    return formed


def _displacements(crystal: MolecularCrystal, whole: Configurations) -> tuple[FloatArray, FloatArray]:
    """Distance of each atom from its place in the homogeneously strained reference, (F, N) Å, and the smallest
    stretch, (F,).

    With these, two atoms at distance d in the reference are at least stretch * d - u_i - u_j apart in the frame.
    """
    assert whole.cells is not None
    inverse = np.linalg.inv(crystal.cell)
    moved = whole.positions - (crystal.positions @ inverse) @ whole.cells
    moved -= moved.mean(axis=1, keepdims=True)
    stretches = np.linalg.svd(inverse @ whole.cells, compute_uv=False).min(axis=1)
    return np.linalg.norm(moved, axis=-1), stretches


def _candidates(
    crystal: MolecularCrystal, tolerance: float, displacements: FloatArray, stretch: float
) -> tuple[IntArray, IntArray]:
    """Pairs (K, 2) with offsets (K, 3), not bonded in the reference, that the displacements (N,) let bond."""
    atoms = np.arange(crystal.n_atoms)
    longest = bond_cutoffs(crystal.numbers, atoms, atoms, tolerance).max()
    i, j, distances, offsets = neighbour_list(
        "ijdS",
        cutoff=(longest + 2.0 * displacements.max()) / stretch + 1e-9,
        positions=crystal.positions, cell=crystal.cell, pbc=(True,) * 3,
    )  # fmt: skip
    reach = bond_cutoffs(crystal.numbers, i, j, tolerance) + displacements[i] + displacements[j]
    near = (i <= j) & (stretch * distances <= reach)
    pairs, offsets = np.stack([i[near], j[near]], axis=1).astype(np.int64), offsets[near].astype(np.int64)
    new = ~_known(crystal, pairs, offsets)
    return pairs[new], offsets[new]


def _known(crystal: MolecularCrystal, bonds: IntArray, offsets: IntArray) -> NDArray[np.bool_]:
    """Mask of the pairs (i <= j) of whole molecules that are bonded in the reference."""
    keys = np.array([crystal.n_atoms, 1])
    return np.isin(bonds @ keys, crystal.bonds @ keys) & ~offsets.any(axis=1)


def _any_closer(
    crystal: MolecularCrystal, positions: FloatArray, cells: FloatArray, pairs: IntArray, offsets: IntArray,
    tolerance: float,
) -> NDArray[np.bool_]:  # fmt: skip
    vectors = positions[:, pairs[:, 1]] - positions[:, pairs[:, 0]] + offsets @ cells
    cutoffs = bond_cutoffs(crystal.numbers, pairs[:, 0], pairs[:, 1], tolerance)
    return np.asarray((np.linalg.norm(vectors, axis=-1) < cutoffs).any(axis=1))
