"""Science objects stored as ArrayData nodes."""

from __future__ import annotations

import io
import math
import tempfile
from typing import Any, ClassVar, Self

import numpy as np
from aiida import orm

from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io import LARGE_BYTES, npz_bytes, read_npy

LARGEST_ITEM_BYTES = 8
"""Of a number."""
SMALL_ARRAYS = "small_arrays.npz"
SMALL_BYTES = 1_000_000
"""Arrays below this size share a file."""


def array_of(node: orm.ArrayData, name: str) -> AnyArray:
    """Array of a node; a large one is mapped from its file in the repository, or from a copy where that is packed."""
    if math.prod(node.get_shape(name)) * LARGEST_ITEM_BYTES < LARGE_BYTES:
        array: AnyArray = type(node).get_array(node, name)  # of the class, for a trajectory has this as its own
        return array
    with node.base.repository.open(f"{name}.npy", "rb") as stream:
        return read_npy(stream)


def put_array(node: orm.ArrayData, name: str, array: AnyArray) -> None:
    """Set an array of an unstored node; a large one is copied from file to file, which ``set_array`` does in memory."""
    if array.nbytes < LARGE_BYTES:
        type(node).set_array(node, name, array)
        return
    with tempfile.TemporaryFile() as file:
        np.save(file, array, allow_pickle=False)
        file.seek(0)
        node.base.repository.put_object_from_filelike(file, f"{name}.npy")  # type: ignore[arg-type]  # any file will do
    node.base.attributes.set(f"{node.array_prefix}{name}", list(array.shape))


class ScienceArrayData(orm.ArrayData):
    """Base of the nodes of one science object: arrays in the repository, scalar facts as attributes.

    Small arrays share one file, ``small_arrays.npz``: AiiDA looks every file of a node up and hashes it several times.
    """

    science_class: ClassVar[Any]
    _read: dict[str, AnyArray] | None = None

    @classmethod
    def from_science(cls, value: Any) -> Self:
        """An unstored node of the object."""
        node, small = cls(), {}
        for name, array in value.to_arrays().items():
            if array.nbytes < SMALL_BYTES:
                small[name] = array
                node.base.attributes.set(f"{cls.array_prefix}{name}", list(array.shape))
            else:
                put_array(node, name, array)
        if small:
            node.base.repository.put_object_from_bytes(npz_bytes(small), SMALL_ARRAYS)
        node.base.attributes.set_many(cls.facts(value))
        return node

    def to_science(self) -> Any:
        """The science object of the node."""
        return self.science_class.from_arrays(self.all_arrays())

    def all_arrays(self) -> dict[str, AnyArray]:
        """All arrays; large ones are mapped."""
        small = self._small_arrays()
        return {name: small[name] if name in small else array_of(self, name) for name in self.get_arraynames()}

    def get_array(self, name: str | None = None) -> AnyArray:
        """An array; the name may be left out where there is only one.  Raises KeyError, ValueError."""
        names = self.get_arraynames()
        chosen = names[0] if name is None and len(names) == 1 else name
        small = {} if chosen is None else self._small_arrays()
        return small[chosen] if chosen in small else super().get_array(chosen)

    def _small_arrays(self) -> dict[str, AnyArray]:
        """Read once from a stored node."""
        if SMALL_ARRAYS not in self.base.repository.list_object_names():
            return {}
        if not self.is_stored:
            return self._read_small_arrays()
        if self._read is None:
            self._read = self._read_small_arrays()
        return self._read

    def _read_small_arrays(self) -> dict[str, AnyArray]:
        content = self.base.repository.get_object_content(SMALL_ARRAYS, "rb")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file)

    def _arraynames_from_files(self) -> list[str]:
        """For the check of a node before it is stored."""
        return [*super()._arraynames_from_files(), *self._small_arrays()]

    @classmethod
    def facts(cls, value: Any) -> dict[str, object]:
        """Attributes for queries."""
        return {}
