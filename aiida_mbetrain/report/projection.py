"""Two coordinates for every cluster: principal components of mean features, or of geometry where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.distance import pdist

from aiida_mbetrain.datasets import names
from aiida_mbetrain.report.embedding import ChosenSet
from aiida_mbetrain.science.configurations import FloatArray

MOST_FITTED = 5000
"""Clusters that the principal axes are fitted to, chosen by seed."""
BIN, LONGEST, WIDTH = 0.05, 10.0, 0.15
"""Of the histogram of interatomic distances, and of its smearing, Å."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Points of the map.

    points: (n, 2).  variances: part of the variance along both axes.  of_features: False where it is geometry.
    """

    points: FloatArray
    variances: tuple[float, float]
    of_features: bool


def project(sets: Sequence[ChosenSet], seed: int) -> Projection:
    """Principal components of all chosen clusters; of features where every set has vectors of one length."""
    lengths = {
        np.shape(item.structure.datasets[names.FEATURE_VECTORS])[-1]
        if names.FEATURE_VECTORS in item.structure.datasets else 0
        for item in sets
    }  # fmt: skip
    of_features = len(lengths) == 1 and lengths != {0}
    describe = mean_features if of_features else distance_histograms
    points, variances = principal_components(np.concatenate([describe(item) for item in sets]), seed)
    return Projection(points, variances, of_features)


def mean_features(chosen: ChosenSet) -> FloatArray:
    """Mean over the atoms of the chosen frames, (n, D)."""
    width = np.shape(chosen.structure.datasets[names.FEATURE_VECTORS])[-1]
    parts = [block.mean(axis=1, dtype=np.float64) for block in chosen.blocks(names.FEATURE_VECTORS)]
    return np.concatenate(parts) if parts else np.empty((0, width))


def distance_histograms(chosen: ChosenSet) -> FloatArray:
    """Smeared histograms of all interatomic distances per atom, (n, bins)."""
    bins = round(LONGEST / BIN)
    rows = np.zeros((len(chosen.frames), bins))
    n_atoms = len(chosen.numbers)
    i = 0
    for block in chosen.blocks(names.POSITIONS):
        for positions in block:
            counts = np.bincount((pdist(positions) / BIN).astype(np.int64), minlength=bins)
            rows[i] = counts[:bins] / n_atoms
            i += 1
    return np.asarray(gaussian_filter1d(rows, WIDTH / BIN, axis=1))


def principal_components(rows: FloatArray, seed: int) -> tuple[FloatArray, tuple[float, float]]:
    """The two leading components of every row and their parts of the variance.

    The sign of each axis is that of its largest coefficient, so that equal data give equal maps.
    """
    if len(rows) == 0:
        return np.empty((0, 2)), (0.0, 0.0)
    rng = np.random.default_rng(seed)
    fitted = rows if len(rows) <= MOST_FITTED else rows[np.sort(rng.permutation(len(rows))[:MOST_FITTED])]
    mean = fitted.mean(axis=0)
    _, spreads, axes = np.linalg.svd(fitted - mean, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, rows.shape[1]))])[:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    shares = np.concatenate([spreads**2, [0.0, 0.0]])[:2] / max(float(np.sum(spreads**2)), 1e-300)
    return (rows - mean) @ (axes * np.where(signs == 0, 1, signs)[:, None]).T, (float(shares[0]), float(shares[1]))
