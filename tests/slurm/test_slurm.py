"""The heavy stages as jobs of a real SLURM, submitted through a real daemon, with everything that can go wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import ProcessBuilder, run_get_node, submit
from aiida.manage import get_manager
from argon import LENNARD_JONES, argon_atoms, argon_settings
from ase.build import bulk
from job_runs import SLOW, SLEEP_s, assert_same_outputs, interrupted, jobs_of, process_of, walltime_for
from slurm_session import BIN, OPTIONS, shell, verdi, wait_until

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.demo import crystal, model_path
from aiida_mbetrain.settings import Inference
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

pytestmark = [pytest.mark.slurm, pytest.mark.daemon]

DEMO: dict[str, Any] = {
    "md_sampling": {
        "finite_subsystem_filter": {"n_molecules": [1, 2]},
        "md_crystal": {
            "ensemble": "NPT",
            "time_total_fs": 100.0,
            "time_equilibration_fs": 20.0,
            "sampling_interval_fs": 10.0,
            "time_step_fs": 0.5,
            "supercell_radius": 5.0,
        },
    },
    "quasi_harmonic": {
        "thermal_expansion": False,
        "supercell_radius": 6.0,
        "symmetrize_unit_cell": False,
        "fourier_interpolation_mesh": [2, 2, 2],
        "max_force_on_atom": 1.0,
    },
    "phonon_sampling": {"finite_subsystem_filter": {"n_molecules": [1, 2]}, "n_frames": 2},
    "inference": {"device": "cpu"},
}
"""200 steps of dynamics and, of a crystal without symmetry, 132 displacements of 176 atoms, 11 of them at once."""
SLOWLY = OPTIONS | {"environment_variables": OPTIONS["environment_variables"] | SLOW}
"""Options of jobs that are to be interrupted."""
LONG_STAGES = {"md_sampling": "molecular_dynamics", "quasi_harmonic": "force_constants"}


def finished(node: orm.ProcessNode, seconds: float = 900) -> orm.ProcessNode:
    """The node, once its process has ended well."""
    wait_until(lambda: node.is_terminated, seconds=seconds, what=f"{node} is {node.process_state}")
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}\n{verdi('process', 'report', str(node.pk))}"
    return node


def running_job(node: orm.ProcessNode, number: int, stage: str = "") -> orm.CalcJobNode:
    """The job of that number (from 1) of a chain or, of a stage, of a whole training set, once SLURM runs it."""

    def jobs() -> list[orm.CalcJobNode]:
        return [job for job in jobs_of(node) if job.process_type.endswith(stage)]

    wait_until(lambda: len(jobs()) >= number, what=f"job {number} of {node}")
    job = jobs()[number - 1]
    wait_until(job.get_job_id, what=f"{job} is not submitted")
    wait_until(lambda: state_of(job) == "RUNNING", what=f"{job} does not run")
    return job


def state_of(job: orm.CalcJobNode) -> str:
    """State in the queue; empty when it is not there any more."""
    return shell("squeue", "--noheader", f"--jobs={job.get_job_id()}", "--states=all", "--format=%T").strip()


def queue() -> str:
    """All jobs that are pending, running or ending."""
    return shell("squeue", "--noheader")


def workers_of(job: orm.CalcJobNode) -> list[int]:
    """Process ids of the worker of a running job, found by the job's folder."""
    folder = Path(job.get_remote_workdir())
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").resolve() == folder and b"mbetrain-worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def has_checkpoint(job: orm.CalcJobNode, *, newer_than: float = 0.0) -> bool:
    """Whether the worker has saved something of its own."""
    path = Path(job.get_remote_workdir()) / "checkpoint.segments"
    return path.exists() and path.stat().st_mtime > newer_than


def goes_on(job: orm.CalcJobNode) -> bool:
    """Whether the worker has said how fast it is."""
    path = Path(job.get_remote_workdir()) / "progress.json"
    return path.exists() and json.loads(path.read_text())["rate"] is not None


