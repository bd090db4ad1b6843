"""Columns of numbers under field names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray

__all__ = ["Table"]


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns; units are in the names (``time_fs``, ``temperature_K``)."""

    columns: Mapping[str, AnyArray]

    def __getitem__(self, name: str) -> AnyArray:
        return self.columns[name]

    def to_arrays(self) -> dict[str, AnyArray]:
        """The columns as arrays."""
        return {name: np.asarray(column) for name, column in self.columns.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(dict(arrays))
