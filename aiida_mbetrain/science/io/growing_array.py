"""Array that grows by rows, in memory while it is small and in a file beyond that.

The file has no name, so that it is gone with the last array that was made of it, however the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray

LARGE_BYTES = 16_000_000
"""Size from which arrays lie in files, mapped into memory: a map takes a file descriptor, of which there are some
thousand."""


class GrowingArray(Sequence[AnyArray]):
    """Rows of one shape and type, appended part by part at the cost of the part."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: for the file; None takes that of the system for temporary files."""
        self._folder = folder
        self._parts: list[AnyArray] = []  # not in the file yet
        self._waiting_bytes = 0
        self._file: IO[bytes] | None = None
        self._n_in_file = 0
        self._n_rows = 0

    def __len__(self) -> int:
        return self._n_rows

    def __getitem__(self, rows: int | slice) -> AnyArray:  # type: ignore[override]  # a part of an array is one
        if not isinstance(rows, slice):
            row: AnyArray = self.array()[rows]
            return row
        start, stop, step = rows.indices(self._n_rows)
        if start < self._n_in_file:
            return self.array()[rows]
        first = self._n_rows  # the last rows are asked for at every save: take no others
        parts: list[AnyArray] = []
        for part in reversed(self._parts):
            parts.insert(0, part)
            first -= len(part)
            if first <= start:
                break
        return np.concatenate(parts)[start - first : stop - first : step]

    def append(self, rows: AnyArray) -> None:
        """Add rows at the end.  Raises ValueError for rows of another shape or type; texts may differ in length."""
        if self._parts and (rows.shape[1:], rows.dtype.kind) != (self._parts[0].shape[1:], self._parts[0].dtype.kind):
            raise ValueError(f"Rows of {rows.dtype} {rows.shape[1:]} follow others of {self._parts[0].dtype}.")
        self._parts.append(np.ascontiguousarray(rows))
        self._n_rows += len(rows)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes >= LARGE_BYTES and rows.dtype.kind != "U":
            self._write()

    def truncate(self, n_rows: int) -> None:
        """Keep the first rows alone."""
        if n_rows < self._n_rows:
            kept = self.array()[:n_rows]
            self._file, self._parts = None, []  # a new file: arrays of the old one stay as they are
            self._waiting_bytes = self._n_in_file = self._n_rows = 0
            self.append(kept)

    def array(self) -> AnyArray:
        """All rows so far; read-only, and mapped from the file where there is one.

        Raises ValueError before anything was appended: neither shape nor type of the rows is known.
        """
        if self._file is None:
            self._parts = [np.concatenate(self._parts)]
            whole = self._parts[0].view()
            whole.flags.writeable = False
            return whole
        self._write()
        like = self._parts[0]
        return np.asarray(np.memmap(self._file, like.dtype, "r", shape=(self._n_in_file, *like.shape[1:])))

    def _write(self) -> None:
        """Move all rows to the file; of the parts one without rows is left, for shape and type."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # lives as long as the array
        for part in self._parts:
            self._file.write(part.data if part.size else b"")
        self._file.flush()
        self._parts, self._waiting_bytes, self._n_in_file = [self._parts[0][:0]], 0, self._n_rows


def join_rows(parts: Iterable[AnyArray]) -> AnyArray:
    """One array of parts that follow one another, read-only; a large one is mapped from a file.

    Raises ValueError where there is no part.
    """
    rows = GrowingArray()
    for part in parts:
        rows.append(part)
    return rows.array()
