"""Histograms of distances between the molecules of clusters, by size and source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.report.embedding import ChosenSet, choose
from aiida_mbetrain.report.html import Markup
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.svg import Plot, figures
from aiida_mbetrain.science.configurations import FloatArray, IntArray

MOST_CLUSTERS = 3000
"""Clusters that are measured, the same number of every set."""
BINS = 60
COLOURS = {"md_sampling": ("blue", "dynamics"), "phonon_sampling": ("orange", "phonons")}

Distances = Mapping[int, Mapping[str, FloatArray]]
"""Size -> kind of source -> distances of all pairs of molecules, Å."""


def distances_section(source: Source) -> Section | None:
    """Closest contacts and distances of centres of mass; None without clusters of two molecules or more."""
    sets = [chosen for chosen in choose(source, most_points=MOST_CLUSTERS) if len(chosen.frames)]
    sets = [chosen for chosen in sets if len(chosen.group.array(names.MOLECULE_INDICES)) > 1]
    sets = [chosen for chosen in sets if names.MOLECULAR_CRYSTAL in chosen.section]
    if not sets:
        return None
    contacts: dict[int, dict[str, list[FloatArray]]] = {}
    centers: dict[int, dict[str, list[FloatArray]]] = {}
    for chosen in sets:
        size = len(chosen.group.array(names.MOLECULE_INDICES))
        for closest, between in pair_distances(chosen):
            contacts.setdefault(size, {}).setdefault(chosen.kind, []).append(closest)
            centers.setdefault(size, {}).setdefault(chosen.kind, []).append(between)
    total = sum(len(chosen.frames) for chosen in sets)
    whole = sum(chosen.structure.integer(names.N_FRAMES) for chosen in sets)
    drawn = [
        _ridges(_joined(contacts), "Closest contacts", "shortest distance between atoms of two molecules / Å"),
        _ridges(_joined(centers), "Centres of mass", "distance between two centres of mass / Å"),
    ]
    chosen_text = (
        "" if total == whole else f" Measured on {total:,} of {whole:,} clusters, chosen with seed {source.seed}."
    )
    lead = f"Between every two molecules of a cluster, each size on its own line, scaled to its peak.{chosen_text}"
    return Section("distances", "Distances", figures(*drawn), lead=lead)


def pair_distances(chosen: ChosenSet) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Shortest interatomic distances and distances of centres of mass of all pairs of molecules, (frames * pairs,)."""
    parts = _molecule_slices(chosen)
    masses = chosen.structure.array(names.MASSES)
    for positions in chosen.blocks(names.POSITIONS):
        centers = np.stack([np.average(positions[:, part], axis=1, weights=masses[part]) for part in parts], axis=1)
        first, second = np.triu_indices(len(parts), 1)
        closest = [
            _shortest(positions[:, parts[i]], positions[:, parts[j]]) for i, j in zip(first, second, strict=True)
        ]
        yield np.concatenate(closest), np.linalg.norm(centers[:, first] - centers[:, second], axis=-1).ravel()


def _molecule_slices(chosen: ChosenSet) -> list[slice]:
    index_map: IntArray = chosen.section[names.MOLECULAR_CRYSTAL].array(names.INDEX_MAP)
    sizes = (index_map[chosen.group.array(names.MOLECULE_INDICES)] >= 0).sum(axis=1)
    ends = np.cumsum(sizes)
    return [slice(int(end - size), int(end)) for size, end in zip(sizes, ends, strict=True)]


def _shortest(one: FloatArray, two: FloatArray) -> FloatArray:
    """Of every frame, (F,)."""
    # |a - b|^2 = a^2 + b^2 - 2 ab needs (F, n, m) numbers instead of (F, n, m, 3)
    squares = (one**2).sum(-1)[:, :, None] + (two**2).sum(-1)[:, None, :] - 2.0 * one @ two.transpose(0, 2, 1)
    nearest: FloatArray = np.sqrt(np.maximum(squares.min(axis=(1, 2)), 0.0))
    return nearest


def _joined(parts: Mapping[int, Mapping[str, list[FloatArray]]]) -> Distances:
    return {
        size: {kind: np.concatenate(values) for kind, values in by_kind.items()}
        for size, by_kind in sorted(parts.items())
    }


def _ridges(distances: Distances, title: str, label: str) -> Markup:
    """One line of histograms for each size, the smallest at the top."""
    everything = np.concatenate([values for by_kind in distances.values() for values in by_kind.values()])
    low, high = float(everything.min()), float(everything.max())
    edges = np.linspace(low - 0.02 * (high - low) - 1e-3, high + 0.02 * (high - low) + 1e-3, BINS + 1)
    sizes = list(distances)
    rows = {size: float(len(sizes) - 1 - i) for i, size in enumerate(sizes)}
    plot = Plot(
        (float(edges[0]), float(edges[-1])),
        (0.0, len(sizes) + 0.1),
        x_label=label,
        y_label="molecules",
        title=title,
        description=f"{title} by size: "
        + "; ".join(
            f"{size} molecules, from {min(v.min() for v in by_kind.values()):.2f} to "
            f"{max(v.max() for v in by_kind.values()):.2f} Å"
            for size, by_kind in distances.items()
        ),
        height=120 + 34 * len(sizes),
        y_ticks=[(base, str(size)) for size, base in rows.items()],
    )
    middles = np.repeat(edges, 2)[1:-1]
    named: set[str] = set()
    for size, by_kind in distances.items():
        for kind, values in by_kind.items():
            counts = np.histogram(values, bins=edges)[0]
            heights = rows[size] + 0.92 * np.repeat(counts / max(counts.max(), 1), 2)
            colour, name = COLOURS[kind]
            plot.area(middles, rows[size], heights, colour, name=None if name in named else name)
            plot.line(middles, heights, colour, style="thin")
            named.add(name)
    return plot.figure()
