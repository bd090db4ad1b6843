"""Inputs and callbacks of a heavy stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Observe, Report, ShouldStop, Warn, ignore, never, silent, unheard
from aiida_mbetrain.settings import Inference


class Walltime(NamedTuple):
    """Time that a scheduler grants.

    max_seconds: all of it.  seconds_left: from now until shortly before its end.
    """

    max_seconds: float
    seconds_left: float


@dataclass(frozen=True)
class Job:
    """Inputs of a stage.

    inputs: science objects by port name.  settings: the stage's own settings as plain data.
    observe: molecular dynamics tells it temperature, volume and energies on the way.
    warn: told what differs from what was asked for, in a result that is good all the same.
    should_stop: where it says True, the stage saves what it has done and raises StoppedEarly.
    walltime: of the job; None where it has no end.
    checkpoint: the stage continues from this file where it exists, and saves to it when it stops and every
        ``checkpoint_interval_s`` seconds; or a function that names the file for the fingerprint of the job.  A stage
        in pieces gives the same numbers as one in one go.
    """

    inputs: Mapping[str, Any]
    potential: Potential
    settings: Mapping[str, object] = field(default_factory=dict)
    inference: Inference = field(default_factory=Inference)
    report: Report = silent
    observe: Observe = ignore
    warn: Warn = unheard
    should_stop: ShouldStop = never
    walltime: Walltime | None = None
    checkpoint: Path | Callable[[str], Path] | None = None
    checkpoint_interval_s: float = 600.0
