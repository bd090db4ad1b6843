"""A MACE model as the bytes of its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray


@dataclass(frozen=True)
class ModelFile:
    """Content and name of a MACE model file."""

    content: bytes
    name: str = "delta.model"

    def to_arrays(self) -> dict[str, AnyArray]:
        """Arrays for npz files."""
        return {"content": np.frombuffer(self.content, dtype=np.uint8), "name": np.array(self.name)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(arrays["content"].tobytes(), str(arrays["name"]))
