"""A code on this machine, and the comparison of a job's nodes with those of the same stage in process."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.links import LinkType

SLEEP_s = 40.0
SLOW = {"PYTHONPATH": str(Path(__file__).parent / "slow_worker"), "SECONDS_OF_SLEEP": str(SLEEP_s)}
"""Environment of a job that is to be interrupted: its stage takes so much longer."""


def worker_path() -> str:
    """The program of this environment."""
    found = shutil.which("mbetrain-worker", path=str(Path(sys.executable).parent))
    assert found is not None
    return found


def local_code(folder: Path) -> orm.InstalledCode:
    """mbetrain-worker started directly on this machine."""
    computer = orm.Computer(
        label=f"localhost-{folder.name}",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.direct",
        workdir=str(folder / "work"),
    ).store()
    computer.configure(use_login_shell=False, safe_interval=0)
    computer.set_minimum_job_poll_interval(0)
    computer.set_default_mpiprocs_per_machine(1)
    return orm.InstalledCode(computer=computer, filepath_executable=worker_path(), label="mbetrain").store()


def jobs_of(node: orm.ProcessNode) -> list[orm.CalcJobNode]:
    """The jobs below a process, in order."""
    return sorted((job for job in node.called_descendants if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)


def process_of(node: orm.ProcessNode, stage: str) -> orm.ProcessNode:
    """The process below that did a stage, by the label of its call: a calcfunction, or a chain of jobs."""
    calls = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    (found,) = (
        child
        for child in node.called_descendants
        if child.base.links.get_incoming(link_type=calls).one().link_label == stage
    )
    return found


def walltime_for(node: orm.ProcessNode, parts: int, *, slept_s: float = 0.0) -> int:
    """A walltime (s) for starting and one of so many parts of the work of a stage that was not interrupted.

    slept_s: what the work takes longer in the jobs that have this walltime.
    """
    spent = node.outputs.run_info
    starting = spent["total_time_s"] - spent["wall_time_s"] + spent["load_time_s"]
    return math.ceil(1.3 * starting + (spent["wall_time_s"] - spent["load_time_s"] + slept_s) / parts)


def interrupted(again: Callable[[int], orm.ProcessNode], jobs: Callable[[orm.ProcessNode], int]) -> orm.ProcessNode:
    """What ``again`` runs with its work cut into so many parts by walltimes, once it took three ``jobs`` or more.

    Machines run the same work at different speeds from one minute to the next, so smaller parts are tried in turn.
    """
    for parts in (8, 12, 16):
        node = again(parts)
        if jobs(node) >= 3:
            return node
    raise AssertionError(f"{node} is too little work to be interrupted twice")


def content_of(node: orm.Data) -> dict[str, Any]:
    """Everything a node says, as arrays."""
    if isinstance(node, orm.ArrayData):
        return {name: node.get_array(name) for name in node.get_arraynames()}
    return {name: np.array(str(value)) for name, value in node.base.attributes.all.items()}


def assert_same_outputs(process: orm.ProcessNode, other: orm.ProcessNode, *, ignoring: tuple[str, ...] = ()) -> None:
    """Same labels, same node types, equal arrays."""
    outputs, others = (data_outputs(node, ignoring) for node in (process, other))
    assert outputs.keys() == others.keys()
    for label, node in outputs.items():
        assert type(node) is type(others[label]), label
        arrays, other_arrays = content_of(node), content_of(others[label])
        assert arrays.keys() == other_arrays.keys(), label
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, other_arrays[name], err_msg=f"{label}.{name}")


def data_outputs(process: orm.ProcessNode, ignoring: tuple[str, ...] = ()) -> dict[str, orm.Data]:
    """Output nodes by label, but for those that describe the run itself."""
    ignored = {"run_info", "remote_folder", "retrieved", *ignoring}
    links = process.base.links.get_outgoing(node_class=orm.Data).all()
    return {link.link_label: link.node for link in links if link.link_label not in ignored}
