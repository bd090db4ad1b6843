"""Science objects stored as ArrayData nodes."""

from __future__ import annotations

import math
import tempfile
from typing import Any, ClassVar, Self

import numpy as np
from aiida import orm

from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io import LARGE_BYTES, read_npy

LARGEST_ITEM_BYTES = 8
"""Of a number."""


def array_of(node: orm.ArrayData, name: str) -> AnyArray:
    """Array of a node; a large one is mapped from its file in the repository, or from a copy where that is packed."""
    if math.prod(node.get_shape(name)) * LARGEST_ITEM_BYTES < LARGE_BYTES:
        return node.get_array(name)
    with node.base.repository.open(f"{name}.npy", "rb") as stream:
        return read_npy(stream)


def put_array(node: orm.ArrayData, name: str, array: AnyArray) -> None:
    """Set an array of an unstored node; a large one is copied from file to file, which ``set_array`` does in memory."""
    if array.nbytes < LARGE_BYTES:
        node.set_array(name, array)
        return
    with tempfile.TemporaryFile() as file:
        np.save(file, array, allow_pickle=False)
        file.seek(0)
        node.base.repository.put_object_from_filelike(file, f"{name}.npy")  # type: ignore[arg-type]  # any file will do
    node.base.attributes.set(f"{node.array_prefix}{name}", list(array.shape))


class ScienceArrayData(orm.ArrayData):
    """Base of the nodes of one science object: arrays in the repository, scalar facts as attributes."""

    science_class: ClassVar[Any]

    @classmethod
    def from_science(cls, value: Any) -> Self:
        """An unstored node of the object."""
        node = cls()
        for name, array in value.to_arrays().items():
            put_array(node, name, array)
        node.base.attributes.set_many(cls.facts(value))
        return node

    def to_science(self) -> Any:
        """The science object of the node."""
        return self.science_class.from_arrays({name: array_of(self, name) for name in self.get_arraynames()})

    @classmethod
    def facts(cls, value: Any) -> dict[str, object]:
        """Attributes for queries."""
        return {}
