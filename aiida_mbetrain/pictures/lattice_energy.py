"""Picture of the convergence of a lattice energy with order and distance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from aiida_mbetrain.pictures.style import BLUE, INK, MUTED, NORMAL, ORANGE, RED, dress
from aiida_mbetrain.science.tables import Table

COLOURS = (BLUE, ORANGE, RED)


def lattice_energy_picture(convergence: Table, *, baseline_kJ_per_mol: float | None = None) -> Figure:
    """Lattice energy over the extent of the clusters that are in the sum, one line for each number of molecules.

    convergence: columns ``order``, ``extent_A`` and ``lattice_energy_kJ_per_mol``, pairs before triples.
    baseline_kJ_per_mol: lattice energy of the baseline, a dotted line.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    dress(axes)
    order, extent = np.asarray(convergence["order"]), np.asarray(convergence["extent_A"])
    energies = np.asarray(convergence["lattice_energy_kJ_per_mol"])
    for n in sorted(set(order[order > 1].tolist())):
        chosen = order == n
        colour = COLOURS[(n - 2) % len(COLOURS)]
        axes.step(extent[chosen], energies[chosen], "o-", where="post", color=colour, markersize=3.6, label=f"{n}-body")
    if baseline_kJ_per_mol is not None:
        axes.axhline(baseline_kJ_per_mol, color=MUTED, linestyle=":", label="baseline")
    axes.set_xlabel("extent of the clusters / Å", fontsize=NORMAL, color=INK)
    axes.set_ylabel("lattice energy / kJ/mol per molecule", fontsize=NORMAL, color=INK)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=NORMAL)
    return figure
