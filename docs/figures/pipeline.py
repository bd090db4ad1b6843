"""Draws ``pipeline.svg``: from a crystal and a model to a dataset, and back.

    python docs/figures/pipeline.py

writes the figure beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

WIDTH, HEIGHT = 1180, 516
INK, FAINT, CARD = "#1f2937", "#94a3b8", "#ffffff"
BLUE, GREEN, VIOLET, AMBER = "#2563eb", "#059669", "#7c3aed", "#d97706"
FONT = "font-family='Helvetica, Arial, sans-serif'"
BOX_W, BOX_H = 154, 100


def text(x: float, y: float, content: str, *, size: int = 15, color: str = INK, weight: str = "normal") -> str:
    return (
        f"<text x='{x:g}' y='{y:g}' {FONT} font-size='{size}' font-weight='{weight}' fill='{color}' "
        f"text-anchor='middle'>{content}</text>"
    )


def box(x: float, y: float, title: str, note: str, color: str, icon: Iterable[str]) -> list[str]:
    """A step: a card with a picture, its name and one line; (x, y) is the centre."""
    left, top = x - BOX_W / 2, y - BOX_H / 2
    return [
        f"<rect x='{left:g}' y='{top:g}' width='{BOX_W}' height='{BOX_H}' rx='9' fill='{color}' fill-opacity='0.08' "
        f"stroke='{color}' stroke-width='1.6'/>",
        f"<g transform='translate({x:g} {y - 24:g})' stroke='{color}' fill='{color}'>",
        *icon,
        "</g>",
        text(x, y + 24, title, weight="bold"),
        text(x, y + 42, note, size=12, color="#475569"),
    ]


def arrow(*points: tuple[float, float], color: str = FAINT, dashed: bool = False) -> str:
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
    dashes = " stroke-dasharray='6 5'" if dashed else ""
    marker = "back" if dashed else "tip"
    return f"<path d='{path}' fill='none' stroke='{color}' stroke-width='2'{dashes} marker-end='url(#{marker})'/>"


def dots(points: Iterable[tuple[float, float]], radius: float = 3.2) -> list[str]:
    return [f"<circle cx='{x:g}' cy='{y:g}' r='{radius:g}' stroke='none'/>" for x, y in points]


def line(points: Iterable[tuple[float, float]], width: float = 1.8) -> str:
    path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return f"<path d='{path}' fill='none' stroke-width='{width:g}'/>"


def lattice() -> list[str]:
    """A unit cell with molecules at its corners."""
    corners = [(-22, 14), (14, 14), (24, -14), (-12, -14)]
    return [line([*corners, corners[0]], 1.4), *dots(corners, 4.2)]


def network() -> list[str]:
    """Message passing: layers of nodes."""
    layers = [[(-24, y) for y in (-12, 12)], [(0, y) for y in (-16, 0, 16)], [(24, 0)]]
    edges = [line([a, b], 1) for one, two in pairwise(layers) for a in one for b in two]
    return [*edges, *dots((point for layer in layers for point in layer), 4)]


def thermal() -> list[str]:
    """A noisy trajectory."""
    wave = [(x, 9 * math.sin(x / 4.1) + 5 * math.sin(x / 1.9 + 1)) for x in range(-30, 31)]
    return [line(wave), *dots([wave[i] for i in (20, 35, 50)], 3)]


def valley() -> list[str]:
    """A minimum of the energy and a ball in it."""
    return [line([(x, 16 - x * x / 24) for x in range(-27, 28, 3)]), *dots([(0, 10)], 4.5)]


def springs() -> list[str]:
    """Atoms coupled by springs."""
    coil = [(-18 + i, 6 * math.sin(i * math.pi / 3)) for i in range(37)]
    return [line(coil, 1.4), *dots([(-22, 0), (22, 0)], 5)]


def mode() -> list[str]:
    """A standing wave of displacements."""
    sites = [(x, -13 * math.sin(math.pi * (x + 28) / 28)) for x in range(-28, 29, 8)]
    wave = [(x, -13 * math.sin(math.pi * (x + 28) / 28)) for x in range(-28, 29)]
    return [line(wave, 1.2), *[line([(x, 0), (x, y)], 1) for x, y in sites], *dots(sites, 3)]


def molecules() -> list[str]:
    """Bonded atoms, one molecule apart from another."""
    rings = [[(-15 + 9 * math.cos(a), 9 * math.sin(a)), (16 + 9 * math.cos(a), 9 * math.sin(a))] for a in _angles(5)]
    left, right = [pair[0] for pair in rings], [pair[1] for pair in rings]
    return [line([*left, left[0]], 1.6), line([*right, right[0]], 1.6), *dots([*left, *right], 2.8)]


def cluster() -> list[str]:
    """A central molecule and its neighbours."""
    around = [(17 * math.cos(a), 15 * math.sin(a)) for a in _angles(6)]
    circle = "<circle cx='0' cy='0' r='25' fill='none' stroke-width='1' stroke-dasharray='3 3'/>"
    return [circle, *dots([(0, 0)], 6.5), *dots(around, 4)]


def label() -> list[str]:
    """A number for a configuration: an energy, arrows for forces."""
    arrows = [line([(x, y), (x + dx, y + dy)], 1.6) for x, y, dx, dy in ((-10, 4, -12, 8), (8, -3, 14, -8))]
    return [*dots([(-10, 4), (8, -3), (0, 12)], 4), *arrows, text(-20, -8, "E", size=14), text(22, 14, "F", size=14)]


def layers() -> list[str]:
    """A file: discs on one another."""
    disc = "<ellipse cx='0' cy='{y}' rx='24' ry='7' fill='{fill}' stroke-width='1.6'/>"
    sides = [line([(-24, -13), (-24, 13)], 1.6), line([(24, -13), (24, 13)], 1.6)]
    return [*sides, *[disc.format(y=y, fill="#fff7ed") for y in (13, 0, -13)]]


def _angles(n: int) -> list[float]:
    return [2 * math.pi * i / n - math.pi / 2 for i in range(n)]


def figure() -> str:
    """The whole picture."""
    column = [96 + 198 * i for i in range(6)]
    top, middle, bottom = 108, 238, 368
    half_w, half_h = BOX_W / 2, BOX_H / 2
    steps = [
        box(column[0], top + 40, "crystal", "cif, xyz, POSCAR", BLUE, lattice()),
        box(column[0], bottom - 40, "MACE model", "or an ASE calculator", BLUE, network()),
        box(column[1] + 99, top, "molecular dynamics", "supercell, NVT or NPT", GREEN, thermal()),
        box(column[1], bottom, "relaxation", "keeps the symmetry", VIOLET, valley()),
        box(column[2], bottom, "force constants", "finite displacements", VIOLET, springs()),
        box(column[2], middle, "phonon sampling", "along normal modes", VIOLET, mode()),
        box(column[3], middle, "molecules", "from the bond graph", AMBER, molecules()),
        box(column[4], top, "clusters", "n = 1 … 8, or r", AMBER, cluster()),
        box(column[4], bottom, "labels", "energy, forces, features", AMBER, label()),
        box(column[5], middle, "dataset", "one HDF5 file", "#b45309", layers()),
    ]
    start = column[0] + half_w
    arrows = [
        arrow((start, top + 40), (start + 20, top + 40), (start + 20, bottom), (column[1] - half_w, bottom)),
        arrow((start, bottom - 40), (start + 20, bottom - 40), (start + 20, top), (column[1] + 99 - half_w, top)),
        arrow((column[1] + half_w, bottom), (column[2] - half_w, bottom)),
        arrow((column[2], bottom - half_h), (column[2], middle + half_h)),
        arrow((column[1] + 99 + half_w, top), (column[3], top), (column[3], middle - half_h)),
        arrow((column[2] + half_w, middle), (column[3] - half_w, middle)),
        arrow(
            (column[3] + half_w, middle), (column[3] + 99, middle), (column[3] + 99, top), (column[4] - half_w, top)
        ),
        arrow((column[4], top + half_h), (column[4], bottom - half_h)),
        arrow(
            (column[4] + half_w, bottom), (column[4] + 99, bottom), (column[4] + 99, middle),
            (column[5] - half_w, middle),
        ),
        arrow(
            (column[5], middle + half_h), (column[5], 468), (column[0], 468), (column[0], bottom - 40 + half_h),
            color="#64748b", dashed=True,
        ),
    ]  # fmt: skip
    caption = text(
        (column[0] + column[5]) / 2, 492, "provenance: every frame leads back to its molecules, its MD step or phonon "
        "mode, its job, the model's sha256 and the structure", size=13, color="#475569",
    )  # fmt: skip
    stages = [
        text(column[1] + 99, 40, "thermally accessible configurations", size=13, color=GREEN),
        text(column[2] - 99, 442, "distorted configurations", size=13, color=VIOLET),
        text(column[4], 40, "finite subsystems", size=13, color=AMBER),
    ]
    marker = (
        "<marker id='{id}' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='7' markerHeight='7' orient='auto'>"
        "<path d='M0 0 L10 5 L0 10 z' fill='{color}'/></marker>"
    )
    body = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>",
        "<title>From a crystal and a model to a training set, and back</title>",
        "<defs>",
        marker.format(id="tip", color=FAINT),
        marker.format(id="back", color="#64748b"),
        "</defs>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' rx='12' fill='{CARD}'/>",
        *arrows,
        *(part for step in steps for part in step),
        *stages,
        caption,
        "</svg>",
    ]
    return "\n".join(body) + "\n"


if __name__ == "__main__":
    Path(__file__).with_suffix(".svg").write_text(figure(), encoding="utf-8")
