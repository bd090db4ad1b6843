"""Full disks and exceeded quotas as a named error."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from aiida_mbetrain.errors import DiskFull

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No space left on the device, disk quota exceeded, limit on the size of a file exceeded."""


@contextmanager
def naming_full_disk() -> Iterator[None]:
    """Raise DiskFull for an error of the operating system that says that there is no room for a file."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise DiskFull(
            f"A checkpoint or result did not fit on the disk{where}: {error.strerror}. The last checkpoint is kept: "
            "make room, and continue."
        ) from error
