"""Statistics of correlated time series: autocorrelation, independent samples, drift, equilibration.

J. D. Chodera et al., J. Chem. Theory Comput. 3, 26 (2007) for the statistical inefficiency; J. D. Chodera,
J. Chem. Theory Comput. 12, 1799 (2016) for the equilibration time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import t as student

from aiida_mbetrain.science.configurations import FloatArray

__all__ = [
    "Drift",
    "Mean",
    "autocorrelation",
    "drift",
    "effective_samples",
    "equilibration_start",
    "mean_with_error",
    "statistical_inefficiency",
]

SHORTEST = 3
"""Lags that always count: noise may bring the correlation below zero by chance at once."""


def autocorrelation(values: FloatArray) -> FloatArray:
    """Normalised autocorrelation at lags 0 to n - 1, (n,); zero beyond lag 0 for a constant series."""
    deviations = np.asarray(values, dtype=np.float64) - np.mean(values)
    n = len(deviations)
    variance = float(np.mean(deviations**2))
    if variance == 0.0:
        constant = np.zeros(n)
        constant[0] = 1.0
        return constant
    # padded to twice the length or more, so that the periodic sum of the Fourier transform does not wrap around
    padded = next_fast_len(2 * n, real=True)
    spectrum = rfft(deviations, padded)
    sums = irfft(spectrum * np.conj(spectrum), padded)[:n]
    return np.asarray(sums / (np.arange(n, 0, -1) * variance))


def statistical_inefficiency(values: FloatArray) -> float:
    """Number of samples per independent one, g = 1 + 2 tau with tau in samples; 1 for white noise.

    The sum over lags ends where the correlation first vanishes: behind it is only noise.
    """
    correlation = autocorrelation(values)
    n = len(correlation)
    lags = np.arange(1, n)
    vanished = np.flatnonzero((correlation[1:] <= 0) & (lags > SHORTEST))
    end = vanished[0] if len(vanished) else n - 1
    g = 1.0 + 2.0 * float(np.sum(correlation[1 : end + 1] * (1.0 - lags[:end] / n)))
    return max(1.0, g)


def effective_samples(values: FloatArray) -> float:
    """Number of independent samples that would give the same error of the mean; at least 1."""
    return max(1.0, len(values) / statistical_inefficiency(values))


@dataclass(frozen=True)
class Mean:
    """Mean of a correlated series with its standard error, and the number of independent samples behind it."""

    value: float
    standard_error: float
    n_independent: float


def mean_with_error(values: FloatArray) -> Mean:
    """Mean of a correlated series."""
    independent = effective_samples(values)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Mean(float(np.mean(values)), spread / independent**0.5, independent)


@dataclass(frozen=True)
class Drift:
    """Straight line through a series.

    slope: per unit of time.  change: slope times the length of the series.  standard_error: of the change.
    p_value: probability of a change as large in a series without drift.
    """

    slope: float
    change: float
    standard_error: float
    p_value: float


def drift(times: FloatArray, values: FloatArray) -> Drift:
    """Drift of a correlated series, by least squares.

    The error of the slope is that of independent samples times the square root of the statistical inefficiency of
    what the line leaves; Student's t has as many degrees of freedom as there are independent samples, less two.
    Needs three samples or more.
    """
    x = np.asarray(times, dtype=np.float64) - np.mean(times)
    y = np.asarray(values, dtype=np.float64)
    slope = float(x @ (y - y.mean()) / (x @ x))
    rest = y - y.mean() - slope * x
    # The fit removes slow parts of the noise, so the inefficiency of the rest is a lower bound; of the two estimates
    # the one before the fit contains the drift itself.
    g = statistical_inefficiency(rest)
    freedom = max(len(y) / g - 2.0, 1.0)
    noise = float(rest @ rest) / max(len(y) - 2, 1)
    length = float(np.ptp(x))
    error = float(np.sqrt(g * noise / (x @ x))) * length
    change = slope * length
    if error == 0.0:
        return Drift(slope, change, 0.0, 1.0 if change == 0.0 else 0.0)
    return Drift(slope, change, error, float(2.0 * student.sf(abs(change) / error, freedom)))


def equilibration_start(values: FloatArray, *, n_trials: int = 50) -> int:
    """Index from which on the series holds the largest number of independent samples.

    Of ``n_trials`` evenly spread starts; the last tenth is never one.
    """
    starts = np.unique(np.linspace(0, 0.9 * len(values), n_trials, endpoint=False).astype(int))
    gains = [effective_samples(values[start:]) for start in starts]
    return int(starts[int(np.argmax(gains))])
