"""Reference labels of clusters by quantum chemistry: fragments, programs, and the expansion that joins them.

Clusters are expanded in fragments of few molecules, each distinct one is calculated once by a program of quantum
chemistry, and a sparse matrix of coefficients composes energies and forces of the clusters from them.  The lattice
energy corrects the baseline's periodic energy by the expansion of the difference between reference and baseline.
"""

from aiida_mbetrain.science.reference_labels.backends import Backend, Evaluation, backend_of
from aiida_mbetrain.science.reference_labels.baseline import baseline_labels
from aiida_mbetrain.science.reference_labels.bundles import split_by_cost
from aiida_mbetrain.science.reference_labels.cost import CostEstimate, cluster_costs, estimate_cost
from aiida_mbetrain.science.reference_labels.evaluation import label_fragments
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments, MoleculeStates
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels, merge_labels
from aiida_mbetrain.science.reference_labels.lattice_energy import (
    LatticeEnergies,
    LatticeExpansion,
    expand_lattice,
    lattice_energies,
)
from aiida_mbetrain.science.reference_labels.many_body_expansion import (
    ClusterExpansion,
    ExpandedEnergies,
    Expansion,
    Term,
    expand,
    expansion_terms,
)

__all__ = [
    "Backend",
    "ClusterExpansion",
    "CostEstimate",
    "Evaluation",
    "ExpandedEnergies",
    "Expansion",
    "Fragment",
    "FragmentLabels",
    "Fragments",
    "LatticeEnergies",
    "LatticeExpansion",
    "MoleculeStates",
    "Term",
    "backend_of",
    "baseline_labels",
    "cluster_costs",
    "estimate_cost",
    "expand",
    "expand_lattice",
    "expansion_terms",
    "label_fragments",
    "lattice_energies",
    "merge_labels",
    "split_by_cost",
]
