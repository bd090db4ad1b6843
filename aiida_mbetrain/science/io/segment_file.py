"""File that grows by whole segments: an append costs its own bytes, and a kill leaves all earlier segments readable.

Layout: ``SIGNATURE``, then for each segment its length (8 bytes, big-endian), its digest and its bytes.  The digest
is the sha256 of the digest before it and the bytes, so that it also holds the order of the segments.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from aiida_mbetrain.errors import UnreadableFile

SIGNATURE = b"mbetrain segments 1\n"
LENGTH = struct.Struct(">Q")
DIGEST_BYTES = hashlib.sha256().digest_size


class SegmentFile:
    """Segments of bytes in one file, in the order in which they were appended.

    A segment that a kill has left incomplete is ignored, and overwritten by the next append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._end: int | None = None  # of the last whole segment; None until the file has been read
        self._digest = b""

    def read(self) -> Iterator[bytes]:
        """Every whole segment, none where the file does not exist.

        Raises UnreadableFile for a file of another format, or one that the operating system does not let us read.
        """
        self._end, self._digest = 0, b""
        if not self.path.exists():
            return
        try:
            with self.path.open("rb") as file:
                signature = file.read(len(SIGNATURE))
                if not SIGNATURE.startswith(signature):
                    raise UnreadableFile(f"{self.path} is not a checkpoint of this version: start anew without it.")
                if signature == SIGNATURE:
                    self._end = len(SIGNATURE)
                while len(head := file.read(LENGTH.size + DIGEST_BYTES)) == LENGTH.size + DIGEST_BYTES:
                    length, digest = LENGTH.unpack_from(head)[0], head[LENGTH.size :]
                    if length > os.fstat(file.fileno()).st_size - file.tell():
                        return
                    segment = file.read(length)
                    if self._digest_with(segment) != digest:
                        return
                    self._end, self._digest = file.tell(), digest
                    yield segment
        except OSError as error:
            raise UnreadableFile(f"{self.path} cannot be read ({error}): start anew without it.") from error

    def append(self, segment: bytes, *, durable: bool = True) -> None:
        """Write a segment and wait until it is on the disk.

        durable: False where it has to survive this process, but not a failure of the machine; costs less.
        """
        if self._end is None:
            deque(self.read(), maxlen=0)
        digest = self._digest_with(segment)
        # opened without truncation: the segments before stay as they are on the disk whatever happens from here on
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666), "wb") as file:
            file.truncate(self._end)
            file.seek(self._end or 0)
            file.write(b"" if self._end else SIGNATURE)
            file.write(LENGTH.pack(len(segment)) + digest)
            file.write(segment)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            self._end, self._digest = file.tell(), digest

    def _digest_with(self, segment: bytes) -> bytes:
        digest = hashlib.sha256(self._digest)
        digest.update(segment)
        return digest.digest()
