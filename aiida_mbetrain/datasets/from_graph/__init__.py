"""Datasets from the provenance graph: the only package of ``datasets`` that imports AiiDA.

Nodes of finished processes become the sections of a dataset; nothing is computed but whole molecules, so that an
imported archive gives the same file.
"""

from aiida_mbetrain.datasets.from_graph.dataset import (
    STAGE_OF,
    TRAINING_SET,
    crystal_behind,
    dataset_of,
    require_run,
    stage_nodes,
    stages_of,
)
from aiida_mbetrain.datasets.from_graph.partial import exportable, missing_parts, partial_nodes
from aiida_mbetrain.datasets.from_graph.reference_labels import (
    COMPOSE,
    Composition,
    chosen_composition,
    composition_of,
    compositions_of,
    fragments_of,
    require_labels,
    with_references,
)

__all__ = [
    "COMPOSE",
    "STAGE_OF",
    "TRAINING_SET",
    "Composition",
    "chosen_composition",
    "composition_of",
    "compositions_of",
    "crystal_behind",
    "dataset_of",
    "exportable",
    "fragments_of",
    "missing_parts",
    "partial_nodes",
    "require_labels",
    "require_run",
    "stage_nodes",
    "stages_of",
    "with_references",
]