def dataset_bytes(node: orm.WorkChainNode, path: Path) -> bytes:
    """The HDF5 file of a training set without the uuids of the run."""
    write_dataset(path, dataset_of(stage_nodes(stages_of(node))), provenance=False)
    return path.read_bytes()


def argon_dynamics(n_steps: int) -> dict[str, Any]:
    """Molecular dynamics of argon that takes as long as one likes."""
    times = {"time_step_fs": 5.0, "time_total_fs": 5.0 * n_steps, "time_equilibration_fs": 0.0}
    settings = {"temperature_K": 20.0, "md_crystal": {"sampling_interval_fs": 100.0, **times}}
    supercell = orm.StructureData(ase=bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2))
    return {"supercell": supercell, "settings": orm.Dict(settings), "model": orm.Dict(LENNARD_JONES)}


def in_process(stage: str, inputs: dict[str, Any]) -> orm.ProcessNode:
    """The stage in this process, in one go."""
    _, node = HEAVY[stage].function.run_get_node(**inputs)
    assert node.is_finished_ok, node.exit_message
    return node


def submit_stage(stage: str, inputs: dict[str, Any], code: orm.Code, **options: Any) -> orm.WorkChainNode:
    """The stage as jobs."""
    metadata = {"options": {**OPTIONS, **options}}
    return submit(HEAVY[stage].job, calculation={"code": code, **inputs, "metadata": metadata})


def on_cpu(inputs: dict[str, Any]) -> dict[str, Any]:
    return {**inputs, "inference": orm.Dict(Inference(device="cpu").to_dict())}


@pytest.fixture(scope="module")
def demo_force_constants(daemon) -> dict[str, Any]:
    """Inputs of the force constants of the demo crystal with the demo model."""
    settings = {"supercell_radius": 10.0, "symmetrize_unit_cell": False, "thermal_expansion": False}
    model = MaceModelData.get_or_create(model_path())
    structure = orm.StructureData(ase=crystal())
    return on_cpu({"structure": structure, "settings": orm.Dict(settings), "model": model})


@pytest.fixture(scope="module")
def force_constants_in_process(demo_force_constants) -> orm.ProcessNode:
    """What every job must give."""
    return in_process("force_constants", demo_force_constants)


@pytest.fixture(scope="module")
def in_this_process(daemon) -> orm.WorkChainNode:
    """The training set of the demo crystal and model that all the others must equal."""
    _, node = run_get_node(demo_builder())
    assert node.is_finished_ok, node.exit_message
    return node


def assert_same_training_sets(node: orm.WorkChainNode, expected: orm.WorkChainNode, folder: Path) -> None:
    """Equal files, and equal nodes of the long stages, which hold more than the file."""
    assert dataset_bytes(node, folder / "found.hdf5") == dataset_bytes(expected, folder / "expected.hdf5")
    for stage in LONG_STAGES.values():
        assert_same_outputs(process_of(expected, stage), process_of(node, stage))


def demo_builder(**given: Any) -> ProcessBuilder:
    """The main job on the demo crystal, its atoms a little displaced, and the demo model."""
    atoms = crystal()
    atoms.rattle(0.02, seed=1)
    structure, model = orm.StructureData(ase=atoms), MaceModelData.get_or_create(model_path())
    return TrainingSetWorkChain.get_builder_from_protocol(structure, model, protocol="fast", overrides=DEMO, **given)


def jobs_of_stage(node: orm.ProcessNode, stage: str) -> list[orm.CalcJobNode]:
    """The jobs of one stage of a training set, in order."""
    return [job for job in jobs_of(node) if job.process_type.endswith(stage)]


def test_training_set_in_one_job_per_stage_or_in_three_equals_the_one_made_in_process(code, in_this_process, tmp_path):
    """With walltimes so short that dynamics and force constants each need three jobs or more."""
    in_one_job = finished(submit(demo_builder(code=code, options=OPTIONS)))
    assert len(jobs_of(in_one_job)) == 5
    assert_same_training_sets(in_one_job, in_this_process, tmp_path)

    def again(parts: int) -> orm.WorkChainNode:
        builder = demo_builder(code=code, options=OPTIONS)
        for section, stage in LONG_STAGES.items():
            (job,) = jobs_of_stage(in_one_job, stage)
            builder[section][stage].metadata.options = SLOWLY | {
                "max_wallclock_seconds": walltime_for(job, parts, slept_s=SLEEP_s)
            }
        return finished(submit(builder))

    node = interrupted(again, lambda node: min(len(jobs_of_stage(node, stage)) for stage in LONG_STAGES.values()))
    for stage in LONG_STAGES.values():
        assert {job.exit_status for job in jobs_of_stage(node, stage)[:-1]} == {400}
    assert_same_training_sets(node, in_this_process, tmp_path)


