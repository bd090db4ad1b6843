"""Progress of a job: the file ``progress.json``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from aiida_mbetrain.worker.codec import write_json


class ProgressFile:
    """Progress file, written at most once a second and renamed into place.

    Fields: stage, done and total (in the stage's own unit), rate (1/s, of this job, None at first), time (of
    writing, s since 1970), and what the stage observes, such as temperature_K and volume_A3.
    """

    def __init__(self, path: Path, stage: str, *, every_s: float = 1.0) -> None:
        self._path, self._every = path, every_s
        self._values: dict[str, object] = {"stage": stage, "done": 0, "total": 0, "rate": None}
        self._first: tuple[float, int] | None = None
        self._written = float("-inf")

    def report(self, done: int, total: int) -> None:
        """Note the state of the work, and write it if the last time is long enough ago."""
        now = time.monotonic()
        if self._first is None or done < self._first[1]:
            self._first = now, done
        start, before = self._first
        rate = (done - before) / (now - start) if done > before and now > start else None
        self._values |= {"done": done, "total": total, "rate": rate}
        if now - self._written >= self._every:
            self.write()

    def observe(self, values: Mapping[str, float]) -> None:
        """Note finite quantities, to be written with the next report."""
        self._values |= {name: value for name, value in values.items() if math.isfinite(value)}

    def write(self) -> None:
        """Write the file."""
        self._written = time.monotonic()
        write_json(self._path, self._values | {"time": time.time()})
