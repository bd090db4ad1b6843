"""Facts about a run that only its profile knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Call:
    """A process of the run and those it called.

    seconds: between creation and last change.
    """

    label: str
    pk: int
    state: str
    failed: bool
    seconds: float | None = None
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class RunFacts:
    """The process behind a dataset.

    failure: exit message where it failed; empty otherwise.
    stage_seconds: wall time by stage.  repository_bytes: files and arrays that the run stored.
    """

    call: Call
    failure: str = ""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    repository_bytes: int | None = None
