"""Stage of reference labels: energies and forces of fragments, saved as they come."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.reference_labels import FragmentLabels, backend_of, label_fragments
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.settings import ReferenceLabels

FRAGMENT_INTERVAL_s = 5.0
"""Least time between two saves of reference labels: a kill loses one long calculation, or some short ones."""

DEFAULT_MEMORY_MB = 4000.0
"""Memory of a program where the job does not say."""


def reference_labels(job: Job) -> dict[str, object]:
    """fragments -> labels by quantum chemistry, and the number of calculations that failed.

    Threads and memory are the job's: OMP_NUM_THREADS, as for all programs, and MBETRAIN_MEMORY_MB.
    """
    settings = ReferenceLabels(**job.settings)
    backend = backend_of(
        settings.method,
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
        memory_MB=float(os.environ.get("MBETRAIN_MEMORY_MB", DEFAULT_MEMORY_MB)),
    )
    interval = min(job.checkpoint_interval_s, FRAGMENT_INTERVAL_s)
    timed = replace(job, checkpoint_interval_s=interval)
    checkpoint = CheckpointFile(timed, "reference_labels", settings.to_dict())
    fragments, method = job.inputs["fragments"], settings.method.hash
    done = FragmentLabels.empty(fragments, method)
    if checkpoint.found is not None:
        done = _found(done, checkpoint.found)

    def on_fragment(labels: FragmentLabels) -> None:
        n_tried = int(np.count_nonzero(labels.labelled)) + len(labels.failures)
        checkpoint.offer(lambda: _progress(labels, n_tried))
        if n_tried < len(fragments):
            checkpoint.stop_if_asked()

    labels = label_fragments(fragments, backend, method, done=done, on_fragment=on_fragment, report=job.report)
    facts = {"n_fragments": len(fragments), "n_failed": len(labels.failures), "programs": list(labels.programs)}
    return {"labels": labels, "summary": facts}


def _progress(labels: FragmentLabels, n_tried: int) -> Progress:
    """Labels and failures of the first fragments: they are tried in order, so that these rows only grow."""
    failed = sorted(labels.failures)
    rows: dict[str, Sequence[object] | FloatArray] = {
        "energies": labels.energies[:n_tried],
        "forces": labels.forces[: labels.offsets[n_tried]],
        "failed_rows": failed,
        "failure_messages": [labels.failures[row] for row in failed],
    }
    return Progress(rows, {"programs": np.array(labels.programs)})


def _found(empty: FragmentLabels, found: Progress) -> FragmentLabels:
    """The inverse of ``_progress``; those that were not tried are left without a label."""
    empty.energies[: len(found.rows["energies"])] = found.rows["energies"]
    empty.forces[: len(found.rows["forces"])] = found.rows["forces"]
    failed = zip(found.rows.get("failed_rows", ()), found.rows.get("failure_messages", ()), strict=True)
    failures = {int(row): str(message) for row, message in failed}
    return replace(empty, failures=failures, programs=tuple(found.state["programs"].tolist()))
