"""Arrays in npz files: never pickled, and renamed into place, so that a kill leaves the old file whole."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io.mapped_arrays import read_npy


def save_npz(path: str | Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write the arrays under a temporary name beside ``path`` and rename the file."""
    path = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_npz(path: str | Path) -> dict[str, AnyArray]:
    """The arrays of a file; a large one is mapped from an unnamed copy beside it, and read-only.

    Raises UnreadableFile when the file is missing, damaged, or holds pickles.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    arrays[name.removesuffix(".npy")] = read_npy(member, Path(path).parent)
        return arrays
    except Exception as error:  # zipfile and numpy raise anything from NotImplementedError to zlib.error
        raise UnreadableFile(f"{path} is not a readable file of arrays ({error}): write it anew.") from error


def npz_bytes(arrays: Mapping[str, AnyArray]) -> bytes:
    """Content of an npz file, for a part of another file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def text_to_array(text: str) -> NDArray[np.uint8]:
    """UTF-8 bytes, which need no pickle."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_to_text(array: AnyArray) -> str:
    """The inverse of :func:`text_to_array`."""
    return array.tobytes().decode()
