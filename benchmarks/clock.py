"""Time of a call, of the model's passes inside it (the floor that nothing can go below), and memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from aiida_mbetrain.science.stages import measured

_now: Callable[[], float] = time.process_time


def use_wall_time() -> None:
    """Measure elapsed time: with several threads their CPU time says nothing about how long a user waits."""
    global _now
    _now = time.perf_counter


def is_wall_time() -> bool:
    """Return True if elapsed time is measured instead of CPU time."""
    return _now is time.perf_counter


def _finish() -> None:
    """Wait for what a CUDA device was told to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], repeat: int = 3) -> float:
    """Smallest time of some calls: the one that the machine disturbed least.  CPU time unless told otherwise."""
    return min(_once(call) for _ in range(repeat))


def _once(call: Callable[[], Any]) -> float:
    start = _now()
    call()
    _finish()
    return _now() - start


class Floor:
    """Counts the time spent inside a model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        _finish()
        start = _now()
        result = self._model(*args, **kwargs)
        _finish()
        self.seconds += _now() - start
        self.calls += 1
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@contextmanager
def floor_of(potential: Any) -> Iterator[Floor]:
    """Count the model passes of a MacePotential while the block runs."""
    model = potential._model
    floor = Floor(model)
    potential._model = floor
    try:
        yield floor
    finally:
        potential._model = model


class Timed(NamedTuple):
    """Seconds of a call, and of the passes of the model in it."""

    total: float
    passes: float
    n_passes: int


def timed(call: Callable[[Any], Any], potential: Any) -> Timed:
    """Of ``call(potential)``."""
    with floor_of(potential) as floor:
        total = seconds(lambda: call(potential), repeat=1)
    return Timed(total, floor.seconds, floor.calls)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log(time) against log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def grown_memory(call: Callable[[], Any]) -> float | None:
    """Peak memory (MB) of a call above that before it; None where the system does not report it."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "malloc_trim"):
        return None
    libc.malloc_trim(0)  # what the heap keeps for later would hide what the call takes
    _, growth = measured(call)
    return None if growth is None else growth.grown / 1e6
