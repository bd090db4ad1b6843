"""Statistics of correlated series against autoregressive processes, whose answers are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from aiida_mbetrain.science.statistics import (
    autocorrelation,
    drift,
    effective_samples,
    equilibration_start,
    mean_with_error,
    statistical_inefficiency,
)


def autoregressive(phi: float, n: int, seed: int) -> np.ndarray:
    """AR(1) of unit variance in its stationary state: autocorrelation phi^k, inefficiency (1 + phi) / (1 - phi)."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=n) * np.sqrt(1 - phi**2)
    noise[0] = rng.normal()
    return lfilter([1.0], [1.0, -phi], noise)


@pytest.mark.parametrize("phi", [0.3, 0.8, 0.95])
def test_inefficiency_of_an_autoregressive_process(phi):
    found = np.mean([statistical_inefficiency(autoregressive(phi, 40_000, seed)) for seed in range(8)])
    assert found == pytest.approx((1 + phi) / (1 - phi), rel=0.08)


def test_white_noise_is_independent():
    values = np.random.default_rng(1).normal(size=20_000)
    assert effective_samples(values) == pytest.approx(20_000, rel=0.03)


def test_autocorrelation_is_the_direct_sum():
    values = np.random.default_rng(2).normal(size=37)
    deviations = values - values.mean()
    direct = [np.mean(deviations[: 37 - lag] * deviations[lag:]) for lag in range(37)]
    np.testing.assert_allclose(autocorrelation(values), np.array(direct) / direct[0], atol=1e-12)


def test_constant_series_has_no_correlation_and_no_error():
    assert autocorrelation(np.full(5, 3.0)).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert mean_with_error(np.full(5, 3.0)).standard_error == 0.0
    assert drift(np.arange(5.0), np.full(5, 3.0)).p_value == 1.0


def test_error_of_the_mean_is_the_scatter_of_means():
    phi, n = 0.9, 4000
    means = [mean_with_error(autoregressive(phi, n, seed)) for seed in range(200)]
    scatter = np.std([found.value for found in means])
    assert np.mean([found.standard_error for found in means]) == pytest.approx(scatter, rel=0.15)


def test_drift_is_that_of_the_line():
    times = np.linspace(0.0, 50.0, 501)
    found = drift(times, 2.0 + 0.3 * times)
    assert found.slope == pytest.approx(0.3)
    assert found.change == pytest.approx(15.0)
    assert found.p_value < 1e-6


def test_drift_is_rarely_seen_where_there_is_none_and_seen_where_there_is():
    times = np.arange(2000.0)
    without = [drift(times, autoregressive(0.9, 2000, seed)).p_value < 0.01 for seed in range(300)]
    strong = [drift(times, autoregressive(0.9, 2000, seed) + times / 1000).p_value < 0.01 for seed in range(50)]
    assert np.mean(without) < 0.03
    assert np.mean(strong) > 0.9


def test_error_of_a_drift_is_its_scatter():
    times = np.arange(3000.0)
    found = [drift(times, autoregressive(0.8, 3000, seed)) for seed in range(200)]
    scatter = np.std([one.change for one in found])
    assert np.mean([one.standard_error for one in found]) == pytest.approx(scatter, rel=0.15)


def test_equilibration_starts_behind_a_relaxation():
    values = autoregressive(0.5, 4000, 3) + 20.0 * np.exp(-np.arange(4000) / 100.0)
    assert 200 < equilibration_start(values) < 1200
    assert equilibration_start(autoregressive(0.5, 4000, 4)) < 800
