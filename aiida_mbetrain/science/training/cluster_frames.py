"""Labelled frames from cluster sets that carry the labels of the baseline, and the same frames of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.errors import LabelsMissing
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.training.frames import LabelledFrames, Strings


@dataclass(frozen=True, eq=False)
class LabelledClusters:
    """F frames of one cluster with two labels.

    clusters: with energies and forces of the baseline.  crystal: its reference.
    reference: the same frames with the labels of the reference; without forces where it has none.
    interactions: (F,), eV, NaN where unknown.  subsets, units, uids: as of :class:`LabelledFrames`, (F,).
    """

    clusters: ClusterSet
    crystal: MolecularCrystal
    reference: Configurations
    interactions: FloatArray
    subsets: IntArray
    units: IntArray
    uids: Strings
    source: str
    path: str


def frames_of_clusters(
    sets: Sequence[LabelledClusters], *, level_of_theory: str, method_hash: str, baseline: str
) -> LabelledFrames:
    """All frames of all sets.  Raises LabelsMissing where the baseline has not labelled them."""
    parts = []
    for item in sets:
        frames, n = item.clusters.configurations, len(item.clusters.configurations)
        if frames.energies is None or frames.forces is None or item.reference.energies is None:
            raise LabelsMissing(f"{item.path} has no energies and forces of the baseline: label it first.")
        members = item.clusters.cluster.molecule_indices
        sizes = [len(item.crystal.atoms_of(int(molecule))) for molecule in members]
        above = np.full(frames.positions.shape, np.nan) if item.reference.forces is None else item.reference.forces
        parts.append(
            LabelledFrames(
                numbers=np.tile(frames.numbers, n),
                positions=frames.positions.reshape(-1, 3),
                molecules=np.tile(np.repeat(np.arange(len(members)), sizes), n),
                offsets=frames.n_atoms * np.arange(n + 1, dtype=np.int64),
                energies=item.reference.energies,
                forces=above.reshape(-1, 3),
                baseline_energies=frames.energies,
                baseline_forces=frames.forces.reshape(-1, 3),
                interactions=item.interactions,
                features=np.empty((n, 0)) if frames.features is None else frames.features.sum(axis=1, dtype=np.float64),
                subsets=item.subsets,
                units=item.units,
                sources=np.full(n, item.source),
                temperatures_K=frames.origin.get("temperature_K", np.full(n, np.nan)),
                paths=np.full(n, item.path),
                uids=item.uids,
                level_of_theory=level_of_theory,
                method_hash=method_hash,
                baseline=baseline,
            )
        )
    return LabelledFrames.concatenate(parts)
