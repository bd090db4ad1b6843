"""CPU time of a call, and of the model's passes inside it: the floor that nothing can go below."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def cpu_seconds(call: Callable[[], Any], repeat: int = 3) -> float:
    """Smallest CPU time of some calls: the one that the machine disturbed least."""
    return min(_once(call) for _ in range(repeat))


def _once(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


class Floor:
    """Counts the CPU time spent inside a model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.seconds = 0.0
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = self._model(*args, **kwargs)
        self.seconds += time.process_time() - start
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


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Slope of log(time) against log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
