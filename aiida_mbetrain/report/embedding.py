"""The part of a dataset's clusters that a page carries, chosen by seed, and their encoding for its scripts.

Every cluster is a point of the map, up to ``MOST_POINTS``; the coordinates of as many as fit into
``COORDINATE_BYTES`` come with them.  Both budgets are shared evenly by the cluster sets, so that rare sizes and
orbits are seen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.science.configurations import AnyArray, FloatArray, IntArray

MOST_POINTS = 50_000
COORDINATE_BYTES = 4_500_000
"""Of int16 triples; base64 makes a third more of them."""
QUANTUM = 0.01
"""Step of the embedded coordinates, Å; below the width of a line on the screen."""
BLOCK = 256
"""Frames read at once."""


@dataclass(frozen=True, eq=False)
class ChosenSet:
    """One cluster set and the frames of it that the page carries.

    group: the set in the tree.  section, section_path, kind: where it lies.
    frames: rows of the set on the map, ascending.  embedded: those of them with coordinates.
    """

    path: str
    key: str
    group: Group
    section: Group
    section_path: str
    kind: str
    frames: IntArray
    embedded: NDArray[np.bool_]

    @property
    def structure(self) -> Group:
        """The configurations."""
        return self.group[names.CLUSTER_OF_MOLECULES]

    @property
    def numbers(self) -> IntArray:
        """Atomic numbers, (N,)."""
        return self.structure.array(names.ATOMIC_NUMBERS)

    def blocks(self, name: str, frames: IntArray | None = None) -> Iterator[AnyArray]:
        """Chosen rows of a dataset of the configurations, some hundred at a time."""
        stored = self.structure.datasets[name]
        rows = self.frames if frames is None else frames
        if name == names.POSITIONS and len(np.shape(stored)) == 2:  # one frame is written without its axis
            stored = np.asarray(stored)[None]
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            if part[-1] - part[0] < 2 * BLOCK:
                yield np.asarray(stored[int(part[0]) : int(part[-1]) + 1], dtype=np.float64)[part - part[0]]
            else:  # what lies between a few rows of a large set would not fit into memory
                yield np.stack([np.asarray(stored[int(row)], dtype=np.float64) for row in part])


def even_share(counts: Sequence[int], costs: Sequence[int], budget: int) -> int:
    """The largest k such that min(count, k) items of every set fit into the budget; at most the largest count."""
    low, high = 0, max(counts, default=0)
    while low < high:
        middle = (low + high + 1) // 2
        spent = sum(min(count, middle) * cost for count, cost in zip(counts, costs, strict=True))
        low, high = (middle, high) if spent <= budget else (low, middle - 1)
    return low


def choose(
    source: Source, *, most_points: int = MOST_POINTS, coordinate_bytes: int = COORDINATE_BYTES
) -> list[ChosenSet]:
    """The cluster sets of a dataset with the frames that the page carries."""
    found = list(_cluster_sets(source))
    counts = [int(group[names.CLUSTER_OF_MOLECULES].attributes[names.N_FRAMES]) for *_, group in found]  # type: ignore[arg-type]
    atoms = [int(group[names.CLUSTER_OF_MOLECULES].attributes[names.N_ATOMS]) for *_, group in found]  # type: ignore[arg-type]
    share = even_share(counts, [1] * len(counts), most_points)
    kept = [min(count, share) for count in counts]
    with_coordinates = even_share(kept, [6 * n for n in atoms], coordinate_bytes)
    rng = np.random.default_rng(source.seed)
    chosen = []
    for (kind, section_path, section, key, group), count, n in zip(found, counts, kept, strict=True):
        frames = np.sort(rng.permutation(count)[:n])
        embedded = np.zeros(n, dtype=bool)
        embedded[rng.permutation(n)[:with_coordinates]] = True
        path = f"{section_path}/{names.FINITE_SUBSYSTEMS}/{key}"
        chosen.append(ChosenSet(path, key, group, section, section_path, kind, frames, embedded))
    return chosen


def _cluster_sets(source: Source) -> Iterator[tuple[str, str, Group, str, Group]]:
    for kind in ("md_sampling", "phonon_sampling"):
        for path, section in source.sections(kind):
            subsystems = section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups
            for key in sorted(subsystems, key=_order):
                yield kind, path, section, key, subsystems[key]


def _order(key: str) -> tuple[str, float, str]:
    base, _, index = key.partition(",")
    rule, _, value = base.partition("=")
    return rule, float(value), index.zfill(8)


def packed(values: object, kind: str) -> dict[str, str]:
    """An array for the page: its little-endian bytes as base64 under the name of its type (``f4``, ``i2`` ...)."""
    array = np.ascontiguousarray(values, dtype=f"<{kind}")
    return {"type": kind, "data": base64.b64encode(array.tobytes()).decode("ascii")}


def quantised(positions: FloatArray) -> tuple[NDArray[np.int16], float]:
    """Coordinates as int16 and the length of one step, Å; coarser only where they do not fit otherwise."""
    largest = float(np.abs(positions).max(initial=0.0))
    quantum = max(QUANTUM, largest / np.iinfo(np.int16).max)
    return np.round(positions / quantum).astype(np.int16), quantum


def bonds_of_cluster(crystal: Group, molecules: IntArray) -> IntArray:
    """Bonds between the atoms of a cluster, whose atoms follow one another molecule by molecule, (B, 2)."""
    index_map, bonds = crystal.array(names.INDEX_MAP), crystal.array(names.BONDS)
    found, first = [np.empty((0, 2), dtype=np.int64)], 0
    for molecule in molecules:
        atoms = index_map[molecule][index_map[molecule] >= 0]
        place = np.full(int(index_map.max()) + 1, -1)
        place[atoms] = first + np.arange(len(atoms))
        inside = place[bonds]
        found.append(inside[(inside >= 0).all(axis=1)])
        first += len(atoms)
    return np.concatenate(found)
