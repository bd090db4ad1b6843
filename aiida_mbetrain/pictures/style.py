"""Common style of the pictures: colours, axes, and reproducible files."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aiida_mbetrain.errors import UnwritableOutput

INK = "#22303c"
MUTED = "#8a97a3"
GRID = "#e6eaee"
BLUE = "#2f6db3"
PALE_BLUE = "#a9c6e6"
ORANGE = "#d9822b"
PALE_ORANGE = "#f3cfa3"
RED = "#c8332b"
PALE_RED = "#fbe9e7"
GREEN = "#3d8b5f"
PALE_GREEN = "#e4f2ea"
DISCARDED = "#eceff2"

SMALL, NORMAL = 8.5, 10.0
"""Font sizes (pt)."""


def dress(axes: Axes, *, grid: bool = True) -> None:
    """Draw a thin frame without top and right, and pale horizontal lines unless ``grid`` is False."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.tick_params(colors=INK, labelsize=SMALL, length=3, width=0.8, color=MUTED)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis="y", color=GRID, linewidth=0.8)


def entitle(figure: Figure, title: str | None) -> None:
    """Write crystal, model and conditions above the panels."""
    if title:
        figure.suptitle(title, fontsize=NORMAL, color=INK, x=0.01, ha="left", wrap=True)


def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a PNG without date or version of the software: equal figures give equal bytes.

    Raises UnwritableOutput.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        figure.savefig(partial, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnwritableOutput(f"{path} cannot be written: {error.strerror or error}.") from None
    return target
