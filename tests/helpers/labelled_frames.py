"""Clusters of carbon dioxide with labels of a baseline, and of a reference that differs from it by a known model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from cluster_examples import shaken_clusters
from crystals import carbon_dioxide

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.potentials import Potential, named_calculator
from aiida_mbetrain.science.training import LabelledFrames
from aiida_mbetrain.settings import NamedCalculator

MORSE = NamedCalculator(name="morse", parameters={"epsilon": 0.3, "r0": 1.4, "rho0": 3.0})
"""A pairwise baseline, whose forces are those of stiff bonds."""


def clusters_of(n_frames: int = 12, sizes: Sequence[int] = (1, 2)) -> list[ClusterSet]:
    """Nested clusters of carbon dioxide with random displacements."""
    return list(shaken_clusters(carbon_dioxide(), list(sizes), n_frames=n_frames, amplitude=0.04)[1])


def labelled_frames(
    delta: Potential,
    *,
    n_frames: int = 12,
    sizes: Sequence[int] = (1, 2),
    energy_only: bool = False,
    shift: float = 7.0,
    baseline: tuple[Potential, str] | None = None,
) -> LabelledFrames:
    """Frames whose reference is the baseline, ``delta`` and ``shift`` eV per molecule.

    baseline: potential and identity; None: the Morse potential.
    Two thirds of the frames are for training, one sixth each for validation and test.
    """
    below_all, identity = (named_calculator(MORSE), "morse") if baseline is None else baseline
    subset_of_frame = np.resize([0, 0, 0, 0, 1, 2], n_frames)
    columns: dict[str, list] = {name: [] for name in LabelledFrames.__annotations__}
    for clusters in clusters_of(n_frames, sizes):
        frames, n = clusters.configurations, clusters.cluster.n_molecules
        [below], [above] = below_all.evaluate([frames]), delta.evaluate([frames])
        for row in range(n_frames):
            columns["numbers"].append(frames.numbers)
            columns["positions"].append(frames.positions[row])
            columns["molecules"].append(np.repeat(np.arange(n), 3))
            columns["energies"].append(below.energies[row] + above.energies[row] + shift * n)
            columns["forces"].append(below.forces[row] + above.forces[row])
            columns["baseline_energies"].append(below.energies[row])
            columns["baseline_forces"].append(below.forces[row])
            columns["interactions"].append(np.nan)
            columns["features"].append(np.zeros(0))
            columns["subsets"].append(subset_of_frame[row])
            columns["units"].append(row)
            columns["sources"].append("md")
            columns["temperatures_K"].append(300.0 if row % 2 else 200.0)
            columns["paths"].append(f"training/md_sampling/finite_subsystems/n={n}")
            columns["uids"].append(f"u{n}_{row}")
    offsets = np.concatenate([[0], np.cumsum([len(numbers) for numbers in columns["numbers"]])])
    joined = {
        name: np.concatenate(columns[name])
        for name in ("numbers", "positions", "molecules", "forces", "baseline_forces")
    }
    rest = {name: np.array(values) for name, values in columns.items() if values and name not in joined}
    facts = {"level_of_theory": "known", "method_hash": "a1" * 16, "baseline": identity}
    frames = LabelledFrames(**joined, **rest, **facts, offsets=offsets)
    return replace(frames, forces=np.full_like(frames.forces, np.nan)) if energy_only else frames
