"""Arrays in an HDF5 file: precision, compression, and writing in blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h5py
import numpy as np

from aiida_mbetrain.datasets.arrays import StoredArray, blocks, chunk_rows
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida_mbetrain.datasets.arrays import Source

STRING = h5py.string_dtype(encoding="utf-8")

WORTH_COMPRESSING = 16384
"""Size in bytes from which arrays are compressed: the index of a compressed array takes at least 2 kB."""


@dataclass(frozen=True)
class Storage:
    """Options for the storage of arrays.

    float32: features, forces and velocities in single precision.
    compression: level of gzip from 1 (fast) to 9, with byte shuffling, of arrays of 16 kB and more; None: none.
    """

    float32: bool = False
    compression: int | None = None

    def __post_init__(self) -> None:
        if self.compression is not None and not 1 <= self.compression <= 9:
            raise InvalidSettings(f"compression = {self.compression}: give a level of gzip from 1 to 9.")


def write_array(target: h5py.Group, name: str, source: Source, storage: Storage) -> h5py.Dataset:
    """Write an array into a group, a large one block by block, so that no more than a block is in memory."""
    first, *others = itertools.islice(parts := blocks(source), 2)
    if first.dtype.kind == "O":
        return target.create_dataset(name, data=first, dtype=STRING, track_times=False)
    dtype = np.float32 if getattr(source, "dtype", None) == np.float32 else first.dtype
    if not others:
        options = _compression(source, storage) if first.nbytes >= WORTH_COMPRESSING else {}
        return target.create_dataset(name, data=first, dtype=dtype, track_times=False, **options)
    options = _compression(source, storage)
    if options:
        options["chunks"] = (chunk_rows(source), *source.shape[1:])
    array = target.create_dataset(name, shape=source.shape, dtype=dtype, track_times=False, **options)
    start = 0
    for block in itertools.chain([first], others, parts):
        array[start : start + len(block)] = block
        start += len(block)
    return array


def _compression(source: object, storage: Storage) -> dict[str, object]:
    """Compression options of an array; those it already has if it comes from a file."""
    if isinstance(source, StoredArray):
        level = source.stored.compression_opts if source.stored.compression else None
    else:
        level = storage.compression
    return {} if level is None else {"compression": "gzip", "compression_opts": level, "shuffle": True}
