"""Progress of in-process stages on the terminal: one bar per stage, with rate and time left."""

from __future__ import annotations

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


@contextmanager
def progress_bars(console: Console) -> Iterator[None]:
    """Show the progress of every in-process stage while the block runs."""
    from aiida_mbetrain.calculations.functions.shared import listening

    with StageBars(console) as bars, listening(bars):
        yield
