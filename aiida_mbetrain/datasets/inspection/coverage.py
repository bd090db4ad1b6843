"""Overlap of two sources of clusters in the model's feature space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.spatial import cKDTree

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.science.configurations import FloatArray

NEIGHBOURS = 5
MOST_FRAMES = 500
"""Frames of a cluster set that are compared, evenly spread."""
FEWEST = 2 * NEIGHBOURS
ROUNDING = 1e-6
"""Relative error of features in single precision."""


def covered_share(points: FloatArray, others: FloatArray, neighbours: int = NEIGHBOURS) -> float:
    """Part of the points with one of the others within the distance to their k-th neighbour, between 0 and 1.

    The coverage of M. F. Naeem et al., ICML 2020.  points: (n, D), n > neighbours.  others: (m, D).
    """
    radii = cKDTree(points).query(points, k=neighbours + 1)[0][:, -1]
    nearest = cKDTree(others).query(points, k=1)[0]
    return float(np.mean(nearest <= radii))


def feature_coverage(first: Sequence[Group], second: Sequence[Group]) -> tuple[float, float] | None:
    """Part of the second source's clusters that the first covers, and of the first's that the second covers.

    Means over cluster sets of the same name in both, by mean feature vectors in units of their standard deviation
    along each principal axis of both.  None where no such set has features that vary and ten frames in each source.
    """
    mine, theirs = _mean_features(first), _mean_features(second)
    found = []
    for key in sorted(mine.keys() & theirs.keys()):
        one, two = mine[key], theirs[key]
        if min(len(one), len(two)) < FEWEST or one.shape[1] != two.shape[1]:
            continue
        one, two = _scaled(one, two)
        if one.shape[1] == 0:
            continue
        found.append((covered_share(two, one), covered_share(one, two)))
    if not found:
        return None
    by_first, by_second = np.mean(found, axis=0)
    return float(by_first), float(by_second)


def _mean_features(sections: Iterable[Group]) -> dict[str, FloatArray]:
    """Mean feature vectors by name and composition of the cluster set."""
    found: dict[str, list[FloatArray]] = {}
    for section in sections:
        for key, item in section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups.items():
            structure = item[names.CLUSTER_OF_MOLECULES]
            if names.FEATURE_VECTORS in structure.datasets:
                features = structure.datasets[names.FEATURE_VECTORS]
                step = max(1, -(-len(features) // MOST_FRAMES))
                found.setdefault(key, []).append(np.asarray(features[::step], dtype=np.float64).mean(axis=1))
    return {key: np.concatenate(parts) for key, parts in found.items() if len({part.shape[1] for part in parts}) == 1}


def _scaled(one: FloatArray, two: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Both in the leading principal components of the spread within each source, so that neither a feature of large
    magnitude nor the distance between the sources sets the scale.  No component where only rounding errors vary, as
    for single atoms, whose features are all equal."""
    within = np.concatenate([one - one.mean(axis=0), two - two.mean(axis=0)])
    _, spreads, axes = np.linalg.svd(within, full_matrices=False)
    kept = (spreads > 1e-2 * spreads[0]) & (spreads > ROUNDING * np.linalg.norm(np.concatenate([one, two])))
    scale = axes[kept].T / spreads[kept]
    return one @ scale, two @ scale
