"""Neighbour graphs against sums over all periodic images."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from models import rattled

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials.mace.graphs import build_graphs
from aiida_mbetrain.science.potentials.mace.pair_lists import PairLists


def brute_force(positions, cell, r_max: float, images: int) -> np.ndarray:
    """Rows (sender, receiver, three unit shifts) in lexical order."""
    rows = []
    for shift in np.ndindex(*[2 * images + 1] * 3):
        unit = np.array(shift) - images
        distances = np.linalg.norm(positions[None] + unit @ cell - positions[:, None], axis=-1)
        pairs = np.argwhere(distances < r_max)
        if not unit.any():
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        rows.append(np.hstack([pairs, np.tile(unit, (len(pairs), 1))]))
    return sort_rows(np.concatenate(rows))


def sort_rows(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[::-1])]


def rows_of(part: Configurations, r_max: float) -> np.ndarray:
    graphs = build_graphs([part], PairLists(r_max))
    return sort_rows(np.hstack([graphs.edges.T, graphs.unit_shifts]).astype(int))


@pytest.mark.parametrize(
    "cell",
    [np.eye(3) * 7.0, [[3.0, 0, 0], [2.5, 2.6, 0], [0.4, -1.1, 2.9]], [[5.0, 0, 0], [-2.5, 4.3, 0], [0, 0, 2.2]]],
)
def test_every_periodic_image_within_the_cutoff_is_a_neighbour(cell):
    atoms = Atoms("NH3", np.random.default_rng(1).uniform(-9, 9, (4, 3)), cell=cell, pbc=True)
    part = Configurations.from_atoms(atoms)
    assert np.array_equal(rows_of(part, 4.0), brute_force(part.positions[0], part.cells[0], 4.0, 14))


@pytest.mark.parametrize("repeats", [1, 60])
def test_finite_configurations_have_no_images(repeats):
    """With few atoms, whose distances are all computed, and with many, which take a cell list."""
    atoms = sum((molecule("CH3CN") for _ in range(repeats)), Atoms())
    noise = np.random.default_rng(2).normal(scale=4.0, size=(1, len(atoms), 3))
    part = Configurations(atoms.numbers, atoms.positions[None] + noise)
    assert np.array_equal(rows_of(part, 3.0), brute_force(part.positions[0], np.eye(3), 3.0, 0))


def test_joined_graphs_share_no_edges():
    parts = [rattled(molecule("NH3"), 2, 1), rattled(molecule("H2", cell=[3, 3, 3], pbc=True), 3, 2)]
    graphs = build_graphs(parts, PairLists(4.0))
    owner = np.repeat(np.arange(5), graphs.sizes)
    assert graphs.sizes.tolist() == [4, 4, 2, 2, 2]
    assert np.array_equal(owner[graphs.edges[0]], owner[graphs.edges[1]])
    alone = [build_graphs([part.select([k])], PairLists(4.0)).n_edges for part in parts for k in range(part.n_frames)]
    assert np.bincount(owner[graphs.edges[0]]).tolist() == alone


def test_the_second_half_of_the_edges_is_the_first_half_reversed():
    """Radial embeddings are computed for one half."""
    crystal = molecule("NH3", cell=[[3.0, 0, 0], [1.0, 3.2, 0], [0.4, 0.3, 3.6]], pbc=True)
    graphs = build_graphs([rattled(molecule("CH3CN"), 2, 1), rattled(crystal, 2, 2)], PairLists(4.0))
    half = graphs.n_edges // 2
    assert np.array_equal(graphs.edges[:, half:], graphs.edges[::-1, :half])
    assert np.array_equal(graphs.unit_shifts[half:], -graphs.unit_shifts[:half])
    assert half > 100
