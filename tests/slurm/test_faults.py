"""Jobs under fire, on a real SLURM: cancelled, too short, without disk, and one fault after the other."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import submit
from aiida.engine.daemon.client import get_daemon_client
from argon import LENNARD_JONES
from ase.build import bulk
from job_runs import assert_same_outputs, jobs_of
from slurm_session import OPTIONS, shell, wait_until

from aiida_mbetrain.settings import Inference
from aiida_mbetrain.workflows.heavy_stages import HEAVY

pytestmark = [pytest.mark.slurm, pytest.mark.daemon, pytest.mark.long]

SLOW_IMPORT = """
import pathlib, sysconfig, time
time.sleep({seconds})
exec(compile((pathlib.Path(sysconfig.get_path("stdlib")) / "argparse.py").read_text(), "argparse.py", "exec"))
"""
"""In the place of a module that the worker imports once its clock runs."""


def dynamics(n_steps: int) -> dict[str, Any]:
    """Molecular dynamics of argon that takes as long as one likes."""
    times = {"time_step_fs": 5.0, "time_total_fs": 5.0 * n_steps, "time_equilibration_fs": 0.0}
    settings = {"temperature_K": 20.0, "md_crystal": {"sampling_interval_fs": 100.0, **times}}
    return {
        "supercell": orm.StructureData(ase=bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2)),
        "settings": orm.Dict(settings),
        "model": orm.Dict(LENNARD_JONES),
        "inference": orm.Dict(Inference(device="cpu").to_dict()),
    }


def submitted(inputs: dict[str, Any], code: orm.Code, given: dict[str, Any] | None = None, **options: Any) -> Any:
    """The dynamics as jobs that save every second."""
    metadata = {"options": {**OPTIONS, "checkpoint_interval_seconds": 1, **options}}
    calculation = {"code": code, **inputs, "metadata": metadata}
    return submit(HEAVY["molecular_dynamics"].job, calculation=calculation, **(given or {}))


def in_process(inputs: dict[str, Any]) -> orm.ProcessNode:
    """The dynamics in this process, in one go."""
    _, node = HEAVY["molecular_dynamics"].function.run_get_node(**inputs)
    assert node.is_finished_ok, node.exit_message
    return node


def ended(node: orm.ProcessNode, seconds: float = 900) -> orm.ProcessNode:
    wait_until(lambda: node.is_terminated, seconds=seconds, what=f"{node} is {node.process_state}")
    return node


def state_of(job: orm.CalcJobNode) -> str:
    return shell("squeue", "--noheader", f"--jobs={job.get_job_id()}", "--states=all", "--format=%T").strip()


def saving_job(node: orm.ProcessNode) -> orm.CalcJobNode:
    """The last job of a chain, once it runs and has gone on from where it began."""

    def found() -> orm.CalcJobNode | None:
        jobs = jobs_of(node)
        if not jobs or jobs[-1].is_terminated or not jobs[-1].get_job_id() or state_of(jobs[-1]) != "RUNNING":
            return None
        folder = Path(jobs[-1].get_remote_workdir())
        checkpoint, begun = folder / "checkpoint.segments", (folder / "job.json").stat().st_mtime
        return jobs[-1] if checkpoint.exists() and checkpoint.stat().st_mtime > begun + 1 else None

    return wait_until(lambda: node.is_terminated or found(), seconds=300, what=f"no job of {node} saves")


def test_cancelled_job_is_not_started_again_unless_asked(code):
    inputs = dynamics(1500)
    nodes = submitted(inputs, code), submitted(inputs, code, {"continue_cancelled": orm.Bool(True)})
    for node in nodes:
        shell("scancel", str(saving_job(node).get_job_id()))
    alone, continued = (ended(node) for node in nodes)
    assert [job.exit_status for job in jobs_of(alone)] == [421]
    assert alone.exit_status == 421
    assert "was cancelled in the queue" in alone.exit_message
    assert "checkpoint" in jobs_of(alone)[0].outputs
    assert [job.exit_status for job in jobs_of(continued)] == [421, 0]
    assert_same_outputs(in_process(inputs), continued)


def test_walltime_of_40_s_that_is_shorter_than_the_start_is_said_after_one_job(code, tmp_path):
    (tmp_path / "argparse.py").write_text(SLOW_IMPORT.format(seconds=39))
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    node = submitted(dynamics(100), code, max_wallclock_seconds=40, environment_variables={"PYTHONPATH": path})
    ended(node)
    assert [job.exit_status for job in jobs_of(node)] == [422]
    assert re.search(r"Starting up took \d+ s of max_wallclock_seconds = 40", node.exit_message)


def test_disk_that_is_full_in_the_work_directory_is_continued_in_another_job(code, tmp_path):
    """The first job may write files of 60 kB only; later ones as much as they like."""
    inputs, done = dynamics(2000), tmp_path / "done"
    limit = f"test -e {done} || {{ touch {done}; ulimit -f 60; }}"
    node = ended(submitted(inputs, code, prepend_text=limit))
    assert [job.exit_status for job in jobs_of(node)] == [411, 0]
    assert_same_outputs(in_process(inputs), node)


N_FAULTS = 20


def test_twenty_random_faults_end_in_the_arrays_of_the_undisturbed_run(code):
    """Killed workers, drained and lost nodes, killed daemon workers, purged scratch, in a random order (seeded)."""
    inputs, generator = dynamics(15000), random.Random(15)
    faults: list[Callable[[orm.CalcJobNode], None]] = [kill_worker, drain, lose_node, kill_daemon_worker, purge]
    order = [generator.choice(faults) for _ in range(N_FAULTS)]
    node = submitted(inputs, code)
    made = []
    for fault in order:
        job = saving_job(node)
        if node.is_terminated:
            break
        fault(job)
        made.append(fault.__name__)
    ended(node, 1800)
    assert node.is_finished_ok, f"{made}: {node.exit_status} {node.exit_message}"
    assert len(made) >= N_FAULTS // 2, f"too little work for {N_FAULTS} faults: {made}"
    assert_same_outputs(in_process(inputs), node)


def kill_worker(job: orm.CalcJobNode) -> None:
    """SIGKILL, as a machine that runs out of memory or power does."""
    folder = Path(job.get_remote_workdir())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = (
                process.joinpath("cwd").resolve() == folder and b"mbetrain-worker" in (process / "cmdline").read_bytes()
            )
        except OSError:
            continue
        if ours:
            os.kill(int(process.name), signal.SIGKILL)
    wait_until(lambda: job.is_terminated, what=f"{job} goes on")


def drain(job: orm.CalcJobNode) -> None:
    """The node takes no new job for a moment, and the one on it is killed."""
    set_node("drain")
    kill_worker(job)
    resume_node()


def lose_node(job: orm.CalcJobNode) -> None:
    """The node is down, and SLURM ends what ran on it."""
    set_node("down")
    wait_until(lambda: state_of(job) != "RUNNING", what="job runs on a node that is down")
    resume_node()
    wait_until(lambda: job.is_terminated, what=f"{job} goes on")


def kill_daemon_worker(job: orm.CalcJobNode) -> None:
    """The daemon starts another worker, which takes up what the first one waited for."""
    workers = get_daemon_client().get_worker_info()["info"]
    for pid in workers:
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: set(get_daemon_client().get_worker_info().get("info", {})) - set(workers), what="no new worker")
    time.sleep(5)


def purge(job: orm.CalcJobNode) -> None:
    """The scratch is deleted while the job runs."""
    shutil.rmtree(job.get_remote_workdir())
    wait_until(lambda: job.is_terminated, what=f"{job} goes on")


def node(form: str) -> str:
    """Of the one node, by sinfo's format: %N its name, %T its state."""
    return shell("sinfo", "--noheader", "--Node", f"--format={form}").split()[0].lower()


def set_node(state: str) -> None:
    shell("scontrol", "update", f"nodename={node('%N')}", f"state={state}", "reason=test")


def resume_node() -> None:
    """Let the node take jobs again; one that is down may have come back by itself, and cannot be resumed then."""

    def takes_jobs() -> bool:
        if not re.search("drain|down", node("%T")):
            return True
        subprocess.run(["scontrol", "update", f"nodename={node('%N')}", "state=resume"], check=False)
        return False

    wait_until(takes_jobs, what="the node takes no jobs")


@pytest.fixture(autouse=True)
def node_takes_jobs_afterwards(daemon):
    """Whatever a test did to the node."""
    yield
    resume_node()
