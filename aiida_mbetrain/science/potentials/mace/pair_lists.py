"""Pairs of atoms within a cutoff, each once, in lists that are reused along a trajectory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matscipy.neighbours import neighbour_list

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray

DENSE_ATOMS = 300
"""Up to this many atoms all distances of a finite configuration cost less than a cell list."""

SKIN = 0.8
"""Å by which a list that is kept for further frames reaches beyond the cutoff."""


class Pairs(NamedTuple):
    """atoms: (2, h), each pair once.  shifts: (h, 3), whole lattice translations of the second atom."""

    atoms: IntArray
    shifts: FloatArray

    def select(self, which: IntArray) -> Pairs:
        """Some of them, by their indices."""
        return Pairs(self.atoms.take(which, axis=1), self.shifts.take(which, axis=0))


class _Kept(NamedTuple):
    """A frame, and all its pairs within cutoff and skin, None before there was a reason to look for them."""

    positions: FloatArray
    cell: FloatArray
    pairs: Pairs | None


class PairLists:
    """Pairs of the atoms of a configuration that are closer than ``cutoff`` (Å), in an order of their own.

    A list that reaches ``skin`` (Å) further serves the frames that come after it while it is complete for them: the
    steps of a trajectory, displaced supercells.  Where frames have nothing in common, each is searched by itself.
    The order depends on the pairs alone, not on how they were found, and so do the bits of what is summed over them.
    """

    def __init__(self, cutoff: float, *, skin: float = SKIN) -> None:
        self.cutoff, self.skin = cutoff, skin
        self._kept: _Kept | None = None
        self._served = False  # whether the kept list was complete for a later frame

    def of_frames(self, part: Configurations) -> Pairs:
        """The pairs of all frames, with atoms numbered through them."""
        if part.cells is None and part.n_atoms <= DENSE_ATOMS:
            return _of_finite_frames(part.positions, self.cutoff)
        found = [self._of_frame(part, frame) for frame in range(part.n_frames)]
        if len(found) == 1:
            return found[0]
        return Pairs(
            np.concatenate([pairs.atoms + frame * part.n_atoms for frame, pairs in enumerate(found)], axis=1),
            np.concatenate([pairs.shifts for pairs in found]),
        )

    def _of_frame(self, part: Configurations, frame: int) -> Pairs:
        positions = part.positions[frame]
        if part.cells is None:
            box = np.diag(np.ptp(positions, axis=0) + 2 * self.cutoff)
            return _search(positions - positions.min(axis=0) + self.cutoff, box, self.cutoff, periodic=False)
        cell = part.cells[frame]
        pairs = self._kept_pairs(positions, cell)
        if pairs is None:
            return _search(positions, cell, self.cutoff)
        first, second = pairs.atoms
        # take is several times faster than positions[second]
        vectors = positions.take(second, axis=0) - positions.take(first, axis=0) + pairs.shifts @ cell
        return pairs.select(np.flatnonzero(np.einsum("ij,ij->i", vectors, vectors) < self.cutoff**2))

    def _kept_pairs(self, positions: FloatArray, cell: FloatArray) -> Pairs | None:
        """A list that is complete for the frame, or None, where this is the first of its kind."""
        kept = self._kept
        near = kept is not None and self._is_complete(kept, positions, cell)
        if kept is not None and near and kept.pairs is not None:
            self._served = True
            return kept.pairs
        pairs = _search(positions, cell, self.cutoff + self.skin) if near or self._served else None
        self._kept, self._served = _Kept(positions.copy(), cell.copy(), pairs), False
        return pairs

    def _is_complete(self, kept: _Kept, positions: FloatArray, cell: FloatArray) -> bool:
        """Return True if no pair missing from the kept list can be closer than the cutoff.

        With F the strain of the cell since then and u the displacements of the atoms beyond it, a distance d has
        become at least d times the smallest singular value of F, less 2 max |u|.
        """
        if kept.positions.shape != positions.shape:
            return False
        strain = np.linalg.solve(kept.cell, cell)
        displacements = positions - kept.positions @ strain
        moved = np.sqrt(np.einsum("ia,ia->i", displacements, displacements).max())
        smallest = np.linalg.svd(strain, compute_uv=False)[-1]
        return bool((self.cutoff + self.skin) * smallest - 2 * moved >= self.cutoff)


def _of_finite_frames(positions: FloatArray, cutoff: float) -> Pairs:
    """All pairs of finite frames (F, N, 3), ordered by frame and atoms."""
    n = positions.shape[1]
    components = np.moveaxis(positions, -1, 0)
    squares = sum((x[:, :, None] - x[:, None, :]) ** 2 for x in components)
    frames, first, second = np.nonzero((squares < cutoff**2) & np.triu(np.ones((n, n), dtype=bool), k=1))
    return Pairs(np.stack([first, second]) + frames * n, np.zeros((len(frames), 3)))


def _search(positions: FloatArray, cell: FloatArray, cutoff: float, *, periodic: bool = True) -> Pairs:
    """By matscipy's cell list, ordered by atoms and shifts."""
    first, second, shifts = neighbour_list("ijS", cell=cell, pbc=[periodic] * 3, positions=positions, cutoff=cutoff)
    base = 2 * int(np.abs(shifts).max(initial=0)) + 1
    rank = shifts @ np.array([base**2, base, 1])  # integers in the lexical order of the shifts
    # of the two directions of a pair, the one whose shift is positive, or, without a shift, to the later atom
    forward = np.flatnonzero((rank > 0) | ((rank == 0) & (first < second)))
    first, second, rank = (values[forward].astype(np.int64) for values in (first, second, rank))
    order = np.argsort((first * len(positions) + second) * base**3 + rank)
    return Pairs(np.stack([first, second])[:, order], shifts[forward][order].astype(np.float64))
