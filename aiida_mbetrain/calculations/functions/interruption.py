"""Ctrl-C and SIGTERM during work in this process: noted at any moment, acted on where nothing is lost.

AiiDA installs handlers of its own for every process that it runs, which kill it wherever it is, in the middle of a
write to the database too.  Where a whole run is under our control the signals are therefore blocked, and one thread
waits for them; elsewhere, in a script of the user, a handler is installed for the time of each stage.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aiida_mbetrain.science.progress import ShouldStop, never

SIGNALS = (signal.SIGINT, signal.SIGTERM)
POLL_s = 0.2
STATUS_OF_INTERRUPT = 130
SHOW_CURSOR = "\x1b[?25h"


class Interruption:
    """Signals of a run.

    requested: whether the run was told to stop.
    running: whether there is work that has to stop in order; before and after it a signal ends the program at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.running = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="signals", daemon=True)

    def start(self) -> None:
        """Begin to wait; the signals have to be blocked in every thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop waiting."""
        self._closed.set()
        self._thread.join()

    def _wait(self) -> None:
        while not self._closed.is_set():
            if not signal.sigpending() & set(SIGNALS):  # macOS has no sigtimedwait
                self._closed.wait(POLL_s)
                continue
            signal.sigwait(SIGNALS)
            if not self.running:
                _leave("Stopped before anything was computed.")
            if self.requested:
                _leave("Stopped at once; `aiida-mbetrain run --continue PK` goes on from the last checkpoint.")
            self.requested = True


_active: list[Interruption] = []


def current() -> Interruption | None:
    """The run that waits for signals in this process, if there is one."""
    return _active[-1] if _active else None


def requested() -> bool:
    """Return True if the run in this process was told to stop."""
    return bool(_active) and _active[-1].requested


@contextmanager
def signals_deferred() -> Iterator[Interruption]:
    """Let a thread wait for Ctrl-C and SIGTERM inside the block, which has to begin before any other thread does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    interruption = Interruption()
    interruption.start()
    _active.append(interruption)
    try:
        yield interruption
    finally:
        _active.remove(interruption)
        interruption.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_on_signal(*, in_daemon: bool) -> Iterator[ShouldStop]:
    """Yield a function that returns True after Ctrl-C or SIGTERM; a second Ctrl-C interrupts at once.

    AiiDA's own handler only notifies the event loop, which waits for the stage; in the daemon, which handles its
    signals itself, the function always returns False.
    """
    if _active:
        yield requested
        return
    if in_daemon or threading.current_thread() is not threading.main_thread():
        yield never
        return
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = [signal.signal(number, stop) for number in SIGNALS]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _leave(message: str) -> None:
    """End the program without waiting for what it does; files are only ever renamed into place or appended to."""
    overwrite = f"\r{SHOW_CURSOR}" if sys.stderr.isatty() else ""
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{overwrite}{message}\n".encode())
    os._exit(STATUS_OF_INTERRUPT)
