"""Diverse points of a feature space: the farthest ones, and those in the middle of clusters.

Farthest-point sampling: Gonzalez, Theor. Comput. Sci. 38 (1985) 293; k-means: Lloyd, IEEE Trans. Inf. Theory 28
(1982) 129, started by k-means++ (Arthur & Vassilvitskii, SODA 2007).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans
from scipy.spatial.distance import cdist

from aiida_mbetrain.science.configurations import FloatArray, IntArray

POINTS_AT_ONCE = 1024


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
            point = int(_distances(features, features.mean(axis=0)).argmin())
        else:
            point = int(np.where(taken, -1.0, nearest).argmax())
        picked.append((point, float(nearest[point]) if taken.any() else np.nan))
        _take(point, features, nearest, taken)
    return picked


def _take(point: int, features: FloatArray, nearest: FloatArray, taken: NDArray[np.bool_]) -> None:
    taken[point] = True
    np.minimum(nearest, _distances(features, features[point]), out=nearest)


def _distances(features: FloatArray, vector: FloatArray) -> FloatArray:
    """Distance of every point from a vector, (n,), without an array of all differences."""
    distances = np.empty(len(features))
    for rows in _blocks(len(features)):
        distances[rows] = np.linalg.norm(features[rows] - vector, axis=1)
    return distances


def k_means(features: FloatArray, count: int, rng: np.random.Generator) -> list[int]:
    """The points nearest to the centres of up to ``count`` clusters of (n, D); fewer where clusters run empty."""
    centers, _ = kmeans(features, features[_plus_plus(features, count, rng)])
    parts = [_nearest_center(features[rows], centers) for rows in _blocks(len(features))]
    labels, own = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    order = np.lexsort((own, labels))
    _, starts = np.unique(labels[order], return_index=True)
    return [int(point) for point in order[starts]]


def _nearest_center(features: FloatArray, centers: FloatArray) -> tuple[IntArray, FloatArray]:
    """Index of the nearest centre, and the distance to it, of every point, (n,)."""
    distances = cdist(features, centers)
    return distances.argmin(axis=1).astype(np.int64), distances.min(axis=1)


def _blocks(n_points: int) -> Iterator[slice]:
    """Points of which arrays are made at once."""
    for start in range(0, n_points, POINTS_AT_ONCE):
        yield slice(start, start + POINTS_AT_ONCE)


def _plus_plus(features: FloatArray, count: int, rng: np.random.Generator) -> list[int]:
    """Starting points drawn with probability proportional to the squared distance from those before.

    Unlike that of ``scipy.cluster.vq.kmeans2`` this stops when all distinct points are taken.
    """
    points = [int(rng.integers(len(features)))]
    squared = np.full(len(features), np.inf)
    while len(points) < count:
        for rows in _blocks(len(features)):
            apart = ((features[rows] - features[points[-1]]) ** 2).sum(axis=1)
            squared[rows] = np.minimum(squared[rows], apart)
        if not squared.any():
            break
        points.append(int(rng.choice(len(features), p=squared / squared.sum())))
    return points