def test_training_set_survives_everything_at_once(code, in_this_process, tmp_path):
    """The worker of each long stage killed twice, the node drained, the daemon stopped, the scratch of jobs deleted."""
    builder = demo_builder(code=code, options=OPTIONS)
    for section, stage in LONG_STAGES.items():
        builder[section][stage].metadata.options = SLOWLY | {"checkpoint_interval_seconds": 1}
    node = submit(builder)
    first = running_job(node, 1, "molecular_dynamics")
    wait_until(lambda: has_checkpoint(first))
    verdi("daemon", "stop")
    kill_worker(first)
    drain()
    verdi("daemon", "start")
    get_manager().reset_broker()  # the daemon took the broker with it that this process was connected to
    get_manager().reset_runner()
    wait_until(lambda: first.is_terminated)
    wait_until(lambda: len(jobs_of_stage(node, "molecular_dynamics")) == 2)
    second = jobs_of_stage(node, "molecular_dynamics")[1]
    wait_until(second.get_job_id)
    assert state_of(second) == "PENDING"
    for job in jobs_of(node):
        if job.is_terminated:
            shutil.rmtree(job.get_remote_workdir())
    resume()

    killed = {"molecular_dynamics": [first], "force_constants": []}
    wait_until(
        lambda: min(kill_when_it_has_saved(node, *jobs) for jobs in killed.items()) == 2 or node.is_terminated,
        seconds=900,
        what=f"killed {killed}",
    )
    assert [len(jobs) for jobs in killed.values()] == [2, 2]
    finished(node)
    for stage in LONG_STAGES.values():
        jobs = jobs_of_stage(node, stage)
        assert [job.exit_status for job in jobs] == [310, 310, 0]
        assert jobs[2].inputs.checkpoint.uuid == jobs[1].outputs.checkpoint.uuid
    assert_same_training_sets(node, in_this_process, tmp_path)


def kill_when_it_has_saved(node: orm.ProcessNode, stage: str, killed: list[orm.CalcJobNode]) -> int:
    """Kill the worker of the stage's last job if that job has gone on from where it began; how many were killed.

    Not more than two, and the scratch of those that ended is deleted.
    """
    jobs = jobs_of_stage(node, stage)
    if len(killed) < 2 and len(jobs) > len(killed) and jobs[-1].get_job_id() and state_of(jobs[-1]) == "RUNNING":
        begun = (Path(jobs[-1].get_remote_workdir()) / "job.json").stat().st_mtime
        if has_checkpoint(jobs[-1], newer_than=begun + 1):
            kill_worker(jobs[-1])
            killed.append(jobs[-1])
    for job in killed:
        if job.is_terminated and Path(job.get_remote_workdir()).exists():
            shutil.rmtree(job.get_remote_workdir())
    return len(killed)


def kill_worker(job: orm.CalcJobNode) -> None:
    """SIGKILL, as a machine that runs out of memory or power does."""
    for pid in wait_until(lambda: workers_of(job), seconds=30, what=f"no worker of {job}"):
        os.kill(pid, signal.SIGKILL)


def drain() -> None:
    """Let the node take no new job."""
    shell("scontrol", "update", f"nodename={node_name()}", "state=drain", "reason=test")


def resume() -> None:
    """Let the node take jobs again."""
    shell("scontrol", "update", f"nodename={node_name()}", "state=resume")


def node_name() -> str:
    """The one node of this SLURM."""
    return shell("sinfo", "--noheader", "--Node", "--format=%N").split()[0]


