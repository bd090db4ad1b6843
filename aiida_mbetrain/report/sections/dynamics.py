"""Molecular dynamics: series with running means, autocorrelation, cell parameters."""

from __future__ import annotations

from math import floor, log10

import numpy as np
from ase.geometry import cell_to_cellpar

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.inspection import QUANTITIES, SeriesStatistics, series_statistics
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.svg import Plot, figures, padded
from aiida_mbetrain.report.tables import table
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.statistics import autocorrelation

WINDOW = 0.05
"""Length of the running mean, as a part of the run."""
COLOURS = {"T": "blue", "p": "orange", "V": "green", "E": "purple"}


def dynamics_section(source: Source) -> Section | None:
    """All runs of molecular dynamics; None without one."""
    parts = [_run(path, section) for path, section in source.sections("md_sampling")]
    if not parts:
        return None
    lead = (
        "Pale: every recorded step; dark: the running mean over a twentieth of the run. The shaded part was discarded "
        "as equilibration."
    )
    return Section("dynamics", "Molecular dynamics", join(*parts), lead=lead)


def _run(path: str, section: Group) -> Markup:
    statistics = series_statistics(section)
    facts = section[names.TRAJECTORY].attributes
    pressure = facts.get(names.TARGET_PRESSURE)
    conditions = f"{facts[names.ENSEMBLE]} at {facts[names.TARGET_TEMPERATURE]:g} K" + (
        "" if pressure is None else f" and {pressure:g} GPa"
    )
    drawn = [*_series(section), _correlation(section, statistics), *_cells(section)]
    return element("div", element("h3", path), element("p", conditions), figures(*drawn), _statistics_table(statistics))


def running_mean(values: FloatArray) -> FloatArray:
    """Mean over a centred window that shrinks at both ends; same length as the values."""
    half = max(1, round(WINDOW * len(values) / 2))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def _series(section: Group) -> list[Markup]:
    series, facts = section[names.TIME_SERIES], section[names.TRAJECTORY].attributes
    time = series.array(names.TIME) / 1000.0
    start = float(facts[names.TIME_EQUILIBRATION]) / 1000.0  # type: ignore[arg-type]
    targets = {"T": facts.get(names.TARGET_TEMPERATURE), "p": facts.get(names.TARGET_PRESSURE)}
    drawn = []
    for symbol, (name, unit, words) in QUANTITIES.items():
        values = series.array(name) if name in series.datasets else np.empty(0)
        values = values[np.isfinite(values)] if not np.isfinite(values).all() else values
        if symbol == "E" or len(values) != len(time) or np.ptp(values) <= 1e-9 * np.abs(values).max():
            continue  # energies have a figure of their own; a constant volume has nothing to show
        target = targets.get(symbol)
        title, label = words.capitalize(), f"{symbol} / {unit}"
        drawn.append(_series_figure(time, start, {"": (values, COLOURS[symbol])}, title, label, target))
    energies = {
        words: (1000.0 * (series.array(name) - series.array(name)[time > start].mean()), colour)
        for words, name, colour in (("potential", names.E_POT, "purple"), ("conserved", names.E_CONSERVED, "orange"))
        if name in series.datasets and (time > start).any()
    }
    if energies:
        drawn.append(_series_figure(time, start, energies, "Energies", "E − ⟨E⟩ / meV/atom", None))
    return drawn


def _series_figure(
    time: FloatArray,
    start: float,
    curves: dict[str, tuple[FloatArray, str]],
    title: str,
    label: str,
    target: object,
) -> Markup:
    everything = np.concatenate([values for values, _ in curves.values()])
    limits = [float(everything.min()), float(everything.max())]
    if target is not None:
        limits = [min(limits[0], float(target)), max(limits[1], float(target))]  # type: ignore[arg-type]
    unit, kept = label.partition(" / ")[2], time > start
    spreads = [
        f"{name} σ {values[kept].std():.2g} {unit}" if name else mean_and_spread(values[kept], unit)
        for name, (values, _) in curves.items()
        if kept.any()
    ]
    plot = Plot(
        (float(time[0]), float(max(time[-1], time[0] + 1e-9))),
        padded(*limits),
        x_label="t / ps",
        y_label=label,
        title=title,
        description=f"{label} against time, {len(time)} rows. Kept part: {', '.join(spreads) or 'empty'}.",
    )
    plot.span_x(float(time[0]), start, "discarded", "discarded")
    for name, (values, colour) in curves.items():
        plot.line(time, values, colour, style="faint")
        plot.line(time, running_mean(values), colour, name=name or None)
    if target is not None:
        plot.rule_y(float(target), "ink", name="target")  # type: ignore[arg-type]
    return plot.figure(f"Kept part: {', '.join(spreads)}." if spreads else None)


