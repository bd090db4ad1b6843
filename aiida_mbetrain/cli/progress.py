"""Progress of in-process stages on the terminal: one bar per stage, with rate and time left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

STAGES = {
    "relaxation": ("Relaxation", "steps"),
    "molecular_dynamics": ("Molecular dynamics", "steps"),
    "force_constants": ("Force constants", "displacements"),
    "phonon_sampling": ("Phonon sampling", "frames"),
    "labels": ("Labels", "atoms"),
}


class _Rate(ProgressColumn):
    """Work done per second, in the stage's own unit."""

    def render(self, task: Task) -> Text:
        """The rate, once known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s", style="cyan", no_wrap=True)


class StageBars:
    """Receives ``(stage, done, total)`` and keeps one bar per run of a stage."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:20}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._running: dict[str, tuple[TaskID, int]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Advance the stage's bar; work that starts again gets a new bar."""
        task, last = self._running.get(stage, (None, -1))
        if task is None or done < last:
            name, unit = STAGES.get(stage, (stage, "steps"))
            task = self._progress.add_task(name, total=total, unit=unit)
        self._progress.update(task, completed=done, total=total)
        self._running[stage] = (task, done)

    def __enter__(self) -> StageBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class StageLines:
    """The same for output that is no terminal: a line when a stage starts and one at every tenth of it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Print where a tenth is passed."""
        tenth = 10 * done // max(total, 1)
        last = self._last.get(stage, -1)
        if tenth != last:
            name, unit = STAGES.get(stage, (stage, "steps"))
            self._console.print(f"{name}: {done:,} of {total:,} {unit}", highlight=False)
            self._last[stage] = tenth

    def __enter__(self) -> StageLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def progress_bars(console: Console) -> Iterator[None]:
    """Show the progress of every in-process stage while the block runs, and warnings but no reports of AiiDA.

    The reports are kept in the profile: ``verdi process report``.
    """
    from aiida_mbetrain.calculations.functions.shared import listening

    display = StageBars(console) if console.is_terminal else StageLines(console)
    with _without_reports(), display as progress, listening(progress):
        yield


@contextmanager
def _without_reports() -> Iterator[None]:
    handlers = [handler for handler in logging.getLogger("aiida").handlers if type(handler) is logging.StreamHandler]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
