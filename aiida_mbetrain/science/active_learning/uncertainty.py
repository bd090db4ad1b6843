"""Uncertainty of energies that are linear in features, in closed form, and its calibration on held-out energies.

The posterior of a ridge model with features X of N labelled clusters has the variance α² x·(XᵀX + λ)⁻¹x at features x
(Bishop, Pattern Recognition and Machine Learning (2006), eq. 3.59 without the noise of the label; for the last layer of
a neural network Bigi, Chong, Ceriotti & Grasselli, Mach. Learn.: Sci. Technol. 5 (2024) 045018).  α² is calibrated: the
mean of squared errors over variances for α = 1 of clusters that no weight was fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from aiida_mbetrain.errors import LabelsMissing
from aiida_mbetrain.science.configurations import FloatArray

PRIOR_STRENGTH = 1e-6
"""Regularisation before anything is labelled, in units of the largest eigenvalue of the features' second moments."""


@dataclass(frozen=True, eq=False)
class FeatureUncertainty:
    """Variances α² x·(XᵀX + λ)⁻¹x of energies that are linear in D features.

    transformation: (D, D), from features to vectors z with z·z = x·(XᵀX + λ)⁻¹x.  calibration: α², eV².
    """

    transformation: FloatArray
    calibration: float = 1.0

    @classmethod
    def of_labelled(cls, features: FloatArray, strength: float) -> Self:
        """Of a ridge model fitted to summed features (N, D), as :func:`training.fit_ridge` does.

        strength: regularisation in units of the largest eigenvalue of the scaled features' second moments.
        """
        scales = _scales(features)
        _, singular, right = np.linalg.svd(features / scales, full_matrices=True)
        squares = np.zeros(features.shape[1])
        squares[: len(singular)] = singular**2
        return cls(right.T / np.sqrt(squares + strength * squares[0]) / scales[:, None])

    @classmethod
    def before_labels(cls, candidates: FloatArray, n_labels: int) -> Self:
        """Without labels the weights are independent: the variance is the squared length of scaled features (F, D).

        n_labels: number that will be chosen of the candidates, which decides how far one label reaches.
        """
        scales = _scales(candidates)
        largest = np.linalg.norm(candidates / scales, 2) ** 2 * n_labels / len(candidates)
        return cls(np.diag(1.0 / (scales * np.sqrt(PRIOR_STRENGTH * largest))))

    def vectors(self, features: FloatArray) -> FloatArray:
        """Vectors z, (F, D), of features (F, D): z_i·z_j is the covariance of two energies for α = 1."""
        return np.asarray(features @ self.transformation)

    def variances(self, features: FloatArray) -> FloatArray:
        """Variances of the energies, (F,), eV²."""
        return np.asarray(self.calibration * np.sum(self.vectors(features) ** 2, axis=1))

    def calibrated(self, features: FloatArray, errors: FloatArray) -> Self:
        """With α² from energies (F,), eV, in error by so much, of clusters that no weight was fitted to.

        Raises LabelsMissing where there are none.
        """
        variances = replace(self, calibration=1.0).variances(features)
        known = variances > 0
        if not known.any():
            raise LabelsMissing("No held-out cluster has an uncertainty to calibrate: label more for validation.")
        return replace(self, calibration=float(np.mean(errors[known] ** 2 / variances[known])))


def _scales(features: FloatArray) -> FloatArray:
    """Root mean squares of the features, (D,); 1 where a feature is zero throughout."""
    scales = np.sqrt(np.mean(features**2, axis=0))
    scales[scales == 0] = 1.0
    return np.asarray(scales)
