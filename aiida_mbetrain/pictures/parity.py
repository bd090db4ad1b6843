"""Energies and forces of models against those of the reference."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import BLUE, GREEN, INK, MUTED, NORMAL, ORANGE, SMALL, dress
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import MODELS

COLOURS = dict.fromkeys(MODELS, BLUE) | {"baseline": MUTED, "constant": MUTED, "ridge": ORANGE}
MOST_FORCES = 20_000
"""Components of forces that are drawn, chosen by chance."""
SEED = 42


def parity_picture(predictions: Table, forces: Table, *, level_of_theory: str) -> Figure:
    """Energies per molecule without the mean of the reference, errors by size, and forces.

    predictions, forces: as in ``Evaluation``; without forces of the reference their panel is left out.
    """
    with_forces = len(forces["frame"]) > 0
    figure = Figure(figsize=(12.6 if with_forces else 8.6, 4.2), layout="constrained")
    left, right, *rest = figure.subplots(1, 3 if with_forces else 2)
    sizes = predictions["n_molecules"]
    reference = 1000.0 * predictions["reference_eV"] / sizes
    middle = np.zeros(len(reference))
    for size in np.unique(sizes):
        middle[sizes == size] = reference[sizes == size].mean()
    shown = [name for name in MODELS if name != "baseline" and f"{name}_eV" in predictions.columns]
    for number, name in enumerate(shown):
        found, colour = 1000.0 * predictions[f"{name}_eV"] / sizes, COLOURS[name]
        left.scatter(reference - middle, found - middle, s=14, color=colour, label=name, alpha=0.75, linewidths=0)
        right.scatter(sizes + 0.15 * (number - 1), found - reference, s=14, color=colour, alpha=0.75, linewidths=0)
    ends = np.array([np.min(reference - middle), np.max(reference - middle)])
    left.plot(ends, ends, color=GREEN, linewidth=0.8, zorder=0)
    right.axhline(0.0, color=GREEN, linewidth=0.8, zorder=0)
    right.set_xticks(np.unique(sizes))
    left.set_xlabel(f"{level_of_theory}, meV per molecule, less the mean of the size", fontsize=NORMAL, color=INK)
    left.set_ylabel("model", fontsize=NORMAL, color=INK)
    right.set_xlabel("molecules", fontsize=NORMAL, color=INK)
    right.set_ylabel("error / meV per molecule", fontsize=NORMAL, color=INK)
    for panel in rest:
        n_drawn = min(MOST_FORCES, len(forces["frame"]))
        rows = np.random.default_rng(SEED).choice(len(forces["frame"]), n_drawn, replace=False)
        for name in (name for name in MODELS if f"{name}_eV_per_A" in forces.columns):
            values = [forces[f"{which}_eV_per_A"][rows] for which in ("reference", name)]
            panel.scatter(*values, s=5, color=COLOURS[name], label=name, alpha=0.6, linewidths=0)
        ends = np.array([np.min(forces["reference_eV_per_A"]), np.max(forces["reference_eV_per_A"])])
        panel.plot(ends, ends, color=GREEN, linewidth=0.8, zorder=0)
        panel.set_xlabel(f"force component of {level_of_theory} / eV/Å", fontsize=NORMAL, color=INK)
        panel.set_ylabel("model / eV/Å", fontsize=NORMAL, color=INK)
        panel.legend(frameon=False, fontsize=SMALL, labelcolor=INK, markerscale=2.0)
    for axes in (left, right, *rest):
        dress(axes)
    left.legend(frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure
