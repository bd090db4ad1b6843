"""Progress of in-process stages on the terminal: one bar per stage, with rate and time left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
    "md_replicas": ("Dynamics of replicas", "steps"),
    "force_constants": ("Force constants", "supercells"),
    "phonon_sampling": ("Phonon sampling", "q-points"),
    "labels": ("Labels", "atoms"),
    "reference_labels": ("Reference labels", "fragments"),
    "training": ("Training", "epochs"),
    "evaluation": ("Evaluation", "atoms"),
    "isolated_molecule": ("Isolated molecule", "steps"),
}


class _Rate(ProgressColumn):
    """Column with the work done per second, in the unit of the stage."""

    def render(self, task: Task) -> Text:
        """The rate, once known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s", style="cyan", no_wrap=True)


class StageBars:
    """Progress bars fed with ``(stage, done, total)``, one for each run of a stage.

    clock: seconds, of which only differences count.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = Progress(
            TextColumn("{task.description:20}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            get_time=clock,
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


@dataclass
class _Run:
    """One run of a stage: time (s) and progress at its start, at the last report and at the last line."""

    began: float
    first: int
    done: int
    tenth: int = -1


class StageLines:
    """The same for output that is not a terminal: one line at the start of a stage and one at every tenth.

    clock: seconds, of which only differences count.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._running: dict[str, _Run] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Print a line when a tenth is passed; work that starts again is timed anew."""
        run = self._running.get(stage)
        if run is None or done < run.done:
            run = self._running[stage] = _Run(self._clock(), done, done)
        run.done = done
        tenth = 10 * done // max(total, 1)
        if tenth != run.tenth:
            run.tenth = tenth
            self._console.print(self._line(stage, run, total), highlight=False, soft_wrap=True)

    def _line(self, stage: str, run: _Run, total: int) -> str:
        name, unit = STAGES.get(stage, (stage, "steps"))
        line = f"{name}: {run.done:,} of {total:,} {unit}"
        seconds = self._clock() - run.began
        if run.done == run.first or seconds <= 0:
            return line
        rate = (run.done - run.first) / seconds
        left = f"{duration((total - run.done) / rate)} left" if run.done < total else f"took {duration(seconds)}"
        return f"{line}, {rate:,.1f} {unit}/s, {left}"

    def __enter__(self) -> StageLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def duration(seconds: float) -> str:
    """Hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


@contextmanager
def progress_bars(console: Console) -> Iterator[None]:
    """Show the progress of every in-process stage inside the block, and of AiiDA the warnings but not the reports.

    The reports are kept in the profile: ``verdi process report``.
    """
    from aiida_mbetrain.calculations.functions.in_process import listening

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
