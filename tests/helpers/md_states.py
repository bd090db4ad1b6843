"""Restart states of molecular dynamics runs: after some steps, and in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mbetrain.science.molecular_dynamics import RestartState


class Interrupted(Exception):
    """Ends a run from its ``before_step``."""


def state_after(n_steps: int, run: Callable[..., Any]) -> RestartState:
    """The state of ``run(before_step=...)`` after so many of its steps, which are the only ones it makes."""
    calls: list[RestartState] = []
    asked = iter(range(10**6))

    def before_step(restart_state: Callable[[], RestartState]) -> None:
        if next(asked) == n_steps:
            calls.append(restart_state())
            raise Interrupted

    try:
        run(before_step=before_step)
    except Interrupted:
        return calls[0]
    raise AssertionError(f"the run ended before {n_steps} steps")


def save_state(path: Path, state: RestartState) -> None:
    """Write an npz file."""
    recorded = {f"recorded.{name}": np.array(values) for name, values in state.recorded.items()}
    np.savez(path, allow_pickle=False, **state.to_arrays(), **recorded)


def load_state(path: Path) -> RestartState:
    """Read what ``save_state`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    prefix = "recorded."
    recorded = {key.removeprefix(prefix): arrays.pop(key) for key in list(arrays) if key.startswith(prefix)}
    return RestartState.from_arrays(arrays, recorded)
