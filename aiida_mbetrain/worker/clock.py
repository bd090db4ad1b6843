"""When a job must stop: before its walltime is over, or when the scheduler says so."""

from __future__ import annotations

import signal
import time

SHARE_OF_WALLTIME = 0.95


class Clock:
    """Starts with the program; True from ``should_stop`` near the end of the walltime and after SIGTERM."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._deadline = float("inf")
        self._told = False

    def limit(self, max_seconds: float | None) -> None:
        """The walltime, counted from the start of the program."""
        if max_seconds is not None:
            self._deadline = self._start + SHARE_OF_WALLTIME * max_seconds

    def listen(self) -> None:
        """Take SIGTERM, which schedulers send before they kill, as the wish to stop."""
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self._told = True

    def should_stop(self) -> bool:
        """Whether to save and stop."""
        return self._told or time.monotonic() > self._deadline

    @property
    def seconds(self) -> float:
        """Since the start of the program."""
        return time.monotonic() - self._start
