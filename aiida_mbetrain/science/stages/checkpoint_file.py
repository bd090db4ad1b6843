"""Finished work of an interrupted stage: when it is saved, and to which job it belongs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from aiida_mbetrain.errors import StoppedEarly, UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.io import array_to_text, load_npz, save_npz, text_to_array
from aiida_mbetrain.science.stages.job import Job

Arrays = Mapping[str, AnyArray]

HOW_IT_IS_EVALUATED = ("device", "kernels", "batch_atoms", "tune_malloc")
"""Inference settings that may change between the pieces of a job."""


class Interval:
    """True once, every so many seconds, counted from the first question."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: float | None = None

    def over(self) -> bool:
        """Return True if the interval has passed since this last was True."""
        now = time.monotonic()
        if self._last is None:
            self._last = now
            return False
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Savings:
    """Finished work of a stage, saved in the checkpoint file of the job at every interval and at its end.

    Without a checkpoint file nothing is saved, and ``found`` is empty.
    """

    def __init__(self, job: Job, stage: str) -> None:
        """Raise UnreadableFile for a checkpoint that is damaged or of another job."""
        self._job = job
        self._path = job.checkpoint
        self._fingerprint = fingerprint(job, stage)
        self._interval = Interval(job.checkpoint_interval_s)
        self._latest: Callable[[], Arrays] | None = None
        self.found: Arrays = {}
        if self._path is not None and self._path.exists():
            self.found = self._load(self._path)

    def _load(self, path: Path) -> Arrays:
        arrays = load_npz(path)
        if "fingerprint" not in arrays or array_to_text(arrays.pop("fingerprint")) != self._fingerprint:
            raise UnreadableFile(
                f"The checkpoint {path} belongs to a job with other inputs, model or settings: continue with the "
                "inputs it was made with, or start anew without it."
            )
        return arrays

    def offer(self, arrays: Callable[[], Arrays]) -> None:
        """Take note of finished work, and save it when the interval is over."""
        self._latest = arrays
        if self._interval.over():
            self.save()

    def save(self) -> None:
        """Write what was offered last."""
        if self._path is not None and self._latest is not None:
            save_npz(self._path, {**self._latest(), "fingerprint": text_to_array(self._fingerprint)})

    def stop_if_asked(self) -> None:
        """Save and raise StoppedEarly where the job has been told to stop."""
        if self._job.should_stop():
            self.save()
            raise stopped()


def stopped() -> StoppedEarly:
    """The error of a stage that was told to stop."""
    return StoppedEarly("The job stopped before its time was over; its checkpoint holds what is done: continue it.")


def fingerprint(job: Job, stage: str) -> str:
    """sha256 of all that decides a stage's result, apart from the machine."""
    inference = {key: value for key, value in job.inference.to_dict().items() if key not in HOW_IT_IS_EVALUATED}
    potential = job.potential.describe()
    record = {
        "stage": stage,
        "settings": dict(job.settings),
        "inference": inference,
        "potential": {key: potential.get(key) for key in ("name", "sha256", "parameters")},
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name in sorted(job.inputs):
        digest.update(name.encode())
        for key, array in sorted(job.inputs[name].to_arrays().items()):
            digest.update(key.encode() + array.tobytes())
    return digest.hexdigest()
