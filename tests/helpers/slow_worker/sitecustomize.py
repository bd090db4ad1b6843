"""Imported by any Python that finds this folder on its PYTHONPATH: ``mbetrain-worker`` sleeps while it works.

A whole stage takes SECONDS_OF_SLEEP longer, spread over its reports of progress: time to interrupt it that costs no
computing and is the same on every machine.
"""

from __future__ import annotations

import os
import time

from aiida_mbetrain.worker.progress_file import ProgressFile

report = ProgressFile.report


def report_slowly(self: ProgressFile, done: int, total: int) -> None:
    """Sleep for the work since the last report of this job, and report."""
    before = self._values["done"] if self._first else done  # a job that continues begins with what others have done
    assert isinstance(before, int)
    time.sleep(float(os.environ["SECONDS_OF_SLEEP"]) * max(done - before, 0) / total)
    report(self, done, total)


ProgressFile.report = report_slowly  # type: ignore[method-assign]
