"""Size of one stage: evaluations, frames, clusters, and the bytes of what it stores and holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.stages.feature_storage import exceeds_limit
from aiida_mbetrain.settings import Inference

BYTES = 8
"""Of a number in double precision."""


@dataclass(frozen=True)
class StageEstimate:
    """Size of one stage.

    n_atoms: atoms of its supercell.  n_evaluations: supercells the model evaluates.  n_frames: stored frames.
    n_molecules: molecules of the supercell.  n_clusters, n_cluster_atoms: clusters and their atoms, all frames.
    n_displacements: displaced supercells of one crystal's force constants.
    n_crystals: crystals with force constants.
    labels_frames: True where frames are labelled together with their clusters; those of dynamics have labels.
    """

    name: str
    supercell_matrix: IntArray
    n_atoms: int
    n_evaluations: int
    n_frames: int = 0
    n_molecules: int = 0
    n_clusters: int = 0
    n_cluster_atoms: int = 0
    n_displacements: int = 0
    n_crystals: int = 0
    labels_frames: bool = False

    def __str__(self) -> str:
        text = f"{self.name}: {self.n_evaluations} evaluations of {self.n_atoms} atoms"
        clusters = f", {self.n_clusters} clusters of {self.n_cluster_atoms} atoms in all"
        return text + (clusters if self.n_clusters else "")

    @property
    def atom_evaluations(self) -> int:
        """Atoms that go through the model, counted with repetition: what the time is proportional to."""
        return self.n_evaluations * self.n_atoms + self.n_cluster_atoms

    def bytes_left_out(self, n_features: int, inference: Inference) -> int:
        """Feature vectors of jobs in which they exceed ``max_features_GB``; n_features per atom."""
        return sum(n for n in self._bytes_of_features(n_features, inference) if exceeds_limit(n, inference))

    def bytes_stored(self, n_features: int, inference: Inference) -> int:
        """Positions, forces, velocities and features of frames and clusters, force constants; n_features per atom."""
        features = sum(n for n in self._bytes_of_features(n_features, inference) if not exceeds_limit(n, inference))
        return self._bytes_of_frames + 6 * BYTES * self.n_cluster_atoms + features

    def bytes_held(self, n_features: int, inference: Inference) -> int:
        """Frames with the features of dynamics, and force constants; labels pass by in pieces."""
        dynamics = 0 if self.labels_frames else self._bytes_of_features(n_features, inference)[0]
        return self._bytes_of_frames + (0 if exceeds_limit(dynamics, inference) else dynamics)

    @property
    def _bytes_of_frames(self) -> int:
        return BYTES * (9 * self.n_frames * self.n_atoms + self.n_crystals * (3 * self.n_atoms) ** 2)

    def _bytes_of_features(self, n_features: int, inference: Inference) -> list[int]:
        """Feature vectors by job: those of frames and of clusters, or of both together."""
        frames = self.n_frames * self.n_atoms if inference.features == "all" else 0
        clusters = 0 if inference.features == "none" else self.n_cluster_atoms
        jobs = [frames + clusters] if self.labels_frames else [frames, clusters]
        return [n_atoms * n_features * np.dtype(inference.features_dtype).itemsize for n_atoms in jobs]
