"""Stage of reference labels: energies and forces of fragments, saved as they come."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.reference_labels import FragmentLabels, backend_of, label_fragments
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.job import Job, Walltime
from aiida_mbetrain.settings import ReferenceLabels

FRAGMENT_INTERVAL_s = 5.0
"""Least time between two saves that outlast a failure of the machine."""

DEFAULT_MEMORY_MB = 4000.0
"""Memory of a program where the job does not say."""

KILLS = 2
"""Kills in the midst of one calculation after which it counts as failed.  The second job began with it: neither what
ran before nor the end of a walltime explains its kill."""

OUT_OF_WALLTIME = "out of walltime"
"""Beginning of the message of a calculation that a whole job did not suffice for."""

KILLED_IN_A_ROW = 3
"""Calculations in a row that were killed, after which those behind them, none of which is smaller, are not tried."""


@dataclass(frozen=True)
class Kills:
    """Traces of jobs that were killed in the midst of a calculation.

    begun: jobs that began the next calculation and did not end it.  in_a_row: calculations given up before it.
    walltime_s: of a job that had nothing but the next calculation to do and came to its end; 0 where there was none.
    """

    begun: int = 0
    in_a_row: int = 0
    walltime_s: float = 0.0


def reference_labels(job: Job) -> dict[str, object]:
    """fragments -> labels by quantum chemistry, and the number of calculations that failed.

    Fragments are tried in order.  Threads and memory are the job's: OMP_NUM_THREADS, as for all programs, and
    MBETRAIN_MEMORY_MB.  The checkpoint says when a calculation begins, so that one that kills its job, most often by
    its memory, is recorded as failed by the job after the next, and the rest goes on.  One that a job begins with and
    that is still running near the end of its walltime is recorded by the next job, unless that has more time.
    """
    settings = ReferenceLabels(**job.settings)
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    memory_MB = float(os.environ.get("MBETRAIN_MEMORY_MB", DEFAULT_MEMORY_MB))
    backend = backend_of(settings.method, threads=threads, memory_MB=memory_MB)
    interval = min(job.checkpoint_interval_s, FRAGMENT_INTERVAL_s)
    timed = replace(job, checkpoint_interval_s=interval)
    checkpoint = CheckpointFile(timed, "reference_labels", settings.to_dict())
    fragments, method = job.inputs["fragments"], settings.method.hash
    done, kills = FragmentLabels.empty(fragments, method), Kills()
    if checkpoint.found is not None:
        done, kills = _found(done, checkpoint.found)
        done, kills = _with_killed(done, kills, memory_MB, threads, job.walltime)
    tried, n_tried = done, _number_of_tried(done)
    first, saving = n_tried, threading.Lock()

    def begin(walltime_s: float = 0.0) -> None:
        """Leave the trace that a kill from here on would leave."""
        if n_tried < len(fragments):
            trace = Kills(kills.begun + 1, kills.in_a_row, walltime_s)
            checkpoint.offer(lambda: _progress(tried, n_tried, trace))
            checkpoint.save(durable=bool(walltime_s))

    def on_fragment(labels: FragmentLabels) -> None:
        nonlocal tried, n_tried, kills
        with saving:
            tried, n_tried, kills = labels, _number_of_tried(labels), Kills()
            checkpoint.offer(lambda: _progress(tried, n_tried, kills))
            if n_tried < len(fragments):
                checkpoint.stop_if_asked()
            begin()

    def at_walltime() -> None:
        """Leave the trace of a calculation that the whole walltime does not suffice for."""
        with saving:
            if n_tried == first and job.walltime is not None:
                begin(job.walltime.max_seconds)

    begin()
    try:
        with _alarm(job.walltime, at_walltime):
            labels = label_fragments(
                fragments, backend, method, done=done, on_fragment=on_fragment, report=job.report, memory_MB=memory_MB
            )
    except BaseException:  # this is no kill
        checkpoint.offer(lambda: _progress(tried, n_tried, kills))
        checkpoint.save()
        raise
    facts = {"n_fragments": len(fragments), "n_failed": len(labels.failures), "programs": list(labels.programs)}
    return {"labels": labels, "summary": facts}


@contextmanager
def _alarm(walltime: Walltime | None, at_end: Callable[[], None]) -> Iterator[None]:
    """Call ``at_end`` near the end of the walltime if the block still runs.

    A thread does so: the main thread is in compiled code, where signals wait until it returns.
    """
    if walltime is None:
        yield
        return
    timer = threading.Timer(max(walltime.seconds_left, 0.0), at_end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _number_of_tried(labels: FragmentLabels) -> int:
    """Fragments with an energy or a failure: the first ones, for they are tried in order."""
    return int(np.count_nonzero(labels.labelled)) + len(labels.failures)


def _with_killed(
    labels: FragmentLabels, kills: Kills, memory_MB: float, threads: int, walltime: Walltime | None
) -> tuple[FragmentLabels, Kills]:
    """Record a failure of the next calculation if it was begun too often, and of all if too many were in a row."""
    row = _number_of_tried(labels)
    if row == len(labels):
        return labels, kills
    if kills.walltime_s:
        if walltime is None or walltime.max_seconds > kills.walltime_s:
            return labels, Kills()
        reason = (
            f"{OUT_OF_WALLTIME}: not finished by a job of its own with max_wallclock_seconds = {kills.walltime_s:g} "
            f"and OMP_NUM_THREADS = {threads}: give its job a longer walltime, or more cores."
        )
    elif kills.begun >= KILLS:
        reason = (
            f"killed {KILLS} times in the midst of the calculation, without a message; the program was given "
            f"{memory_MB:.0f} MB: give its job more memory, or more time."
        )
    else:
        return labels, kills
    new, in_a_row = {row: reason}, kills.in_a_row + 1
    if in_a_row == KILLED_IN_A_ROW:
        reason = f"not tried: {KILLED_IN_A_ROW} calculations before it, none of them larger, were killed."
        new |= dict.fromkeys(range(row + 1, len(labels)), reason)
    return replace(labels, failures={**labels.failures, **new}), Kills(in_a_row=in_a_row)


def _progress(labels: FragmentLabels, n_tried: int, kills: Kills) -> Progress:
    """Labels and failures of the first fragments: they are tried in order, so that these rows only grow."""
    failed = sorted(row for row in labels.failures if row < n_tried)
    rows: dict[str, Sequence[object] | FloatArray] = {
        "energies": labels.energies[:n_tried],
        "forces": labels.forces[: labels.offsets[n_tried]],
        "failed_rows": failed,
        "failure_messages": [labels.failures[row] for row in failed],
    }
    state = {
        "programs": np.array(labels.programs),
        "kills": np.array([kills.begun, kills.in_a_row]),
        "walltime_s": np.array(kills.walltime_s),
    }
    return Progress(rows, state)


def _found(empty: FragmentLabels, found: Progress) -> tuple[FragmentLabels, Kills]:
    """The inverse of ``_progress``; those that were not tried are left without a label."""
    n_tried = len(found.rows.get("energies", ()))
    if n_tried:
        empty.energies[:n_tried] = found.rows["energies"]
        empty.forces[: empty.offsets[n_tried]] = found.rows["forces"]
    failed = zip(found.rows.get("failed_rows", ()), found.rows.get("failure_messages", ()), strict=True)
    failures = {int(row): str(message) for row, message in failed}
    begun, in_a_row = found.state["kills"].tolist()
    kills = Kills(begun, in_a_row, float(found.state["walltime_s"]))
    return replace(empty, failures=failures, programs=tuple(found.state["programs"].tolist())), kills
