"""Phonon density of states, with the imaginary part marked."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import BLUE, GREEN, INK, MUTED, NORMAL, ORANGE, PALE_RED, RED, SMALL, dress, entitle
from aiida_mbetrain.science.phonons import DensityOfStates

COLOURS = (BLUE, ORANGE, GREEN, INK, MUTED)


def density_of_states_picture(densities: Mapping[str, DensityOfStates], *, title: str | None = None) -> Figure:
    """States per THz and cell of one crystal or several, by name; imaginary frequencies lie on a red ground."""
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    dress(axes)
    for i, (name, found) in enumerate(densities.items()):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(found.frequencies_THz, found.densities, color=colour, linewidth=1.2, label=name)
        if len(densities) == 1:
            axes.fill_between(found.frequencies_THz, found.densities, color=colour, alpha=0.15, linewidth=0)
    low = min(found.lowest_THz for found in densities.values())
    high = max(float(found.frequencies_THz.max()) for found in densities.values())
    axes.set_xlim(min(1.1 * low, 0.0), high)
    axes.set_ylim(bottom=0.0)
    if low < 0:
        axes.axvspan(1.1 * low, 0.0, color=PALE_RED, linewidth=0, zorder=0)
        axes.axvline(0.0, color=RED, linewidth=0.8)
        place = axes.get_xaxis_transform()
        axes.text(0.98 * 1.1 * low, 0.97, "imaginary", transform=place, va="top", fontsize=SMALL, color=RED)
    axes.set_xlabel(f"frequency / THz{_smearing(densities)}", fontsize=NORMAL, color=INK)
    axes.set_ylabel("states per THz and cell", fontsize=NORMAL, color=INK)
    if len(densities) > 1:
        axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK)
    entitle(figure, title)
    return figure


def _smearing(densities: Mapping[str, DensityOfStates]) -> str:
    widths = {found.smearing_THz for found in densities.values()} - {0.0}
    return f"  (Gaussians of σ = {', '.join(f'{width:g}' for width in sorted(widths))} THz)" if widths else ""
