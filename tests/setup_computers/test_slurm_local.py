"""The local SLURM behaves as a cluster does: GPUs are counted, limits are enforced, AiiDA reads the reasons."""

from __future__ import annotations

import subprocess
import time

import pytest
from computer_setups import SLURM_LOCAL, SLURM_LOCAL_SSH

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm")]
OPTIONS = str(SLURM_LOCAL.files["options"])


def submit_and_wait(*arguments: str, command: str) -> str:
    """Run a job, return its state in the accounting."""
    sbatch = ["sbatch", "--parsable", "--wait", "--output=/dev/null", *arguments, "--wrap", command]
    process = subprocess.run(sbatch, capture_output=True, text=True, check=False, timeout=300)
    return read_accounting(process.stdout.split(";")[0].strip(), "State")


def read_accounting(job: str, field: str) -> str:
    """A field of the finished job; the record follows the job's end by a moment."""
    for _ in range(50):
        record = subprocess.run(
            ["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={job}", f"--format=State,{field}"],
            capture_output=True,
            text=True,
            check=True,
        )
        state, _, value = record.stdout.strip().partition("|")
        if state not in ("", "PENDING", "RUNNING", "COMPLETING"):
            return value
        time.sleep(0.2)
    raise AssertionError(f"job {job} is not in the accounting: {record.stdout}")


def run_with_aiida(ask_verdi, setup, **changed_options):
    """1 + 2 on the computer of the files, with the options file of this SLURM."""
    requests = setup.requests()
    job = ["run_job", setup.label, OPTIONS, {"max_memory_kb": 102400, **changed_options}]
    return ask_verdi(requests["computer"], requests["configure"], job)[-1]


def test_job_gets_the_gpu_it_asks_for():
    state = submit_and_wait(
        *["--mem=50", "--gpus-per-node=1", "--constraint=h100", "--partition=tesla"],
        command='test "$CUDA_VISIBLE_DEVICES" = 0',
    )
    assert state == "COMPLETED"


def test_more_gpus_than_there_are_is_refused():
    process = subprocess.run(
        ["sbatch", "--test-only", "--mem=50", "--gpus-per-node=1000", "--wrap", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode != 0
    assert "Requested node configuration is not available" in process.stderr


def test_job_over_its_memory_ends_out_of_memory(ask_verdi):
    answer = run_with_aiida(ask_verdi, SLURM_LOCAL, prepend_text="python3 -c 'bytearray(300 << 20)'")
    assert answer["exit_status"] == 110, answer  # ERROR_SCHEDULER_OUT_OF_MEMORY


@pytest.mark.slow
def test_job_over_its_time_ends_timeout():
    # SLURM rounds limits up to minutes
    assert submit_and_wait("--mem=50", "--time=1", command="sleep 300") == "TIMEOUT"


def test_aiida_runs_a_job(ask_verdi):
    answer = run_with_aiida(ask_verdi, SLURM_LOCAL)
    assert (answer["exit_status"], answer["sum"]) == (0, 3), answer


@pytest.mark.usefixtures("sshd")
def test_aiida_runs_a_job_over_ssh(ask_verdi):
    answer = run_with_aiida(ask_verdi, SLURM_LOCAL_SSH)
    assert (answer["exit_status"], answer["sum"]) == (0, 3), answer


@pytest.mark.usefixtures("sshd")
@pytest.mark.parametrize("setup", [SLURM_LOCAL, SLURM_LOCAL_SSH], ids=lambda setup: setup.label)
def test_verdi_computer_test_succeeds(ask_verdi, setup):
    requests = setup.requests()
    answer = ask_verdi(requests["computer"], requests["configure"], ["verdi", "computer", "test", setup.label])[-1]
    assert answer["exit_code"] == 0, answer["output"]
    assert "succeeded" in answer["output"]
