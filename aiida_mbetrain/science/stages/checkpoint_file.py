"""Checkpoint file of a job: its progress, saved at intervals and when the job stops, and found again by the next job.

A save appends the rows that are new since the last one, and the state as it is now.  It costs nothing for what was
saved before, and a kill during a save leaves the one before it.  Many rows are spread over several segments, so that a
save takes little memory; all but the last of them are marked and count for nothing without it.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiida_mbetrain.errors import StoppedEarly, UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io import LARGE_BYTES, GrowingArray, SegmentFile, npz_bytes
from aiida_mbetrain.science.stages.fingerprint import fingerprint
from aiida_mbetrain.science.stages.job import Job

UNFINISHED, CONTINUED = "unfinished", "continued"
"""Names of arrays in a segment that others of the same save follow, and in one that follows others."""


class Timer:
    """Timer that fires every ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def fires(self) -> bool:
        """Return True if an interval has passed since this last was True."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


@dataclass(frozen=True)
class Progress:
    """Finished work of a stage, as much as it takes to continue.

    rows: sequences that only grow, by name; each is saved row by row, once.
    state: arrays that change, by name; saved whole every time, so they should be small.
    """

    rows: Mapping[str, Sequence[Any] | AnyArray] = field(default_factory=dict)
    state: Mapping[str, AnyArray] = field(default_factory=dict)


class CheckpointFile:
    """Progress of a job in the file ``job.checkpoint``; without one nothing is saved.

    found: progress of an earlier job, to continue from; None where there is none.  Large arrays are mapped from files.
    folder: of the file, for others that a job needs for a time; None without a checkpoint.
    """

    def __init__(self, job: Job, stage: str, settings: Mapping[str, object]) -> None:
        """settings: those that decide the stage's numbers, see :func:`.fingerprint.fingerprint`.

        Raises UnreadableFile for a file that is no checkpoint, or the checkpoint of another job.
        """
        self._should_stop = job.should_stop
        self._timer = Timer(job.checkpoint_interval_s)
        self._latest: Callable[[], Progress] | None = None
        digest = fingerprint(job, stage, settings)
        path = job.checkpoint(digest) if callable(job.checkpoint) else job.checkpoint
        self.folder = None if path is None else path.parent
        self._file = None if path is None else SegmentFile(path)
        self._fingerprint = digest.encode()
        self._begun = False
        self.found = self._read()
        self._n_saved = defaultdict[str, int](int)
        self._state: Mapping[str, AnyArray] | None = None
        if self.found is not None:
            self._n_saved.update({name: len(rows) for name, rows in self.found.rows.items()})
            self._state = self.found.state

    def offer(self, progress: Callable[[], Progress]) -> None:
        """Take note of finished work; it is asked for, and saved, when the interval is over or the job stops."""
        self._latest = progress
        if self._timer.fires():
            self.save()

    def save(self, *, durable: bool = True) -> None:
        """Append what was offered last and is not in the file yet.

        durable: False where it has to survive this process, but not a failure of the machine.
        """
        if self._file is None or self._latest is None:
            return
        progress = self._latest()
        new = any(len(rows) > self._n_saved[name] for name, rows in progress.rows.items())
        if not new and _same(progress.state, self._state or {}):
            return  # so that the file of a job without progress stays the same, which is how a loop of such jobs ends
        if not self._begun:
            self._file.append(self._fingerprint, durable=durable)
            self._begun = True
        arrays: dict[str, AnyArray] = {}
        for name, rows in progress.rows.items():
            for first, block in _blocks(rows, self._n_saved[name]):
                arrays[f"rows.{name}.{first}"] = block
                if sum(array.nbytes for array in arrays.values()) >= LARGE_BYTES:
                    self._file.append(npz_bytes(arrays | {UNFINISHED: np.array(True)}), durable=False)
                    arrays = {CONTINUED: np.array(True)}
        state = {f"state.{name}": value for name, value in progress.state.items()}
        self._file.append(npz_bytes(arrays | state), durable=durable)
        self._n_saved.update({name: len(rows) for name, rows in progress.rows.items()})
        self._state = progress.state

    def forget_rows(self, n_kept: int) -> None:
        """Let the next save replace all but the first rows of every sequence."""
        self._n_saved.update({name: min(n_kept, n_saved) for name, n_saved in self._n_saved.items()})

    def stop_if_asked(self) -> None:
        """Save and raise StoppedEarly where the job has been told to stop."""
        if self._should_stop():
            self.save()
            raise StoppedEarly(
                "The job stopped before its time was over; its checkpoint holds what is done: continue it."
            )

    def _read(self) -> Progress | None:
        segments = iter(()) if self._file is None else self._file.read()
        found = next(segments, None)
        if found is None:
            return None
        self._begun = True
        if found != self._fingerprint:
            assert self._file is not None
            raise UnreadableFile(
                f"The checkpoint {self._file.path} belongs to a job with other inputs, model or settings: continue "
                "with those it was made with, or start anew without it."
            )
        rows, new = (defaultdict[str, GrowingArray](lambda: GrowingArray(self.folder)) for _ in range(2))
        n_before: dict[str, int] = {}
        state: dict[str, AnyArray] | None = None
        for segment in segments:
            latest = {}
            with np.load(io.BytesIO(segment), allow_pickle=False) as arrays:
                finished = UNFINISHED not in arrays.files
                if CONTINUED not in arrays.files:  # what a kill has left of the save before counts for nothing
                    new.clear()
                    n_before.clear()
                for key in arrays.files:
                    kind, _, name = key.partition(".")
                    if kind == "state":
                        latest[name] = arrays[key]
                    elif kind == "rows":
                        name, _, first = name.rpartition(".")
                        n_before.setdefault(name, int(first))
                        new[name].append(arrays[key])
            if not finished:
                continue
            state = latest
            for name, values in new.items():
                rows[name].truncate(n_before[name])
                rows[name].append(values.array())
        if state is None:
            return None
        return Progress({name: values.array() for name, values in rows.items()}, state)


def _blocks(rows: Sequence[Any] | AnyArray, first: int) -> Iterator[tuple[int, AnyArray]]:
    """The rows from ``first`` on, some at a time, each with the number of rows before it."""
    if first < len(rows):
        new = np.asarray(rows[first:])  # a view where they lie in a file
        step = max(1, LARGE_BYTES * len(new) // max(1, new.nbytes))
        for start in range(0, len(new), step):
            yield first + start, new[start : start + step]


def _same(these: Mapping[str, AnyArray], those: Mapping[str, AnyArray]) -> bool:
    return these.keys() == those.keys() and all(np.array_equal(these[name], those[name]) for name in these)
