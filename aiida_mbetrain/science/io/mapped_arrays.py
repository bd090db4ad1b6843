"""Arrays of npy files, the large ones mapped into memory instead of read."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io.growing_array import LARGE_BYTES

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Readers of the header by version of the format; only names of fields in other alphabets need a later one."""


def read_npy(stream: IO[bytes], folder: Path | None = None) -> AnyArray:
    """Array of an npy file, open at its beginning; a large one is read-only.

    folder: for an unnamed copy of a large array whose stream is no file of the operating system, such as a member of an
    archive; None takes that for temporary files.
    Raises ValueError for anything but an npy file of numbers or texts.
    """
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"the version {version} of the npy format is none of {', '.join(map(str, HEADERS))}")
    shape, fortran_order, dtype = HEADERS[version](stream)
    start = stream.tell()
    stream.seek(0)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize < LARGE_BYTES:
        array: AnyArray = np.lib.format.read_array(stream, allow_pickle=False)
        return array
    file = stream if isinstance(stream, io.BufferedReader) else _copy(stream, folder)
    return np.asarray(np.memmap(file, dtype, "r", start, shape, "F" if fortran_order else "C"))


def _copy(stream: IO[bytes], folder: Path | None) -> IO[bytes]:
    """An unnamed file, which is gone with the last map of it."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # the map keeps it open
    shutil.copyfileobj(stream, file, 1 << 20)
    file.flush()
    return file
