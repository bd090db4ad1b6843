"""Sections of a dataset as groups, datasets and attributes of a file tree, and back.

Names and shapes follow the reference layout; nothing here opens a file.
"""

from aiida_mbetrain.datasets.layout.objects import to_cluster_set, to_reference
from aiida_mbetrain.datasets.layout.phonons import to_band_structure, to_force_constants
from aiida_mbetrain.datasets.layout.sections import SCHEMA_VERSION, cluster_order, from_dataset, to_dataset
from aiida_mbetrain.datasets.layout.thermodynamics import (
    equilibrium_table,
    fixed_volume_table,
    interpolated_table,
    sampled_table,
    with_sublimation,
)

__all__ = [
    "SCHEMA_VERSION",
    "cluster_order",
    "equilibrium_table",
    "fixed_volume_table",
    "from_dataset",
    "interpolated_table",
    "sampled_table",
    "to_band_structure",
    "to_cluster_set",
    "to_dataset",
    "to_force_constants",
    "to_reference",
    "with_sublimation",
]
