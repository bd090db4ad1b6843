"""HDF5 files of datasets: writing, appending, reading and validating.

A file is written under a lock to a temporary name and renamed.  Its content has a digest, so that equal training sets
are recognised.
"""

from aiida_mbetrain.datasets.hdf5.reader import (
    clusters,
    list_groups,
    opened,
    origin_of,
    read_dataset,
    require_unchanged,
    validate,
    verified,
)
from aiida_mbetrain.datasets.hdf5.writer import Storage, append_dataset, append_trees, write_dataset

__all__ = [
    "Storage",
    "append_dataset",
    "append_trees",
    "clusters",
    "list_groups",
    "opened",
    "origin_of",
    "read_dataset",
    "require_unchanged",
    "validate",
    "verified",
    "write_dataset",
]
