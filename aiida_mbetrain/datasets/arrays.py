"""Arrays of a dataset: their kinds in the file, their digests, and arrays of a file that are compared with theirs."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io import LARGE_BYTES, join_rows

if TYPE_CHECKING:
    import h5py
    from numpy.typing import DTypeLike

    Source: TypeAlias = "AnyArray | h5py.Dataset | StoredArray | SinglePrecision"


BLOCK_BYTES, CHUNK_BYTES = 1 << 23, 1 << 18
"""Part of an array that is in memory while it is written or its digest is made, and that is compressed at once."""
BYTES = 8
"""Of a number in canonical form, but for truth values."""

KINDS: dict[str, type] = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
"""Kind of an array -> type of its numbers in a dataset."""


def canonical(values: Any) -> AnyArray:
    """Any array as C-ordered int64, float64 or bool, or as an object array of str."""
    array = np.asarray(values[()] if hasattr(values, "shape") else values)
    if array.dtype.kind == "O" or array.dtype.kind in "SU":
        decoded = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
        strings = np.empty(array.shape, dtype=object)
        strings.ravel()[:] = decoded
        return strings
    if array.dtype.kind not in KINDS:
        raise TypeError(f"The dataset has no place for arrays of {array.dtype}.")
    return np.ascontiguousarray(array, dtype=KINDS[array.dtype.kind])


def blocks(values: Source) -> Iterator[AnyArray]:
    """Canonical arrays of some rows each, which make up an array or an HDF5 dataset; in one block where it is small."""
    shape = np.shape(values)
    if not shape or BYTES * math.prod(shape) <= BLOCK_BYTES or values.dtype.kind not in KINDS:
        yield canonical(values)
        return
    step = chunk_rows(values)
    step *= max(1, BLOCK_BYTES // (step * BYTES * math.prod(shape[1:])))
    for start in range(0, len(values), step):
        yield canonical(values[start : start + step])


def chunk_rows(values: Source) -> int:
    """Rows that are compressed together: those of the file that the array comes from, or some of CHUNK_BYTES.

    A block has whole chunks, so that none is compressed or decompressed twice.
    """
    chunks = getattr(values, "chunks", None)
    return int(chunks[0]) if chunks else max(1, CHUNK_BYTES // (BYTES * math.prod(values.shape[1:])))


def array_sha256(values: Source) -> str:
    """sha256 of an array or an HDF5 dataset in canonical form, with its kind and shape."""
    digest = None
    for block in blocks(values):
        if digest is None:
            digest = hashlib.sha256(json.dumps([block.dtype.kind, np.shape(values)]).encode())
        if block.dtype.kind == "O":
            digest.update(json.dumps(block.tolist()).encode())
        else:
            digest.update(block.astype(block.dtype.newbyteorder("<"), copy=False).data)
    assert digest is not None
    return digest.hexdigest()


class SinglePrecision:
    """An array whose numbers are rounded when they are asked for."""

    dtype = np.dtype(np.float32)

    def __init__(self, source: Source) -> None:
        self._source = source
        self.shape: tuple[int, ...] = source.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice | tuple[()]) -> AnyArray:
        return np.asarray(self._source[key], dtype=self.dtype)


class StoredArray:
    """An array of an open file, compared with its digest when it is first read.

    stored: the HDF5 dataset.  where: file and path in it, for messages.  sha256: of the canonical array, as stated by
    the file; None where the file states none.
    """

    def __init__(self, stored: h5py.Dataset, where: str, sha256: str | None) -> None:
        self.stored, self.where, self.sha256 = stored, where, sha256
        self._verified = sha256 is None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        shape: tuple[int, ...] = self.stored.shape
        return shape

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Shape of what is compressed at once; None where the array is not."""
        chunks: tuple[int, ...] | None = self.stored.chunks
        return chunks

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the numbers in the file."""
        dtype: np.dtype[np.generic] = self.stored.dtype
        return dtype

    def __len__(self) -> int:
        return len(self.stored)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        return np.asarray(self[()], dtype=dtype)

    def __getitem__(self, key: object) -> Any:
        """The array or a part of it; raises UnreadableFile where the array is not what was written.

        All of a large one is mapped, and read-only.
        """
        all_of_it = isinstance(key, tuple) and not key
        if self._verified:
            return self._whole() if all_of_it else self.stored[key]
        whole = self._whole() if all_of_it else self.stored
        if array_sha256(whole) != self.sha256:
            raise UnreadableFile(
                f"{self.where} is damaged or was edited: its numbers do not give its sha256. Take another copy of the "
                "file, or export it again."
            )
        self._verified = True
        return whole if all_of_it else self.stored[key]

    def _whole(self) -> AnyArray:
        """All numbers: read where they are few, else mapped from the file, or from a copy where it compresses them."""
        stored = self.stored
        if stored.nbytes < LARGE_BYTES or stored.dtype.kind not in KINDS:
            return np.asarray(stored[()])
        offset = stored.id.get_offset()
        if offset is None:
            step = chunk_rows(stored)
            return join_rows(stored[start : start + step] for start in range(0, len(stored), step))
        # by the descriptor of the open file, for its name may be another file's by now
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        length = offset + stored.nbytes - start
        mapped = mmap.mmap(stored.file.id.get_vfd_handle(), length, access=mmap.ACCESS_READ, offset=start)
        return np.ndarray(stored.shape, stored.dtype, mapped, offset - start)

    def canonical(self) -> AnyArray:
        """The array in canonical form; a large one is mapped, from a copy where the file has another precision."""
        if self.dtype.kind in KINDS and self.dtype != KINDS[self.dtype.kind] and self.stored.nbytes >= LARGE_BYTES:
            return join_rows(blocks(self))
        return canonical(self)

    def digest(self) -> str:
        """sha256 of the array, which is read unless it has been compared before."""
        if self.sha256 is None:
            self.sha256 = array_sha256(self.stored)
        elif not self._verified:
            self[:0] if self.shape else self[()]
        return self.sha256
