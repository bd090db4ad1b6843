"""Verdicts on molecular dynamics: settled, on target, independent frames, conserved energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.inspection.verdict import Verdict
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.statistics import (
    Drift,
    Mean,
    drift,
    equilibration_start,
    mean_with_error,
    statistical_inefficiency,
)

QUANTITIES: Mapping[str, tuple[str, str, str]] = {
    "T": (names.TEMPERATURE, "K", "temperature"),
    "p": (names.PRESSURE, "GPa", "pressure"),
    "V": (names.VOLUME, "Å³/atom", "volume"),
    "E": (names.E_POT, "eV/atom", "potential energy"),
}
"""Symbol -> name in the file, unit, words."""

SIGNIFICANT = 0.01
"""Largest probability of chance at which a drift or a deviation is reported."""
FEWEST_SAMPLES = 8
"""Of the series behind the equilibration, for any statement about it."""
MAX_CONSERVED_DRIFT = 1e-3
"""eV/atom/ps: a tenth of k_B T at room temperature within 2.5 ps."""
INDEPENDENT_SHARE = 0.5
"""Part of the stored frames that should be independent of one another."""


@dataclass(frozen=True)
class SeriesStatistics:
    """One quantity in the part of a run that is kept.

    correlation_time_fs: integrated autocorrelation time.  start_fs: time from which on it is settled.
    """

    symbol: str
    unit: str
    words: str
    mean: Mean
    drift: Drift
    correlation_time_fs: float
    start_fs: float


def series_statistics(section: Group) -> list[SeriesStatistics]:
    """Statistics of temperature, pressure, volume and potential energy; constant quantities are left out."""
    series = section[names.TIME_SERIES]
    times = series.array(names.TIME)
    kept = times > float(section[names.TRAJECTORY].attributes[names.TIME_EQUILIBRATION])  # type: ignore[arg-type]
    if kept.sum() < FEWEST_SAMPLES:
        return []
    found = []
    for symbol, (name, unit, words) in QUANTITIES.items():
        values = series.array(name) if name in series.datasets else np.empty(0)
        if len(values) and np.isfinite(values).all() and np.ptp(values[kept]) > 1e-9 * abs(values[kept]).max():
            found.append(_statistics(symbol, unit, words, times, values, kept))
    return found


def _statistics(
    symbol: str, unit: str, words: str, times: FloatArray, values: FloatArray, kept: np.ndarray
) -> SeriesStatistics:
    interval = float(np.median(np.diff(times)))
    start = float(times[equilibration_start(values)])
    # half of the inefficiency less the sample itself: g = 1 + 2 tau
    correlation = (statistical_inefficiency(values[kept]) - 1.0) / 2.0 * interval
    return SeriesStatistics(
        symbol, unit, words, mean_with_error(values[kept]), drift(times[kept], values[kept]), correlation, start
    )


def dynamics_verdicts(path: str, section: Group) -> Iterator[Verdict]:
    """Verdicts on one section of molecular dynamics."""
    statistics = series_statistics(section)
    if not statistics:
        yield Verdict(
            name="Settled",
            passed=False,
            value=f"the kept part of the series has fewer than {FEWEST_SAMPLES} rows",
            advice="Lengthen time_total_fs: nothing can be said about so short a run.",
            section=path,
        )
        return
    trajectory = section[names.TRAJECTORY]
    equilibration = float(trajectory.attributes[names.TIME_EQUILIBRATION])  # type: ignore[arg-type]
    yield _settled(path, statistics, equilibration)
    yield from _on_target(path, trajectory, statistics)
    yield _independent(path, trajectory, statistics)
    yield from _conserved(path, section[names.TIME_SERIES], equilibration)


def _settled(path: str, statistics: list[SeriesStatistics], equilibration_fs: float) -> Verdict:
    drifting = [one for one in statistics if one.drift.p_value < SIGNIFICANT]
    later = max((one.start_fs for one in statistics), default=0.0)
    shown = drifting or statistics
    texts = [f"{one.symbol} changes by {one.drift.change:+.3g} ± {one.drift.standard_error:.2g} {one.unit}"
             for one in shown]  # fmt: skip
    advice = "Raise time_equilibration_fs"
    if later > equilibration_fs:
        advice += f" to {later:.0f} fs or more"
    return Verdict(
        name="Settled",
        passed=not drifting,
        value="in the kept part " + ", ".join(texts),
        advice=f"{advice}, and time_total_fs with it: {', '.join(one.words for one in drifting)} still drift"
        f"{'s' if len(drifting) == 1 else ''}.",
        section=path,
    )


def _on_target(path: str, trajectory: Group, statistics: list[SeriesStatistics]) -> Iterator[Verdict]:
    targets = {"T": names.TARGET_TEMPERATURE, "p": names.TARGET_PRESSURE}
    for one in statistics:
        target = trajectory.attributes.get(targets.get(one.symbol, ""))
        if target is None:
            continue
        error = one.mean.standard_error
        off = abs(one.mean.value - float(target))  # type: ignore[arg-type]
        yield Verdict(
            name=f"Mean {one.words}",
            passed=off <= 3.0 * error,
            value=f"{one.mean.value:.4g} ± {error:.2g} {one.unit}, target {float(target):.6g} {one.unit}",  # type: ignore[arg-type]
            advice="Lengthen the equilibration; if it stays so, shorten time_step_fs or the thermostat's and "
            "barostat's times.",
            section=path,
        )


def _independent(path: str, trajectory: Group, statistics: list[SeriesStatistics]) -> Verdict:
    frames = int(trajectory.attributes[names.N_FRAMES])  # type: ignore[arg-type]
    times = trajectory.array(names.TIME)
    interval = float(np.median(np.diff(times))) if frames > 1 else 0.0
    slowest = max(statistics, key=lambda one: one.correlation_time_fs)
    independent = min(float(frames), *(one.mean.n_independent for one in statistics))
    counts = ", ".join(f"{one.symbol} {min(float(frames), one.mean.n_independent):.0f}" for one in statistics)
    wanted = max(2.0 * slowest.correlation_time_fs, interval)
    return Verdict(
        name="Independent frames",
        passed=independent >= INDEPENDENT_SHARE * frames,
        value=f"about {independent:.0f} of {frames} ({counts}); the {slowest.words} forgets within "
        f"{2 * slowest.correlation_time_fs:.0f} fs, frames are {interval:g} fs apart",
        advice=f"Raise sampling_interval_fs towards {wanted:.0f} fs and time_total_fs with it: frames closer in time "
        "repeat one another.",
        section=path,
    )


def _conserved(path: str, series: Group, equilibration_fs: float) -> Iterator[Verdict]:
    if names.E_CONSERVED not in series.datasets:
        return
    times, energies = series.array(names.TIME), series.array(names.E_CONSERVED)
    kept = times > equilibration_fs
    slope = 1000.0 * drift(times[kept], energies[kept]).slope
    yield Verdict(
        name="Conserved energy",
        passed=abs(slope) <= MAX_CONSERVED_DRIFT,
        value=f"drifts by {1000 * slope:+.2g} meV/atom/ps; allowed {1000 * MAX_CONSERVED_DRIFT:g}",
        advice="Shorten time_step_fs, or evaluate the model in float64.",
        section=path,
    )
