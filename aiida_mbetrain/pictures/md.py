"""Temperature, pressure, volume and energies of a molecular dynamics run."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log10

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aiida_mbetrain.pictures.style import (
    BLUE,
    DISCARDED,
    GREEN,
    INK,
    MUTED,
    NORMAL,
    ORANGE,
    PALE_BLUE,
    PALE_ORANGE,
    SMALL,
    dress,
    entitle,
)
from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.science.tables import Table

WINDOW = 0.05
"""Length of the running mean, as a fraction of the run."""


def md_picture(
    series: Table | Mapping[str, AnyArray],
    *,
    temperature_K: float,
    pressure_GPa: float | None = None,
    time_equilibration_fs: float = 0.0,
    n_atoms: int | None = None,
    title: str | None = None,
) -> Figure:
    """Temperature, pressure, volume and energies against time, with running means and the discarded part shaded.

    series: columns ``time_fs``, ``temperature_K``, ``pressure_GPa``, ``volume_A3``, ``potential_energy_eV``,
        ``conserved_energy_eV``; panels without data (no column, not finite, a constant volume) are left out.
    n_atoms: energies are shown per atom where it is given, else in total.
    """
    columns = series.columns if isinstance(series, Table) else series
    time = np.asarray(columns["time_fs"], dtype=np.float64) / 1000.0
    start = time_equilibration_fs / 1000.0
    kept = time > start
    panels = _panels(columns)
    figure = Figure(figsize=(8.2, 0.9 + 1.75 * len(panels)), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
    targets = {"temperature_K": temperature_K, "pressure_GPa": pressure_GPa}
    for axes, name in zip(all_axes, panels, strict=True):
        dress(axes)
        if start > 0:
            axes.axvspan(time[0], start, color=DISCARDED, linewidth=0, zorder=0)
        if name == "energy":
            _energy_panel(axes, time, columns, kept, n_atoms)
        else:
            _panel(axes, time, np.asarray(columns[name], dtype=np.float64), kept, LABELS[name], targets.get(name))
    _finish(figure, all_axes, time, start, title)
    return figure


LABELS = {"temperature_K": "T / K", "pressure_GPa": "p / GPa", "volume_A3": "V / Å³"}


def _panels(columns: Mapping[str, AnyArray]) -> list[str]:
    shown = [name for name in LABELS if name in columns and np.isfinite(columns[name]).any()]
    if "volume_A3" in shown and np.ptp(columns["volume_A3"]) == 0:
        shown.remove("volume_A3")
    return [*shown, "energy"]


def running_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean over a centred window that shrinks at both ends; same length as the values."""
    half = min(window, len(values)) // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    means: FloatArray = (sums[high] - sums[low]) / (high - low)
    return means


def _curve(axes: Axes, time: FloatArray, values: FloatArray, colors: tuple[str, str], label: str | None = None) -> None:
    pale, strong = colors
    axes.plot(time, values, color=pale, linewidth=0.7, zorder=2)
    window = max(3, round(WINDOW * len(values)))
    axes.plot(time, running_mean(values, window), color=strong, linewidth=1.6, zorder=3, label=label)


def _panel(
    axes: Axes, time: FloatArray, values: FloatArray, kept: NDArray[np.bool_], label: str, target: float | None
) -> None:
    _curve(axes, time, values, (PALE_BLUE, BLUE))
    if target is not None:
        axes.axhline(target, color=GREEN, linewidth=1.2, linestyle=(0, (5, 3)), zorder=4)
    axes.set_ylabel(label, fontsize=NORMAL, color=INK)
    if kept.any():
        unit = label.partition(" / ")[2]
        aim = "" if target is None else f"    target {target:.6g} {unit}"
        _note(axes, f"{_mean_and_spread(values[kept], unit)}{aim}")


def _mean_and_spread(values: FloatArray, unit: str) -> str:
    """The mean with one digit more than the standard deviation."""
    mean, spread = float(values.mean()), float(values.std())
    decimals = 2 if spread == 0 else max(0, 2 - floor(log10(spread)))
    return f"mean {mean:z.{decimals}f} {unit}    σ {spread:.2g} {unit}"


def _note(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="right", fontsize=SMALL, color=INK, pad=3)


def _energy_panel(
    axes: Axes, time: FloatArray, columns: Mapping[str, AnyArray], kept: NDArray[np.bool_], n_atoms: int | None
) -> None:
    """Both energies relative to their mean over the frames that are kept."""
    scale = 1.0 if n_atoms is None else 1000.0 / n_atoms
    unit = "eV" if n_atoms is None else "meV/atom"
    used = kept if kept.any() else np.ones(len(time), dtype=bool)
    potential = np.asarray(columns["potential_energy_eV"], dtype=np.float64)
    _curve(axes, time, scale * (potential - potential[used].mean()), (PALE_BLUE, BLUE), "potential")
    if "conserved_energy_eV" in columns:
        conserved = np.asarray(columns["conserved_energy_eV"], dtype=np.float64)
        _curve(axes, time, scale * (conserved - conserved[used].mean()), (PALE_ORANGE, ORANGE), "conserved")
        if used.sum() > 1:
            drift = scale * np.polyfit(time[used], conserved[used], 1)[0]
            _note(axes, f"drift of the conserved energy {drift:.2g} {unit}/ps")
    axes.set_ylabel(f"E − ⟨E⟩ / {unit}", fontsize=NORMAL, color=INK)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01), ncols=2, frameon=False, fontsize=SMALL, labelcolor=INK,
        borderaxespad=0, borderpad=0.1,
    )  # fmt: skip


def _finish(figure: Figure, all_axes: AnyArray, time: FloatArray, start: float, title: str | None) -> None:
    all_axes[-1].set_xlabel("t / ps", fontsize=NORMAL, color=INK)
    all_axes[-1].set_xlim(time[0], time[-1])
    if start > time[0]:
        middle = (time[0] + min(start, time[-1])) / 2
        place = all_axes[0].get_xaxis_transform()
        all_axes[0].text(middle, 0.93, "discarded", transform=place, ha="center", va="top", fontsize=SMALL, color=MUTED)
    figure.align_ylabels(list(all_axes))
    entitle(figure, title)
