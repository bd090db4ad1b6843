"""Errors of models against the size of the training set."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from aiida_mbetrain.pictures.parity import COLOURS
from aiida_mbetrain.pictures.style import INK, NORMAL, SMALL, dress
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import MODELS

PANELS = {
    "energy_rmse_meV_per_molecule": "energy / meV per molecule",
    "force_rmse_meV_per_A": "force / meV/Å",
}


def learning_curve_picture(curve: Table) -> Figure:
    """Errors of energies and, where there are any, of forces, against the number of training frames.

    curve: as ``Evaluation.learning_curve``.
    """
    panels = [name for name in PANELS if np.isfinite(curve[name]).any()]
    figure = Figure(figsize=(4.3 * len(panels), 3.8), layout="constrained")
    for axes, column in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for name in MODELS[1:]:
            chosen = (curve["model"] == name) & np.isfinite(curve[column])
            if chosen.any():
                x, y = curve["n_frames"][chosen], curve[column][chosen]
                axes.plot(x, y, "o-", color=COLOURS[name], label=name, linewidth=1.2, markersize=4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for scale in (axes.xaxis, axes.yaxis):
            scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            scale.set_major_formatter("{x:g}")
            scale.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training frames", fontsize=NORMAL, color=INK)
        axes.set_ylabel(f"RMSE of {PANELS[column]}", fontsize=NORMAL, color=INK)
        axes.legend(frameon=False, fontsize=SMALL, labelcolor=INK)
        dress(axes)
    return figure
