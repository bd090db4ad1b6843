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
        kept.append(indices[_first_of_each(np.concatenate([_coordinates(sets[i]) for i in members]))])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def _coordinates(frames: Configurations) -> FloatArray:
    """Positions and cells as one row per frame, (F, 3N) or (F, 3N + 9)."""
    rows = frames.positions.reshape(frames.n_frames, -1)
    return rows if frames.cells is None else np.hstack([rows, frames.cells.reshape(frames.n_frames, 9)])


def _first_of_each(rows: FloatArray) -> IntArray:
    """Indices of the rows that equal no earlier one.

    Equal rows have equal projections on any vector; so only rows whose projections are close are compared.
    """
    direction = np.sin(1.0 + np.arange(rows.shape[1]))
    projections = rows @ (direction / np.linalg.norm(direction))
    order = np.argsort(projections, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(projections[order]) >= REPEATED) + 1)
    kept: list[int] = []
    for group in groups:
        distinct: list[int] = []
        for i in sorted(group.tolist()):
            if not distinct or np.linalg.norm(rows[distinct] - rows[i], axis=1).min() >= REPEATED:
                distinct.append(i)
        kept += distinct
    return np.array(kept, dtype=np.int64)