def mean_and_spread(values: FloatArray, unit: str) -> str:
    """The mean to the second digit of the standard deviation."""
    mean, spread = float(values.mean()), float(values.std())
    decimals = 2 if spread == 0 else max(0, 1 - floor(log10(spread)))
    return f"{mean:z.{decimals}f} {unit}, σ {spread:.2g} {unit}".replace("-", "\u2212")


def _correlation(section: Group, statistics: list[SeriesStatistics]) -> Markup | None:
    if not statistics:
        return None
    series = section[names.TIME_SERIES]
    times = series.array(names.TIME)
    kept = times > float(section[names.TRAJECTORY].attributes[names.TIME_EQUILIBRATION])  # type: ignore[arg-type]
    n = int(kept.sum()) // 2
    lags = (times[kept][:n] - times[kept][0]) / 1000.0
    if n < 2:
        return None
    plot = Plot(
        (0.0, float(lags[-1])),
        (-1.0, 1.0),
        x_label="lag / ps",
        y_label="autocorrelation",
        title="Memory",
        description="Autocorrelation of the kept part. "
        + ", ".join(f"{one.words}: {one.correlation_time_fs:.0f} fs" for one in statistics),
    )
    plot.rule_y(0.0, "muted", style="thin")
    for one in statistics:
        values = series.array(QUANTITIES[one.symbol][0])[kept]
        plot.line(lags, autocorrelation(values)[:n], COLOURS[one.symbol], name=one.symbol)
    return plot.figure(
        "Autocorrelation of the kept part. Frames are independent once the curves have come down to zero."
    )


def _with_error(value: float, error: float, unit: str) -> str:
    """The value to the last digit of its error."""
    decimals = 3 if error == 0 else max(0, 1 - floor(log10(error)))
    return f"{value:z.{decimals}f} ± {error:.2g} {unit}".replace("-", "\u2212")


def _statistics_table(statistics: list[SeriesStatistics]) -> Markup | None:
    if not statistics:
        return None
    rows = [
        [
            one.words,
            _with_error(one.mean.value, one.mean.standard_error, one.unit),
            f"{one.drift.change:+.2g} ± {one.drift.standard_error:.2g} {one.unit}".replace("-", "\u2212"),
            f"{one.correlation_time_fs:.0f} fs",
            f"{one.mean.n_independent:.0f}",
            f"{one.start_fs:.0f} fs",
        ]
        for one in statistics
    ]
    columns = ["", "mean", "drift", "autocorrelation time", "independent samples", "settled from"]
    return table(columns, rows, caption="Statistics of the kept part")


def _cells(section: Group) -> list[Markup]:
    """Lengths and angles of the cell in the stored frames, about their means; nothing for a constant cell."""
    trajectory = section[names.TRAJECTORY]
    cells = trajectory.array(names.CELL_VECTORS).reshape(-1, 3, 3)
    if len(cells) < 2 or np.ptp(cells, axis=0).max() < 1e-9:
        return []
    parameters = np.array([cell_to_cellpar(cell) for cell in cells])
    time = trajectory.array(names.TIME) / 1000.0
    drawn = [_cell_figure(time, parameters[:, :3], "Cell lengths", "Å", "abc")]
    if np.ptp(parameters[:, 3:], axis=0).max() > 1e-6:
        drawn.append(_cell_figure(time, parameters[:, 3:], "Cell angles", "°", "αβγ"))
    return drawn


def _cell_figure(time: FloatArray, columns: FloatArray, title: str, unit: str, symbols: str) -> Markup:
    deviations = columns - columns.mean(axis=0)
    means = ", ".join(
        f"{symbol} {mean_and_spread(column, unit)}" for symbol, column in zip(symbols, columns.T, strict=True)
    )
    plot = Plot(
        (float(time[0]), float(time[-1])),
        padded(float(deviations.min()), float(deviations.max())),
        x_label="t / ps",
        y_label=f"deviation from the mean / {unit}",
        title=title,
        description=f"{title} of the supercell in {len(columns)} stored frames: {means}.",
    )
    plot.rule_y(0.0, "muted", style="thin")
    for symbol, column, colour in zip(symbols, deviations.T, ("blue", "orange", "green"), strict=True):
        plot.line(time, column, colour, name=symbol)
    return plot.figure(f"Supercell of the stored frames: {means}.")
