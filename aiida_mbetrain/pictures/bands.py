"""Phonon bands along the path through the Brillouin zone, with the sampled window."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    NORMAL,
    PALE_GREEN,
    PALE_RED,
    RED,
    SMALL,
    dress,
    entitle,
)
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.phonons import BandStructure


def bands_picture(
    bands: BandStructure,
    *,
    freq_min_THz: float | None = None,
    freq_max_THz: float | None = None,
    title: str | None = None,
) -> Figure:
    """Frequencies (THz) along the path; imaginary ones are drawn below zero, in red on a red ground.

    freq_min_THz, freq_max_THz: the window of the sampled modes, shaded green; a maximum of None has no cap.
    """
    figure = Figure(figsize=(8.6, 5.4), layout="constrained")
    smallest, largest = _range(bands.frequencies_THz)
    top = 1.04 * largest
    window = None if freq_min_THz is None else (freq_min_THz, top if freq_max_THz is None else min(freq_max_THz, top))
    if window is None or top < ZOOM_FROM * window[1]:
        _panel(figure.subplots(), bands, _limits(smallest, top), window)
    else:
        near, whole = figure.subplots(1, 2, width_ratios=(3.2, 1.0))
        _panel(near, bands, _limits(smallest, ZOOM_TO * window[1]), window)
        _panel(whole, bands, _limits(smallest, top), window, narrow=True)
        whole.set_title("all modes", fontsize=SMALL, color=MUTED, loc="left", pad=4)
    figure.axes[0].set_ylabel("frequency / THz", fontsize=NORMAL, color=INK)
    entitle(figure, title)
    return figure


ZOOM_FROM, ZOOM_TO = 2.5, 1.4
"""Above 2.5 times the window a second panel shows all bands; the main panel ends at 1.4 times the window."""


ROUNDING = 0.01
"""Largest frequency (THz) of the translations at Γ that counts as zero."""


def _panel(
    axes: Axes,
    bands: BandStructure,
    limits: tuple[float, float],
    window: tuple[float, float] | None,
    *,
    narrow: bool = False,
) -> None:
    dress(axes, grid=False)
    if window is not None:
        _draw_window(axes, window, named=not narrow)
    for distances, frequencies in zip(bands.distances, bands.frequencies_THz, strict=True):
        _draw_segment(axes, np.asarray(distances), np.asarray(frequencies), width=0.6 if narrow else 1.1)
    _draw_zero(axes, limits[0], named=not narrow)
    _draw_ticks(axes, bands, named=not narrow)
    axes.set_ylim(*limits)


def _range(frequencies: Sequence[FloatArray]) -> tuple[float, float]:
    return min(float(np.min(part)) for part in frequencies), max(float(np.max(part)) for part in frequencies)


def _limits(smallest: float, top: float) -> tuple[float, float]:
    """Limits of the frequency axis: from zero, or below the imaginary frequencies if there are any."""
    return (-max(-1.3 * smallest, 0.08 * top) if smallest < -ROUNDING else 0.0), top


def _draw_window(axes: Axes, window: tuple[float, float], *, named: bool) -> None:
    axes.axhspan(*window, color=PALE_GREEN, linewidth=0, zorder=0)
    for edge in window:
        axes.axhline(edge, color=GREEN, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
    if named:
        _name_region(axes, "sampled", sum(window) / 2, "center", GREEN)


def _name_region(axes: Axes, name: str, height: float, align: str, color: str) -> None:
    place = axes.get_yaxis_transform()
    axes.text(1.012, height, name, transform=place, rotation=90, va=align, fontsize=SMALL, color=color)


def _draw_segment(axes: Axes, distances: FloatArray, frequencies: FloatArray, *, width: float) -> None:
    """One line per band, cut where it crosses zero so that the imaginary part has its own colour."""
    for band in frequencies.T:
        x, y = _split_at_zero(distances, band)
        points = np.column_stack([x, y])
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        imaginary = pieces[:, :, 1].mean(axis=1) < 0
        lines = LineCollection(
            list(pieces),
            colors=np.where(imaginary, RED, BLUE).tolist(),
            linewidths=np.where(imaginary, 1.5 * width, width).tolist(),
            capstyle="round",
            zorder=3,
        )
        axes.add_collection(lines, autolim=False)


def _split_at_zero(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The polyline with a vertex wherever it crosses zero."""
    crossing = np.flatnonzero(y[:-1] * y[1:] < 0)
    at = x[crossing] + (x[crossing + 1] - x[crossing]) * y[crossing] / (y[crossing] - y[crossing + 1])
    return np.insert(x, crossing + 1, at), np.insert(y, crossing + 1, 0.0)


def _draw_zero(axes: Axes, low: float, *, named: bool) -> None:
    axes.axhline(0.0, color=INK, linewidth=0.9, zorder=2)
    if low < 0:
        axes.axhspan(low, 0.0, color=PALE_RED, linewidth=0, zorder=0)
        if named:
            _name_region(axes, "imaginary", low, "bottom", RED)


def _draw_ticks(axes: Axes, bands: BandStructure, *, named: bool) -> None:
    positions, labels = path_ticks(bands)
    axes.set_xticks(positions, labels if named else [""] * len(labels), fontsize=NORMAL, color=INK)
    axes.tick_params(axis="x", length=0)
    for position in positions:
        axes.axvline(position, color=MUTED, linewidth=0.7, zorder=1)
    axes.set_xlim(positions[0], positions[-1])


def path_ticks(bands: BandStructure) -> tuple[list[float], list[str]]:
    """Positions and labels of the special points; where the path jumps, both names: ``X|Y``.

    ``path_connections[i]`` says whether segment i + 1 begins where segment i ends; a connected point has one label.
    """
    labels = iter(bands.labels)
    positions: list[float] = []
    texts: list[str] = []
    connected = False
    for distances, connects in zip(bands.distances, bands.path_connections, strict=True):
        if not connected:
            first = pretty_label(next(labels))
            if positions:
                texts[-1] += f"|{first}"
            else:
                positions.append(float(distances[0]))
                texts.append(first)
        positions.append(float(distances[-1]))
        texts.append(pretty_label(next(labels)))
        connected = bool(connects)
    return positions, texts


def pretty_label(label: str) -> str:
    """``GAMMA`` as Γ and ``X_1`` with a subscript; labels in mathematical notation stay as they are."""
    if "$" in label:
        return label
    name = re.sub(r"^(\\Gamma|GAMMA|Gamma|G)(?=$|_)", "Γ", label)
    stem, _, subscript = name.partition("_")
    return f"{stem}$_{{{subscript}}}$" if subscript else stem
