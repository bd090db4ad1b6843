"""Pictures of thermal expansion: free energy over volume with its minima, volume over temperature."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import BLUE, INK, MUTED, NORMAL, ORANGE, RED, SMALL, dress, entitle
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.tables import Table

NAMED_CURVES = 6
"""Number of temperatures above which a colour bar replaces the names of the curves."""
STEP = 0.12
"""Displacement between two temperatures, in units of the highest curve."""


def free_energy_picture(curves: Table, *, title: str | None = None) -> Figure:
    """F(V) of every temperature: sampled points, the fit, its minimum.

    Each curve is drawn above its own lowest value and displaced by the same step from the one before: free energies
    fall so fast with temperature that on a common scale no minimum would be seen.
    curves: ``temperatures_K`` (T,), ``sampled_volumes`` (n,), ``sampled_free_energies`` (T, n), ``curve_volumes``
    (k,), ``curve_free_energies`` (T, k), ``volumes`` and ``free_energies`` of the minima (T,), nan where there is
    none; Å³ and kJ/mol per primitive cell.
    """
    figure = Figure(figsize=(7.6, 5.6), layout="constrained")
    axes = figure.subplots()
    dress(axes)
    temperatures, points = curves["temperatures_K"], curves["sampled_free_energies"]
    lowest = np.where(np.isfinite(curves["free_energies"]), curves["free_energies"], points.min(axis=1))
    step = STEP * float(np.max(points - points.min(axis=1, keepdims=True)))
    base = lowest + step * np.arange(len(temperatures))
    coldest, hottest = float(temperatures.min()), float(temperatures.max())
    colours = ScalarMappable(norm=Normalize(coldest, max(hottest, coldest + 1.0)), cmap=colormaps["coolwarm"])
    for row, temperature in enumerate(temperatures):
        colour = colours.to_rgba(np.asarray(temperature))
        axes.plot(curves["curve_volumes"], curves["curve_free_energies"][row] - base[row], color=colour, linewidth=1.3)
        axes.plot(curves["sampled_volumes"], points[row] - base[row], "o", color=colour, markersize=3.6)
    if len(temperatures) <= NAMED_CURVES:
        _name_curves(axes, curves, points[:, -1] - base)
    else:
        bar = figure.colorbar(colours, ax=axes, pad=0.02)
        bar.set_label("temperature / K", fontsize=NORMAL, color=INK)
    _draw_minima(axes, curves["volumes"], curves["free_energies"] - base)
    axes.set_xlabel("volume / Å³ per cell", fontsize=NORMAL, color=INK)
    axes.set_ylabel("free energy above its minimum, displaced / kJ/mol per cell", fontsize=NORMAL, color=INK)
    entitle(figure, title)
    return figure


def _name_curves(axes: Axes, curves: Table, heights: FloatArray) -> None:
    """Write the temperature at the right end of each curve."""
    right = float(curves["sampled_volumes"][-1])
    for temperature, volume, height in zip(curves["temperatures_K"], curves["volumes"], heights, strict=True):
        found = bool(np.isfinite(volume))
        axes.annotate(
            f"{temperature:g} K" if found else f"{temperature:g} K,\nno minimum",
            (right, float(height)),
            (7, 0),
            textcoords="offset points",
            fontsize=SMALL,
            va="center",
            color=INK if found else RED,
        )
    axes.margins(x=0.1)


def _draw_minima(axes: Axes, volumes: FloatArray, energies: FloatArray) -> None:
    """Draw a line through the minima and a diamond on each."""
    axes.plot(volumes, energies, "-", color=INK, linewidth=0.8, zorder=4)
    axes.plot(
        volumes, energies, "D", color="white", markeredgecolor=INK, markersize=5.2, zorder=5, label="minimum: V(T)"
    )
    axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK, loc="upper center")


def expansion_picture(equilibrium: Table, static_volume: float | None = None, *, title: str | None = None) -> Figure:
    """V(T) and the bulk modulus; temperatures without a minimum are marked on the axis.

    equilibrium: ``temperature_K``, ``V_A3``, ``bulk_modulus_GPa``, ``bracketed`` (T,).
    static_volume: of the relaxed crystal at rest, Å³.
    """
    figure = Figure(figsize=(7.2, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    temperatures = equilibrium["temperature_K"]
    _series(upper, temperatures, equilibrium["V_A3"], BLUE, "volume / Å³ per cell")
    if static_volume is not None:
        upper.axhline(static_volume, color=MUTED, linewidth=0.9, linestyle=(0, (5, 3)))
        upper.annotate(
            "static", (0.995, static_volume), (0, 3), xycoords=upper.get_yaxis_transform(), ha="right",
            textcoords="offset points", fontsize=SMALL, color=MUTED,
        )  # fmt: skip
    _series(lower, temperatures, equilibrium["bulk_modulus_GPa"], ORANGE, "bulk modulus / GPa")
    lower.set_xlabel("temperature / K", fontsize=NORMAL, color=INK)
    _mark_missing(upper, temperatures[~np.isfinite(equilibrium["V_A3"])])
    entitle(figure, title)
    return figure


def _series(axes: Axes, x: FloatArray, y: FloatArray, colour: str, label: str) -> None:
    dress(axes)
    axes.plot(x, y, "o-", color=colour, linewidth=1.4, markersize=4)
    axes.set_ylabel(label, fontsize=NORMAL, color=INK)


def _mark_missing(axes: Axes, temperatures: FloatArray) -> None:
    if len(temperatures) == 0:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.12 * (high - low), high)
    place = axes.get_xaxis_transform()
    axes.plot(temperatures, np.full(len(temperatures), 0.05), "x", color=RED, markersize=6, transform=place)
    axes.annotate(
        "no minimum between the sampled volumes", (float(temperatures[-1]), 0.05), (-8, 0), xycoords=place,
        textcoords="offset points", ha="right", va="center", fontsize=SMALL, color=RED,
    )  # fmt: skip
