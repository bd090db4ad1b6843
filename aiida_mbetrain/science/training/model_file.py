"""Files as their bytes: MACE models and what is given to a training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray


@dataclass(frozen=True)
class StoredFile:
    """Content and name of a file."""

    content: bytes
    name: str

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 of the content."""
        return hashlib.sha256(self.content).hexdigest()

    def to_arrays(self) -> dict[str, AnyArray]:
        """Arrays for npz files."""
        return {"content": np.frombuffer(self.content, dtype=np.uint8), "name": np.array(self.name)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(arrays["content"].tobytes(), str(arrays["name"]))


@dataclass(frozen=True)
class ModelFile(StoredFile):
    """Content and name of a MACE model file."""

    name: str = "delta.model"
