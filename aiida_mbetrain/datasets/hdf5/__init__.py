"""HDF5 files of datasets: writing, appending, reading and validating.

A file is written under a temporary name and renamed; only additions to an existing file take a lock.
Its content has a digest, by which equal training sets are recognised.
"""

from aiida_mbetrain.datasets.hdf5.reader import (
    clusters,
    list_groups,
    opened,
    origin_of,
    read_dataset,
    require_unchanged,
    validate,
)
from aiida_mbetrain.datasets.hdf5.writer import Storage, append_dataset, write_dataset

__all__ = [
    "Storage",
    "append_dataset",
    "clusters",
    "list_groups",
    "opened",
    "origin_of",
    "read_dataset",
    "require_unchanged",
    "validate",
    "write_dataset",
]
