"""File object that postpones write errors until HDF5 has closed it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class GuardedFile(io.FileIO):
    """File for HDF5 to write to that remembers the first write error instead of raising it.

    HDF5 does not survive a failing write: it cannot close the file any more, and crashes at the end of the process.
    Here all data after the first error are discarded, HDF5 closes the file normally, and :meth:`check` raises
    the error.
    """

    error: OSError | None = None

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of the data; FileIO may write less."""
        view = memoryview(data).cast("B")
        size = len(view)

        def write_all(rest: memoryview = view) -> None:
            while len(rest):
                rest = rest[super(GuardedFile, self).write(rest) :]

        self._guard(write_all)
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the size; HDF5 does so at the end."""
        self._guard(lambda: super(GuardedFile, self).truncate(size))
        return self.tell() if size is None else size

    def _guard(self, action: Callable[[], object]) -> None:
        if self.error is None:
            try:
                action()
            except OSError as error:
                self.error = error
