"""Labels of a stage by several jobs: the frames that each labels, and one result from theirs.

A part is a run of successive pieces of :mod:`.labels_in_batches`.  Every frame is evaluated beside the same others as
by a single job, so that its labels are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import ATOMS, PER_FRAME, Configurations
from aiida_mbetrain.science.io import join_rows
from aiida_mbetrain.science.stages.labels_in_batches import Piece

FrameSet = Configurations | ClusterSet


def rows_of_part(pieces: Sequence[Piece], number: int, n_parts: int) -> dict[int, slice]:
    """Frames of a part by index of the set; parts count from 1, and some are empty where there are few pieces."""
    first, last = (len(pieces) * i // n_parts for i in (number - 1, number))
    rows: dict[int, slice] = {}
    for piece in pieces[first:last]:
        for index, where in piece:
            rows[index] = slice(rows[index].start if index in rows else where.start, where.stop)
    return rows


def join_parts(parts: Sequence[Mapping[str, FrameSet]]) -> dict[str, FrameSet]:
    """The sets of all parts in their order, frames one after another; large arrays lie in files.

    A set need not be in every part.
    """
    found: dict[str, list[FrameSet]] = {}
    for part in parts:
        for name, value in part.items():
            found.setdefault(name, []).append(value)
    return {name: _joined(values) for name, values in found.items()}


def _joined(values: Sequence[FrameSet]) -> FrameSet:
    first = values[0]
    frames = _joined_frames([value.configurations if isinstance(value, ClusterSet) else value for value in values])
    return replace(first, configurations=frames) if isinstance(first, ClusterSet) else frames


def _joined_frames(parts: Sequence[Configurations]) -> Configurations:
    fields = {name: [getattr(part, name) for part in parts] for name in PER_FRAME}
    joined = {name: join_rows(arrays) for name, arrays in fields.items() if arrays[0] is not None}
    origin = {name: np.concatenate([part.origin[name] for part in parts]) for name in parts[0].origin}
    atoms = {name: getattr(parts[0], name) for name in ATOMS}
    return Configurations(**atoms, **joined, origin=origin)
