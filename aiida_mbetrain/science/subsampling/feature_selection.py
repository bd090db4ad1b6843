"""Diverse points of a feature space: the farthest ones, and those in the middle of clusters.

Farthest-point sampling: Gonzalez, Theor. Comput. Sci. 38 (1985) 293; k-means: Lloyd, IEEE Trans. Inf. Theory 28
(1982) 129, started by k-means++ (Arthur & Vassilvitskii, SODA 2007).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_mbetrain.science.configurations import FloatArray

MAX_ITERATIONS = 100


def farthest_points(features: FloatArray, count: int, chosen: Sequence[int] = ()) -> list[tuple[int, float]]:
    """``count`` further points of (n, D), each the farthest from all before it, with that distance.

    Where none is chosen yet the first is the point nearest to the mean (with a distance of NaN): it does not depend
    on the order of the points, nor then do the others, equal distances aside.
    """
    nearest = np.full(len(features), np.inf)
    taken = np.zeros(len(features), dtype=bool)
    picked: list[tuple[int, float]] = []
    for point in chosen:
        _take(point, features, nearest, taken)
    while len(picked) < count:
        if not taken.any():
            point = int(np.linalg.norm(features - features.mean(axis=0), axis=1).argmin())
        else:
            point = int(np.where(taken, -1.0, nearest).argmax())
        picked.append((point, float(nearest[point]) if taken.any() else np.nan))
        _take(point, features, nearest, taken)
    return picked


def _take(point: int, features: FloatArray, nearest: FloatArray, taken: NDArray[np.bool_]) -> None:
    taken[point] = True
    np.minimum(nearest, np.linalg.norm(features - features[point], axis=1), out=nearest)


def k_means(features: FloatArray, count: int, rng: np.random.Generator) -> list[int]:
    """The points nearest to the centres of up to ``count`` clusters of (n, D); fewer where clusters run empty."""
    centers = features[_plus_plus(features, count, rng)]
    labels = np.full(len(features), -1)
    for _ in range(MAX_ITERATIONS):
        distances = cdist(features, centers)
        if np.array_equal(new := distances.argmin(axis=1), labels):
            break
        labels = new
        sizes = np.bincount(labels, minlength=len(centers))
        sums = np.zeros_like(centers)
        np.add.at(sums, labels, features)
        # a cluster that ran empty keeps its centre
        centers = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centers)
    own = cdist(features, centers)[np.arange(len(features)), labels]
    order = np.lexsort((own, labels))
    _, starts = np.unique(labels[order], return_index=True)
    return [int(point) for point in order[starts]]


def _plus_plus(features: FloatArray, count: int, rng: np.random.Generator) -> list[int]:
    """Starting points drawn with probability proportional to the squared distance from those before."""
    points = [int(rng.integers(len(features)))]
    squared = np.full(len(features), np.inf)
    while len(points) < count:
        squared = np.minimum(squared, ((features - features[points[-1]]) ** 2).sum(axis=1))
        if not squared.any():
            break
        points.append(int(rng.choice(len(features), p=squared / squared.sum())))
    return points
