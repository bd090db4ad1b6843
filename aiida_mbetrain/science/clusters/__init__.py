"""Finite clusters of molecules cut from periodic frames.

A cluster is an ordered set of (molecule, lattice translation), chosen on the reference structure by a selection rule
and applied to every frame.  Clusters that a symmetry operation maps onto each other share an orbit.
"""

from aiida_mbetrain.science.clusters.extraction import Cluster, ClusterSet, extract_clusters, select_clusters
from aiida_mbetrain.science.clusters.neighbours import Measure
from aiida_mbetrain.science.clusters.orbit_census import Representative, orbit_representatives
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry, Orbit

__all__ = [
    "Cluster",
    "ClusterSet",
    "Measure",
    "MoleculeSymmetry",
    "Orbit",
    "Representative",
    "extract_clusters",
    "orbit_representatives",
    "select_clusters",
]
