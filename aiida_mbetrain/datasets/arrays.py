"""Arrays of a dataset: their kinds in the file, their digests, and arrays of a file that are compared with theirs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray

if TYPE_CHECKING:
    import h5py
    from numpy.typing import DTypeLike


def canonical(values: Any) -> AnyArray:
    """Any array as C-ordered int64, float64 or bool, or as an object array of str."""
    array = np.asarray(values[()] if hasattr(values, "shape") else values)
    if array.dtype.kind == "O" or array.dtype.kind in "SU":
        decoded = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]
        strings = np.empty(array.shape, dtype=object)
        strings.ravel()[:] = decoded
        return strings
    kinds: dict[str, type] = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float64}
    if array.dtype.kind not in kinds:
        raise TypeError(f"The dataset has no place for arrays of {array.dtype}.")
    return np.ascontiguousarray(array, dtype=kinds[array.dtype.kind])


def array_sha256(array: AnyArray) -> str:
    """sha256 of a canonical array with its kind and shape."""
    digest = hashlib.sha256(json.dumps([array.dtype.kind, array.shape]).encode())
    if array.dtype.kind == "O":
        digest.update(json.dumps(array.tolist()).encode())
    else:
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


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
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the numbers in the file."""
        dtype: np.dtype[np.generic] = self.stored.dtype
        return dtype

    def __len__(self) -> int:
        return len(self.stored)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        return np.asarray(self[()], dtype=dtype)

    def __getitem__(self, key: object) -> Any:
        """The array or a part of it; raises UnreadableFile where the array is not what was written."""
        if self._verified:
            return self.stored[key]
        whole = self.stored[()]
        if array_sha256(canonical(whole)) != self.sha256:
            raise UnreadableFile(
                f"{self.where} is damaged or was edited: its numbers do not give its sha256. Take another copy of the "
                "file, or export it again."
            )
        self._verified = True
        return whole if isinstance(key, tuple) and not key else self.stored[key]

    def digest(self) -> str:
        """sha256 of the array, which is read unless it has been compared before."""
        if self.sha256 is None:
            self.sha256 = array_sha256(canonical(self.stored))
        elif not self._verified:
            self[()]
        return self.sha256
