"""Stopping a job before its walltime is over or on SIGTERM."""

from __future__ import annotations

import signal
import time

SHARE_OF_WALLTIME = 0.95


class Clock:
    """Clock that starts with the program and knows its walltime."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._deadline = float("inf")
        self._told = False

    def limit(self, max_seconds: float | None) -> None:
        """The walltime, counted from the start of the program; None: no limit."""
        self._deadline = float("inf") if max_seconds is None else self._start + SHARE_OF_WALLTIME * max_seconds

    def listen(self) -> None:
        """Stop on SIGTERM, which schedulers send before they kill."""
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self._told = True

    def should_stop(self) -> bool:
        """Return True near the end of the walltime and after SIGTERM."""
        return self._told or self.is_over()

    def is_over(self) -> bool:
        """Return True near the end of the walltime."""
        return time.monotonic() > self._deadline

    @property
    def seconds_left(self) -> float:
        """Until ``is_over``."""
        return self._deadline - time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the start of the program."""
        return time.monotonic() - self._start
