"""One cluster followed through all frames, as a node."""

from __future__ import annotations

import re

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.clusters import ClusterSet


class ClusterSetData(ScienceArrayData):
    """The configurations of one cluster (one size or one distance) in every frame, packed."""

    science_class = ClusterSet

    @classmethod
    def facts(cls, value: ClusterSet) -> dict[str, object]:
        """Key in the dataset, sizes, and what is known about the configurations."""
        configurations = value.configurations
        return {
            "key": value.cluster.key,
            "n_molecules": len(value.cluster.molecule_indices),
            "n_repeated_molecules": int(value.cluster.n_repeated_molecules),
            "orbit": value.cluster.orbit,
            "multiplicity": value.cluster.multiplicity,
            "n_atoms": configurations.n_atoms,
            "n_frames": configurations.n_frames,
            "labelled": configurations.energies is not None,
            "features": configurations.features is not None,
        }

    @property
    def key(self) -> str:
        """Name of the group in the dataset: ``n=3``, ``r=6.50``, ``n=3,c=2``."""
        return str(self.base.attributes.get("key"))


def link_label(key: str) -> str:
    """Link label of a cluster set: ``n=3`` -> ``n_3``, ``r=6.50`` -> ``r_6_50``, ``n=3,c=2`` -> ``n_3_c_2``."""
    return re.sub(r"\W", "_", key)
