"""Monitors, called by AiiDA while a job runs."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from aiida import orm
from aiida.engine.processes.calcjobs.monitors import CalcJobMonitorResult
from aiida.transports import Transport

from aiida_mbetrain.settings import JsonObject
from aiida_mbetrain.worker.job_file import PROGRESS_FILE

UNSTABLE = "unstable dynamics"


def read_progress(node: orm.CalcJobNode, transport: Transport) -> JsonObject | None:
    """Read the progress.json of a running job through an open transport; None before the job has written one."""
    remote = Path(node.get_remote_workdir() or "/nonexistent") / PROGRESS_FILE
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / PROGRESS_FILE
        try:
            transport.getfile(str(remote), str(local))
            progress: JsonObject = json.loads(local.read_text("utf-8"))
            return progress
        except (OSError, ValueError):
            return None


def stability(
    node: orm.CalcJobNode,
    transport: Transport,
    temperature_K: list[float] | None = None,
    volume_A3: list[float] | None = None,
) -> CalcJobMonitorResult | None:
    """Stop molecular dynamics when the temperature or the volume leaves its window (low, high).

    Complements the stability check of the worker with windows that are set when the job is launched.
    """
    progress = read_progress(node, transport) or {}
    for quantity, window in {"temperature_K": temperature_K, "volume_A3": volume_A3}.items():
        value = progress.get(quantity)
        if window is not None and value is not None and not window[0] <= value <= window[1]:
            return CalcJobMonitorResult(
                message=f"{quantity} = {value:g} at step {progress['done']} is outside {window}: {UNSTABLE}."
            )
    return None


def is_unstable(message: str) -> bool:
    """Return True if a monitor's message is that of :func:`stability`."""
    return UNSTABLE in message
