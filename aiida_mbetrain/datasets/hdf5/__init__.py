"""HDF5 files of datasets: writing, appending, reading and validating.

A file is written under a temporary name and renamed; only additions to an existing file take a lock.
Its content has a digest, by which equal training sets are recognised.
"""

from aiida_mbetrain.datasets.hdf5.array_storage import Storage
from aiida_mbetrain.datasets.hdf5.file_tree import opened, require_unchanged, verified
from aiida_mbetrain.datasets.hdf5.reader import (
    EntryOrigin,
    GroupSummary,
    clusters,
    list_groups,
    origin_of,
    read_dataset,
    reference_facts,
    validate,
)
from aiida_mbetrain.datasets.hdf5.writer import append_dataset, append_trees, copy_dataset, write_dataset

__all__ = [
    "EntryOrigin",
    "GroupSummary",
    "Storage",
    "append_dataset",
    "append_trees",
    "clusters",
    "copy_dataset",
    "list_groups",
    "opened",
    "origin_of",
    "read_dataset",
    "reference_facts",
    "require_unchanged",
    "validate",
    "verified",
    "write_dataset",
]
