"""Clusters of small molecules, built by hand or cut from crystals of the tests."""

from __future__ import annotations

import numpy as np
from crystals import one_frame

from aiida_mbetrain.science.clusters import Cluster, ClusterSet, extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.settings import FiniteSubsystemFilter


def shaken_clusters(atoms, sizes, *, n_frames=3, amplitude=0.05, seed=3):
    """Nested clusters around the central molecule of a crystal, in frames with random displacements."""
    reference = one_frame(atoms)
    crystal = detect_molecules(reference, assert_identical_composition=False)
    noise = amplitude * np.random.default_rng(seed).standard_normal((n_frames, len(atoms), 3))
    frames = Configurations(
        reference.numbers, reference.positions + noise, cells=np.repeat(reference.cells, n_frames, 0)
    )
    rule = FiniteSubsystemFilter(n_molecules=sizes, selection_rule="closest_to_central_molecule")
    return crystal, extract_clusters(crystal, frames, rule)


def gas(molecules, *, box=200.0):
    """One cluster of separate molecules (numbers, positions) in one frame, and a crystal to go with it."""
    numbers = np.concatenate([np.asarray(z) for z, _ in molecules])
    positions = np.concatenate([np.asarray(x, dtype=float) for _, x in molecules])
    sizes = [len(z) for z, _ in molecules]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    index_map = np.full((len(sizes), max(sizes)), -1)
    for m, (start, size) in enumerate(zip(first, sizes, strict=True)):
        index_map[m, :size] = np.arange(start, start + size)
    crystal = MolecularCrystal(
        numbers=numbers,
        positions=positions,
        cell=box * np.eye(3),
        image_offsets=np.zeros((len(numbers), 3), dtype=int),
        index_map=index_map,
        bonds=np.empty((0, 2), dtype=int),
        bond_offsets=np.empty((0, 3), dtype=int),
        centers_of_mass=np.array([positions[row[row >= 0]].mean(axis=0) for row in index_map]),
        central_molecule_index=0,
        min_distances_to_central_molecule=np.zeros(len(sizes)),
        max_distances_to_central_molecule=np.zeros(len(sizes)),
        identical_composition=False,
    )
    n = len(sizes)
    cluster = Cluster(f"n={n}", np.arange(n), np.zeros((n, 3), dtype=int), 0)
    return crystal, ClusterSet(cluster, Configurations(numbers, positions[None], origin={"frame": np.zeros(1, int)}))