@pytest.fixture(autouse=True)
def node_takes_jobs_afterwards(daemon):
    """Whatever a test did to the node."""
    yield
    if "drain" in shell("sinfo", "--noheader", "--Node", "--format=%T").lower():
        resume()


def test_preempted_dynamics_is_continued(code):
    """SLURM sends SIGTERM, as before a preemption; the worker saves what it has and the next job goes on."""
    inputs = on_cpu(argon_dynamics(500))
    metadata = {"options": SLOWLY}
    node = submit(
        HEAVY["molecular_dynamics"].job,
        calculation={"code": code, **inputs, "metadata": metadata},
        continue_cancelled=orm.Bool(True),  # without accounting, this SLURM does not tell a signal from a cancellation
    )
    first = running_job(node, 1)
    wait_until(lambda: goes_on(first), what="no progress")
    shell("scancel", "--full", "--signal=TERM", str(first.get_job_id()))
    expected = in_process("molecular_dynamics", inputs)
    finished(node)
    assert [job.exit_status for job in jobs_of(node)] == [421, 0]
    assert_same_outputs(expected, node)


def test_job_killed_for_its_memory_is_repeated_with_smaller_batches(
    code, demo_force_constants, force_constants_in_process, tmp_path
):
    """Something in the first job takes more than it may; the second finds it already done."""
    done = tmp_path / "done"
    hog = f"test -e {done} || {{ touch {done}; {sys.executable} -c 'bytearray(1 << 30)' || exit; }}"
    node = finished(
        submit_stage("force_constants", demo_force_constants, code, prepend_text=hog, max_memory_kb=800 * 1024)
    )
    first, second = jobs_of(node)
    assert first.exit_status == StageCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY.status
    assert second.inputs.inference.get_dict()["batch_atoms"] == 128
    assert_same_outputs(force_constants_in_process, node)


def test_job_that_asks_for_a_gpu_has_the_directives(code):
    node = submit_stage("molecular_dynamics", on_cpu(argon_dynamics(100000)), code)
    job = running_job(node, 1)
    record = shell("scontrol", "show", "job", str(job.get_job_id()))
    for directive in ("Partition=tesla", "Features=h100", "gres:gpu:1", "TimeLimit=00:30:00", "NumCPUs=1"):
        assert directive in record, record
    wait_until(lambda: goes_on(job), what="no progress")
    lines = progress_lines(node)
    assert "iteration_01" in lines[0]
    assert "left" in lines[0]
    assert " K, " in lines[0]
    verdi("process", "kill", str(node.pk))
    wait_until(lambda: state_of(job) not in ("PENDING", "RUNNING", "COMPLETING"))


def progress_lines(node: orm.ProcessNode) -> list[str]:
    """Lines of ``aiida-mbetrain status`` about a running job that say how fast it is."""
    tree = shell("env", "COLUMNS=300", str(BIN / "aiida-mbetrain"), "status", str(node.pk))
    return [line for line in tree.splitlines() if "steps/s" in line]


def test_killed_training_set_leaves_no_job(code):
    argon = orm.StructureData(ase=argon_atoms())
    overrides = argon_settings(md_sampling={"md_crystal": {"time_total_fs": 1e6}})
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        argon, orm.Dict(LENNARD_JONES), code=code, options=OPTIONS, protocol="fast", overrides=overrides
    )
    node = submit(builder)
    job = running_job(node, 1, "molecular_dynamics")
    worker = wait_until(lambda: workers_of(job))
    verdi("process", "kill", str(node.pk))
    wait_until(lambda: node.is_terminated)
    assert node.is_killed
    assert job.is_killed
    assert all(other.is_terminated for other in jobs_of(node))
    wait_until(lambda: not queue(), what=queue())
    assert not [pid for pid in worker if Path(f"/proc/{pid}").exists()]


def test_job_over_ssh_gives_the_same_arrays(code_over_ssh, demo_force_constants, force_constants_in_process):
    """The demo model's file and the outputs travel through core.ssh_async."""
    node = finished(submit_stage("force_constants", demo_force_constants, code_over_ssh))
    assert_same_outputs(force_constants_in_process, node)
