"""Energies of models against those of the reference."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import BLUE, GREEN, INK, MUTED, NORMAL, ORANGE, SMALL, dress
from aiida_mbetrain.science.tables import Table

COLOURS = {"constant": MUTED, "ridge": ORANGE, "delta": BLUE}


def parity_picture(predictions: Table, *, level_of_theory: str) -> Figure:
    """Energies per molecule without the mean of the reference: model against reference, and errors by size.

    predictions: as ``Evaluation.predictions``.
    """
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = predictions["n_molecules"]
    reference = 1000.0 * predictions["reference_eV"] / sizes
    middle = np.zeros(len(reference))
    for size in np.unique(sizes):
        middle[sizes == size] = reference[sizes == size].mean()
    for number, (name, colour) in enumerate(COLOURS.items()):
        if f"{name}_eV" not in predictions.columns:
            continue
        found = 1000.0 * predictions[f"{name}_eV"] / sizes
        left.scatter(reference - middle, found - middle, s=14, color=colour, label=name, alpha=0.75, linewidths=0)
        right.scatter(sizes + 0.15 * (number - 1), found - reference, s=14, color=colour, alpha=0.75, linewidths=0)
    ends = np.array([np.min(reference - middle), np.max(reference - middle)])
    left.plot(ends, ends, color=GREEN, linewidth=0.8, zorder=0)
    for axes in (left, right):
        dress(axes)
    right.axhline(0.0, color=GREEN, linewidth=0.8, zorder=0)
    right.set_xticks(np.unique(sizes))
    left.set_xlabel(f"{level_of_theory}, meV per molecule, less the mean of the size", fontsize=NORMAL, color=INK)
    left.set_ylabel("model", fontsize=NORMAL, color=INK)
    right.set_xlabel("molecules", fontsize=NORMAL, color=INK)
    right.set_ylabel("error / meV per molecule", fontsize=NORMAL, color=INK)
    left.legend(frameon=False, fontsize=SMALL, labelcolor=INK)
    return figure
