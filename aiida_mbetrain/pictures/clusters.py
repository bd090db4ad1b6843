"""Clusters as balls and sticks: one panel per size, in one projection and on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import pdist, squareform

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.pictures.style import INK, MUTED, NORMAL, ORANGE, SMALL, entitle
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import FloatArray, IntArray

BALL = 0.45
"""Radius of a ball, in covalent radii."""

STICK = 0.13
"""Half the width of a bond, Å."""

BOND_TOLERANCE = 1.25

MARGIN = 1.2
"""Margin around the largest cluster, Å."""

HALO = 0.25 * np.array(to_rgb(ORANGE)) + 0.75
"""Colour behind the central molecule."""

DIRECTIONS = 400

FOG = 0.55
"""Share of white in the colour of the atom farthest behind."""


def clusters_picture(
    sets: Sequence[ClusterSet], *, frame: int = 0, columns: int = 4, title: str | None = None
) -> Figure:
    """One frame of every cluster, smallest first; the central molecule (the first one) has a coloured halo.

    All panels have the same viewing direction: the one in which the molecules of the largest cluster overlap
    least.  Raises InvalidSettings if there is no cluster or no such frame.
    """
    if not sets:
        raise InvalidSettings("There are no clusters to draw.")
    n_frames = min(item.configurations.n_frames for item in sets)
    if not 0 <= frame < n_frames:
        raise InvalidSettings(f"frame = {frame}: the clusters have {n_frames} frames, counted from 0.")
    ordered = sorted(sets, key=lambda item: (item.configurations.n_atoms, item.cluster.key))
    columns = min(columns, len(ordered))
    rows = ceil(len(ordered) / columns)
    view = _view(ordered[-1].configurations.numbers, ordered[-1].configurations.positions[frame])
    drawings = [_Drawing(item, frame, view) for item in ordered]
    half = np.max([np.ptp(drawing.points[:, :2], axis=0) for drawing in drawings], axis=0) / 2 + MARGIN
    width = 2.35 * columns
    height = (width / columns * half[1] / half[0] + 0.45) * rows + 0.35 + (0.45 if title else 0.1)
    figure = Figure(figsize=(width, height), layout="constrained")
    for axes, drawing in zip(figure.subplots(rows, columns, squeeze=False).ravel(), drawings, strict=False):
        drawing.draw(axes, half)
    for axes in figure.axes[len(drawings) :]:
        axes.set_axis_off()
    _draw_legend(figure, ordered[-1].configurations.numbers)
    entitle(figure, title)
    return figure


def _draw_legend(figure: Figure, numbers: IntArray) -> None:
    """Balls of the elements and the halo, with their names, below the panels."""
    balls = {chemical_symbols[number]: (jmol_colors[number] * 0.92, 9.0) for number in np.unique(numbers)}
    marks = balls | {"central molecule": (HALO, 13.0)}
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=size, markerfacecolor=face, label=name,
               markeredgecolor=face * 0.5 if name in balls else "none")
        for name, (face, size) in marks.items()
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=SMALL, labelcolor=INK,
        handletextpad=0.2, columnspacing=1.2,
    )  # fmt: skip


def _view(numbers: IntArray, positions: FloatArray) -> FloatArray:
    """Columns: right, up (as far as possible z), towards the viewer, orthonormal.

    Of evenly spread directions the one in which the projected centres of the molecules keep the largest distance.
    """
    molecules = find_molecules(numbers, find_bonds(numbers, positions))
    centers = np.array([positions[molecules == m].mean(axis=0) for m in range(molecules.max() + 1)])
    directions = _directions(DIRECTIONS)
    if len(centers) == 1:
        clearances = np.ptp(positions @ _right_and_up(directions), axis=1).prod(axis=1)
    else:
        pairs = np.stack([centers[i] - centers[j] for i, j in np.argwhere(np.triu(np.ones((len(centers),) * 2), 1))])
        along = pairs @ directions.T
        clearances = (np.sum(pairs**2, axis=1)[:, None] - along**2).min(axis=0)
    best = directions[np.round(clearances, 6).argmax()]
    return np.column_stack([*np.moveaxis(_right_and_up(best[None]), 0, -1)[..., 0].T, best])


def _directions(n: int) -> FloatArray:
    """Unit vectors on the upper half of a golden spiral, away from the poles, (n, 3)."""
    z = np.linspace(0.05, 0.95, n)
    angle = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(n)
    radius = np.sqrt(1.0 - z**2)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])


def _right_and_up(directions: FloatArray) -> FloatArray:
    """For each direction the two axes of the picture, (n, 3, 2)."""
    right = np.cross([0.0, 0.0, 1.0], directions)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.stack([right, np.cross(directions, right)], axis=-1)


def find_molecules(numbers: IntArray, bonds: IntArray) -> IntArray:
    """The molecule of each atom, (N,), numbered in the order of their first atoms."""
    n = len(numbers)
    graph = coo_array((np.ones(len(bonds)), (bonds[:, 0], bonds[:, 1])), shape=(n, n))
    molecules: IntArray = connected_components(graph, directed=False)[1]
    return molecules


def find_bonds(numbers: IntArray, positions: FloatArray) -> IntArray:
    """Pairs of atoms close enough to draw a stick between them, (B, 2)."""
    distances = squareform(pdist(positions))
    radii = covalent_radii[numbers]
    near = np.triu(distances < BOND_TOLERANCE * (radii[:, None] + radii), k=1)
    return np.argwhere(near)


class _Drawing:
    """One cluster, projected."""

    def __init__(self, item: ClusterSet, frame: int, view: FloatArray) -> None:
        self.item = item
        self.numbers = item.configurations.numbers
        points = item.configurations.positions[frame] @ view
        low, high = points.min(axis=0), points.max(axis=0)
        self.points = points - (low + high) / 2
        self.bonds = find_bonds(self.numbers, self.points)
        molecules = find_molecules(self.numbers, self.bonds)
        self.central = molecules == molecules[0]

    def draw(self, axes: Axes, half: FloatArray) -> None:
        """The cluster in the middle of its panel, with size, atoms and frames beneath the key."""
        axes.set_axis_off()
        axes.set_xlim(-half[0], half[0])
        axes.set_ylim(-half[1], half[1])
        axes.set_aspect("equal")
        self._draw_ground(axes)
        self._draw_atoms_and_bonds(axes)
        configurations = self.item.configurations
        axes.set_title(self.item.cluster.key.replace("=", " = "), fontsize=NORMAL, color=INK, pad=15, weight="bold")
        frames = "1 frame" if configurations.n_frames == 1 else f"{configurations.n_frames} frames"
        text = f"{configurations.n_atoms} atoms · {frames}"
        axes.text(0.5, 1.01, text, transform=axes.transAxes, ha="center", va="bottom", fontsize=SMALL, color=MUTED)

    def _draw_ground(self, axes: Axes) -> None:
        """A soft halo behind the central molecule: discs and bands in one opaque pale colour."""
        discs = [Circle(point[:2], 0.95) for point in self.points[self.central]]
        inside = self.bonds[self.central[self.bonds[:, 0]]]
        bands = [Polygon(_bar(self.points[i, :2], self.points[j, :2], 0.95)) for i, j in inside]
        axes.add_collection(PatchCollection([*discs, *bands], facecolors=[HALO], linewidths=0, zorder=0))

    def _draw_atoms_and_bonds(self, axes: Axes) -> None:
        """Painter's algorithm: everything sorted by depth in one collection."""
        shapes = [*self._sticks(), *self._balls()]
        shapes.sort(key=lambda shape: shape[0])
        _, patches, faces, edges = zip(*shapes, strict=True)
        axes.add_collection(
            PatchCollection(list(patches), facecolors=list(faces), edgecolors=list(edges), linewidths=0.45, zorder=2)
        )

    def _balls(self) -> list[tuple[float, Circle | Polygon, FloatArray, FloatArray]]:
        """Balls: a disc with two lighter ones towards the light, slightly in front of it."""
        shapes: list[tuple[float, Circle | Polygon, FloatArray, FloatArray]] = []
        for point, number, fog in zip(self.points, self.numbers, self._fog(), strict=True):
            radius = _ball(number)
            base = jmol_colors[number] * 0.92
            for step, (size, shift, light) in enumerate([(1.0, 0.0, 0.0), (0.68, 0.16, 0.28), (0.34, 0.3, 0.62)]):
                place = point[:2] + shift * radius * np.array([-1.0, 1.0])
                face = _towards_white(_towards_white(base, light), fog)
                edge = _towards_white(base * 0.35, fog) if step == 0 else face
                shapes.append((point[2] + 1e-3 * step, Circle(place, size * radius), face, edge))
        return shapes

    def _sticks(self) -> list[tuple[float, Circle | Polygon, FloatArray, FloatArray]]:
        """Sticks: two halves of each bond, in the colour of the atom and just behind it."""
        fog = self._fog()
        shapes: list[tuple[float, Circle | Polygon, FloatArray, FloatArray]] = []
        for i, j in [*self.bonds.tolist(), *self.bonds[:, ::-1].tolist()]:
            bond = self.points[j] - self.points[i]
            # From just below the surface of the ball, or a stick towards the viewer would begin at its centre.
            start = self.points[i] + bond * (0.85 * _ball(self.numbers[i]) / np.linalg.norm(bond))
            middle = self.points[i] + bond / 2
            color = _towards_white(jmol_colors[self.numbers[i]] * 0.82, fog[i])
            depth = (self.points[i, 2] + middle[2]) / 2
            shapes.append((depth, Polygon(_bar(start[:2], middle[:2], STICK)), color, color * 0.8))
        return shapes

    def _fog(self) -> FloatArray:
        """Share of white for each atom: 0 for the one in front, FOG for the one farthest behind in a thick cluster."""
        depth = self.points[:, 2].max() - self.points[:, 2]
        fog: FloatArray = FOG * depth / max(float(depth.max()), 4.0)
        return fog


def _ball(number: int) -> float:
    """Radius of the ball of an element, Å; hydrogen is drawn larger than its covalent radius."""
    return float(BALL * max(covalent_radii[number], 0.5))


def _towards_white(color: NDArray[np.float64], amount: float) -> FloatArray:
    return color + (1.0 - color) * amount


def _bar(start: FloatArray, end: FloatArray, half_width: float) -> FloatArray:
    """Corners of a bar around a line, (4, 2)."""
    along = end - start
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9) * half_width
    return np.array([start + across, end + across, end - across, start - across])
