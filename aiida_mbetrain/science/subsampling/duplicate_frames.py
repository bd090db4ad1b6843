"""Detection of duplicate frames, as in phonon trajectories commensurate with a period."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray

REPEATED = 1e-6
"""Frames of the same atoms that differ by less than this (Å, norm of all differences) are one frame."""


def first_occurrences(sets: Sequence[Configurations]) -> IntArray:
    """Indices, in order, of the frames that repeat no earlier one; they count through all sets one after another.

    Frames of different atoms, periodic ones and clusters are never the same.
    """
    starts = np.cumsum([0, *(frames.n_frames for frames in sets)])
    kinds: dict[tuple[bytes, bool], list[int]] = {}
    for i, frames in enumerate(sets):
        kinds.setdefault((frames.numbers.tobytes(), frames.periodic), []).append(i)
    kept = [np.empty(0, dtype=np.int64)]
    for members in kinds.values():
        indices = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in members])
        kept.append(indices[_first_of_each([sets[i] for i in members])])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def _first_of_each(sets: Sequence[Configurations]) -> IntArray:
    """Indices of the frames of the same atoms that equal no earlier one.

    Equal frames have equal projections on any vector; so only frames whose projections are close are compared.
    """
    projections = np.concatenate([_projections(frames) for frames in sets])
    order = np.argsort(projections, kind="stable")
    near = np.diff(projections[order]) < REPEATED
    edges = np.diff(np.concatenate([[0], near.astype(np.int8), [0]]))
    runs = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) + 1, strict=True)
    repeated: list[int] = []
    for start, stop in runs:
        distinct: list[int] = []
        for i in sorted(order[start:stop].tolist()):
            if distinct and np.linalg.norm(_rows(sets, distinct) - _rows(sets, [i]), axis=1).min() < REPEATED:
                repeated.append(i)
            else:
                distinct.append(i)
    return np.delete(np.arange(len(projections), dtype=np.int64), repeated)


def _projections(frames: Configurations) -> FloatArray:
    """Projection of every frame on the same vector, (F,)."""
    parts = []
    for block in frames.blocks():
        rows = _coordinates(frames, block)
        direction = np.sin(1.0 + np.arange(rows.shape[1]))
        parts.append(rows @ (direction / np.linalg.norm(direction)))
    return np.concatenate(parts)


def _coordinates(frames: Configurations, which: slice | list[int]) -> FloatArray:
    """Positions and cells as one row per frame, (F, 3N) or (F, 3N + 9)."""
    positions = frames.positions[which]
    rows = positions.reshape(len(positions), 3 * frames.n_atoms)
    return rows if frames.cells is None else np.hstack([rows, frames.cells[which].reshape(len(rows), 9)])


def _rows(sets: Sequence[Configurations], indices: list[int]) -> FloatArray:
    """Coordinates of frames that are counted through all sets."""
    starts = np.cumsum([0, *(frames.n_frames for frames in sets)])
    where = np.searchsorted(starts, indices, side="right") - 1
    return np.concatenate([_coordinates(sets[i], [index - starts[i]]) for i, index in zip(where, indices, strict=True)])
