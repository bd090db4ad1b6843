"""Closed-form ridge regression of energies on features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.errors import FeaturesMissing, LabelsMissing
from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.science.training.frames import TRAIN, LabelledFrames

STRENGTHS = np.logspace(-10, 2, 37)
"""Regularisation, in units of the largest eigenvalue of the features' second moments."""


@dataclass(frozen=True, eq=False)
class RidgeModel:
    """Linear model of energies, ``features @ weights``, in eV.

    strength: regularisation, in units of the largest eigenvalue; chosen by leaving out one unit of the training split
        (related frames together) after the other.  left_out_rmse: root mean square of those errors, eV.
    """

    weights: FloatArray
    strength: float
    left_out_rmse: float

    def predict(self, features: FloatArray) -> FloatArray:
        """Energies of summed feature vectors (F, D), (F,), eV."""
        return np.asarray(features @ self.weights)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Arrays for npz files and ArrayData nodes."""
        return {
            "weights": self.weights,
            "strength": np.array(self.strength),
            "left_out_rmse": np.array(self.left_out_rmse),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(arrays["weights"], float(arrays["strength"]), float(arrays["left_out_rmse"]))


def fit_ridge(frames: LabelledFrames, targets: FloatArray) -> RidgeModel:
    """Fit energies (F,), eV, of the training split; validation and test set have no part in it.

    Features are sums over atoms, so that energies are extensive; there is no constant.  The error of a unit that is
    left out follows from the fit to all: r_U = (1 - H_UU)^-1 (y - H y)_U with the hat matrix H.
    Raises FeaturesMissing, LabelsMissing.
    """
    chosen = frames.subsets == TRAIN
    if frames.features.shape[1] == 0:
        raise FeaturesMissing("The frames have no features of the baseline: label with features = all or clusters.")
    if np.count_nonzero(chosen) < 2:
        raise LabelsMissing("The training split has fewer than two labelled frames: label more.")
    scales = np.sqrt(np.mean(frames.features[chosen] ** 2, axis=0))
    scales[scales == 0] = 1.0
    left, singular, right = np.linalg.svd(frames.features[chosen] / scales, full_matrices=False)
    projected = left.T @ targets[chosen]
    units = np.unique(frames.units[chosen], return_inverse=True)[1]
    members = [np.flatnonzero(units == unit) for unit in range(units.max() + 1)]

    def left_out_rmse(strength: float) -> float:
        shrunk = singular**2 / (singular**2 + strength * singular[0] ** 2)
        residuals = targets[chosen] - left @ (shrunk * projected)
        errors = []
        for rows in members:
            hat = (left[rows] * shrunk) @ left[rows].T
            errors.append(np.linalg.lstsq(np.eye(len(rows)) - hat, residuals[rows], rcond=None)[0])
        return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))

    errors = [left_out_rmse(strength) for strength in STRENGTHS]
    best = float(STRENGTHS[int(np.argmin(errors))])
    weights = right.T @ (singular / (singular**2 + best * singular[0] ** 2) * projected) / scales
    return RidgeModel(weights, best, min(errors))
