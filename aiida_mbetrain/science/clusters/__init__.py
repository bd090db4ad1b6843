"""Finite clusters of molecules cut from periodic frames.

A cluster is an ordered set of (molecule, lattice translation), chosen on the reference structure by a selection rule
and applied to every frame.  Clusters that a symmetry operation maps onto each other share an orbit.
"""

from aiida_mbetrain.science.clusters.extraction import Cluster, ClusterSet, extract_clusters, select_clusters

__all__ = ["Cluster", "ClusterSet", "extract_clusters", "select_clusters"]
