"""Draws ``campaign.svg``: the stages of one crystal and model of a campaign, and what they share.

    python docs/figures/campaign.py

writes the figure beside this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline import AMBER, BLUE, CARD, FAINT, GREEN, INK, VIOLET, text

WIDTH, HEIGHT = 1000, 430
BOX_W, BOX_H = 190, 44
TEMPERATURES, PRESSURES = ("100 K", "200 K"), ("0.0001 GPa", "1 GPa")
INPUTS, FORCE_CONSTANTS, SAMPLED, FILE = 110, 370, 640, 890
"""Centres of the columns."""


def box(x: float, y: float, lines: Sequence[str], color: str) -> list[str]:
    """A stage, its first line bold; (x, y) is the centre."""
    left, top, first = x - BOX_W / 2, y - BOX_H / 2, y + (5 if len(lines) == 1 else -3)
    return [
        f"<rect x='{left:g}' y='{top:g}' width='{BOX_W}' height='{BOX_H}' rx='8' fill='{color}' fill-opacity='0.08' "
        f"stroke='{color}' stroke-width='1.6'/>",
        text(x, first, lines[0], size=14, weight="bold"),
        *[text(x, first + 17, line, size=12, color="#475569") for line in lines[1:]],
    ]


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """From the right side of one box to the left side of another."""
    start, end = x1 + BOX_W / 2, x2 - BOX_W / 2 - 2
    middle = (start + end) / 2
    path = f"M{start:g} {y1:g} C{middle:g} {y1:g} {middle:g} {y2:g} {end:g} {y2:g}"
    return f"<path d='{path}' fill='none' stroke='{FAINT}' stroke-width='1.8' marker-end='url(#tip)'/>"


def figure() -> str:
    """The SVG file."""
    phonons = [(SAMPLED, 60 + 60 * number) for number in range(len(TEMPERATURES))]
    conditions = [(temperature, pressure) for temperature in TEMPERATURES for pressure in PRESSURES]
    dynamics = [(SAMPLED, 210 + 56 * number) for number in range(len(conditions))]
    given, constants, file = (INPUTS, 190), (FORCE_CONSTANTS, 90), (FILE, 200)
    parts = [
        "<svg xmlns='http://www.w3.org/2000/svg' "
        f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img'>",
        "<title>Stages of one crystal and model of a campaign</title>",
        f"<defs><marker id='tip' markerWidth='9' markerHeight='9' refX='7' refY='4' orient='auto'>"
        f"<path d='M0 0 L8 4 L0 8 z' fill='{FAINT}'/></marker></defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' rx='10' fill='{CARD}'/>",
        arrow(*given, *constants),
        *[arrow(*constants, *one) for one in phonons],
        *[arrow(*given, *one) for one in dynamics],
        *[arrow(*one, *file) for one in [*phonons, *dynamics]],
        *box(*given, ["crystal and model", "two nodes for all stages"], BLUE),
        *box(*constants, ["force constants", "once for crystal and model"], GREEN),
    ]
    for one, temperature in zip(phonons, TEMPERATURES, strict=True):
        parts += box(*one, ["phonon sampling", temperature], VIOLET)
    for one, condition in zip(dynamics, conditions, strict=True):
        parts += box(*one, ["dynamics", ", ".join(condition)], AMBER)
    parts += box(*file, ["one HDF5 file", "all crystals and models"], INK)
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("campaign.svg").write_text(figure(), "utf-8")
