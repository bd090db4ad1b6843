"""Closed-form uncertainty against explicit inverses, and its calibration on energies of known variance."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mbetrain.errors import LabelsMissing
from aiida_mbetrain.science.active_learning import FeatureUncertainty

STRENGTH = 1e-3


def features(n: int, dimension: int = 6, seed: int = 0) -> np.ndarray:
    """Correlated features of very different sizes."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(dimension, dimension))
    return rng.normal(size=(n, dimension)) @ mixing * np.logspace(-2, 2, dimension)


def explicit_covariance(labelled: np.ndarray, points: np.ndarray) -> np.ndarray:
    """X* (Xᵀ X + λ S²)⁻¹ X*ᵀ with the regularisation of the ridge model, term by term."""
    scales = np.sqrt(np.mean(labelled**2, axis=0))
    scaled = labelled / scales
    largest = np.linalg.eigvalsh(scaled.T @ scaled)[-1]
    inverse = np.linalg.inv(scaled.T @ scaled + STRENGTH * largest * np.eye(len(scales)))
    return (points / scales) @ inverse @ (points / scales).T


@pytest.mark.parametrize("n_labelled", [3, 40])
def test_covariance_is_that_of_the_explicit_inverse(n_labelled):
    labelled, points = features(n_labelled), features(10, seed=1)
    uncertainty = FeatureUncertainty.of_labelled(labelled, STRENGTH)
    vectors = uncertainty.vectors(points)
    np.testing.assert_allclose(vectors @ vectors.T, explicit_covariance(labelled, points), rtol=1e-8)
    np.testing.assert_allclose(uncertainty.variances(points), np.diag(explicit_covariance(labelled, points)), rtol=1e-8)


def test_uncertainty_is_lowest_where_labels_are():
    rng = np.random.default_rng(3)
    labelled = np.column_stack([rng.normal(size=50), 0.01 * rng.normal(size=50)])
    uncertainty = FeatureUncertainty.of_labelled(labelled, 1e-9)
    along, across = uncertainty.variances(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert across > 100 * along


def test_calibration_of_gaussian_errors_is_their_variance():
    """Errors drawn from the posterior itself have α² = 1, those twice as large 4."""
    rng = np.random.default_rng(5)
    uncertainty = FeatureUncertainty.of_labelled(features(20), STRENGTH)
    points = features(4000, seed=2)
    errors = rng.normal(size=len(points)) * np.sqrt(uncertainty.variances(points))
    assert uncertainty.calibrated(points, errors).calibration == pytest.approx(1.0, rel=0.1)
    twice = uncertainty.calibrated(points, 2 * errors)
    assert twice.calibration == pytest.approx(4.0, rel=0.1)
    assert twice.calibrated(points, errors).calibration == pytest.approx(1.0, rel=0.1)
    np.testing.assert_allclose(twice.variances(points), twice.calibration * uncertainty.variances(points))


def test_errors_of_a_fitted_ridge_model_are_as_large_as_foreseen():
    """Weights drawn from the prior, noise of variance 1: the calibrated uncertainty is the error of other points."""
    rng = np.random.default_rng(7)
    labelled, valid, test = (features(n, seed=seed) for n, seed in ((30, 1), (500, 2), (500, 3)))
    scales = np.sqrt(np.mean(labelled**2, axis=0))
    scaled = labelled / scales
    regularisation = STRENGTH * np.linalg.eigvalsh(scaled.T @ scaled)[-1]
    uncertainty = FeatureUncertainty.of_labelled(labelled, STRENGTH)
    ratios = []
    for _ in range(40):
        weights = rng.normal(size=6) / np.sqrt(regularisation)
        energies = scaled @ weights + rng.normal(size=30)
        found = np.linalg.solve(scaled.T @ scaled + regularisation * np.eye(6), scaled.T @ energies)
        errors = [(points / scales) @ (weights - found) for points in (valid, test)]
        calibrated = uncertainty.calibrated(valid, errors[0])
        ratios.append(np.mean(errors[1] ** 2) / np.mean(calibrated.variances(test)))
    assert np.mean(ratios) == pytest.approx(1.0, rel=0.15)


def test_before_labels_the_most_unlike_the_others_are_uncertain():
    candidates = np.vstack([np.ones((9, 3)), [[1.0, 1.0, 5.0]]])
    uncertainty = FeatureUncertainty.before_labels(candidates, 4)
    assert uncertainty.variances(candidates).argmax() == 9


def test_calibration_without_held_out_clusters_is_refused():
    uncertainty = FeatureUncertainty.of_labelled(features(5), STRENGTH)
    with pytest.raises(LabelsMissing, match="label more for validation"):
        uncertainty.calibrated(np.empty((0, 6)), np.empty(0))
