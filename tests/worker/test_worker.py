"""The compute-node program in a process of its own, as a scheduler runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from aiida_mbetrain import demo
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.settings import NamedCalculator
from aiida_mbetrain.worker import codec
from aiida_mbetrain.worker.clock import Clock
from aiida_mbetrain.worker.main import run_and_describe

LENNARD_JONES = {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0}
SUPERCELL = Configurations.from_atoms(bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2))


def md_settings(n_steps: int) -> dict[str, Any]:
    """Molecular dynamics of so many steps that stores every tenth."""
    times = {"time_step_fs": 5.0, "time_total_fs": 5.0 * n_steps, "time_equilibration_fs": 0.0}
    return {"temperature_K": 30.0, "md_crystal": {"sampling_interval_fs": 50.0, **times}}


def write_job(folder: Path, **changes: Any) -> Path:
    """A short molecular dynamics job, with some fields of job.json changed."""
    job = {
        "schema_version": 1,
        "stage": "molecular_dynamics",
        "settings": md_settings(30),
        "inference": {},
        "model": {"kind": "ase", "name": "lennard_jones", "parameters": LENNARD_JONES},
        "inputs": {"supercell": codec.save(folder, "supercell", SUPERCELL)},
        "max_seconds": None,
        "checkpoint": "checkpoint.segments",
        "checkpoint_interval_s": 600.0,
    }
    job |= changes
    (folder / "job.json").write_text(json.dumps({key: value for key, value in job.items() if value is not ...}))
    return folder


def start(folder: Path, **environment: str) -> subprocess.Popen:
    """The program on a folder."""
    command = [sys.executable, "-m", "aiida_mbetrain.worker.main", str(folder)]
    env = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(folder: Path, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, results and standard error of a run."""
    process = start(folder, **environment)
    _, stderr = process.communicate(timeout=120)
    return process.returncode, json.loads((folder / "results.json").read_text()), stderr


def outputs_of(folder: Path) -> dict[str, Any]:
    """The science objects of a finished job."""
    entries = json.loads((folder / "results.json").read_text())["outputs"]
    return {name: codec.load(folder / "outputs", entry) for name, entry in entries.items()}


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """The job of ``write_job`` with 500 steps, in this process and in one go."""
    potential = named_calculator(NamedCalculator(name="lennard_jones", parameters=LENNARD_JONES))
    return STAGES["molecular_dynamics"](Job({"supercell": SUPERCELL}, potential, md_settings(500)))


def assert_equals(folder: Path, expected: dict[str, Any]) -> None:
    outputs = outputs_of(folder)
    assert outputs.keys() == expected.keys()
    for name, value in expected.items():
        for key, array in value.to_arrays().items():
            np.testing.assert_array_equal(outputs[name].to_arrays()[key], array, err_msg=f"{name}.{key}")


def wait_for(condition: Any, process: subprocess.Popen, seconds: float = 60) -> None:
    """Until the condition holds while the program runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_job_writes_results_outputs_and_progress(tmp_path):
    exit_code, results, _ = run(write_job(tmp_path))
    assert exit_code == 0
    assert (results["status"], results["code"]) == ("finished", 0)
    assert results["versions"]["phonopy"]
    assert results["potential"]["device"] == "cpu"
    assert results["peak_memory_bytes"] > 10**7
    assert outputs_of(tmp_path)["trajectory"].n_frames == 3
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["stage"], progress["done"], progress["total"]) == ("molecular_dynamics", 30, 30)
    assert not (tmp_path / "checkpoint.segments").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_no_file_is_pickled(tmp_path):
    run(write_job(tmp_path))
    for path in tmp_path.rglob("*.npz"):
        with np.load(path, allow_pickle=False) as file:
            assert all(array.dtype != object for array in file.values())


def test_program_does_not_import_aiida(tmp_path):
    write_job(tmp_path)
    program = (
        "import sys; sys.modules['aiida'] = None; from aiida_mbetrain.worker.main import main; "
        f"code = main([{str(tmp_path)!r}]); sys.exit(code or any(name.startswith('aiida.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("changes", "names"), [
    ({"stage": "molecular_dynamic"}, "stage"),
    ({"stage": ...}, "stage"),
    ({"max_second": 10}, "max_second"),
    ({"schema_version": 2}, "schema_version"),
    ({"checkpoint_interval_s": 0}, "checkpoint_interval_s"),
    ({"checkpoint": "../checkpoint.segments"}, "checkpoint"),
    ({"settings": {"temperature": 300}}, "temperature"),
    ({"inference": {"devise": "cpu"}}, "devise"),
    ({"model": {"kind": "mace", "file": "m.model"}}, "sha256"),
])  # fmt: skip
def test_job_that_is_not_understood_is_refused_by_field(tmp_path, changes, names):
    results, exit_code = run_and_describe(write_job(tmp_path, **changes))
    assert exit_code == 1
    assert (results["status"], results["code"]) == ("invalid_settings", 201)
    assert names in results["message"]


def test_refusal_is_no_traceback(tmp_path):
    exit_code, results, stderr = run(write_job(tmp_path, stage="molecular_dynamic"))
    assert exit_code == 1
    assert "molecular_dynamics" in results["message"]
    assert "Traceback" not in stderr


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_job_file_that_is_none_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "job.json").write_text(text)
    results, exit_code = run_and_describe(tmp_path)
    assert exit_code == 1
    assert results["code"] in (201, 305)
    assert "job.json" in results["message"]


def test_damaged_input_is_named(tmp_path):
    write_job(tmp_path)
    (tmp_path / "supercell.npz").write_bytes(b"PK")
    results, _ = run_and_describe(tmp_path)
    assert results["status"] == "unreadable_file"
    assert "supercell.npz" in results["message"]


def test_model_file_with_another_sha256_is_not_loaded(tmp_path):
    (tmp_path / "bomb.model").write_bytes(b"cos\nsystem\n(S'touch BOMB'\ntR.")
    digest = hashlib.sha256(demo.model_path().read_bytes()).hexdigest()
    write_job(tmp_path, model={"kind": "mace", "file": "bomb.model", "sha256": digest})
    results, _ = run_and_describe(tmp_path)
    assert results["status"] == "model_hash_mismatch"
    assert not list(tmp_path.glob("BOMB"))


def test_unexpected_error_leaves_a_traceback_and_its_own_status(tmp_path):
    write_job(tmp_path, inputs={"wrong_name": codec.save(tmp_path, "supercell", SUPERCELL)})
    exit_code, results, stderr = run(tmp_path)
    assert exit_code == 70
    assert results["status"] == "unexpected"
    assert "KeyError" in results["message"]
    assert "Traceback" in stderr


def test_terminated_job_continues_to_the_same_arrays(tmp_path, expected):
    """SIGTERM in each of two jobs; the third finishes."""
    write_job(tmp_path, settings=md_settings(500))
    for _ in range(2):
        before = steps_of(tmp_path)
        (tmp_path / "progress.json").unlink(missing_ok=True)
        process = start(tmp_path)
        wait_for(lambda before=before: steps_of(tmp_path) > before, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        results = json.loads((tmp_path / "results.json").read_text())
        assert (results["status"], results["code"]) == ("stopped", 400)
        assert before < steps_of(tmp_path) < 500
    assert run(tmp_path)[1]["status"] == "finished"
    assert_equals(tmp_path, expected)


def test_killed_job_continues_to_the_same_arrays(tmp_path, expected):
    """SIGKILL while checkpoints are being written all the time."""
    write_job(tmp_path, settings=md_settings(500), checkpoint_interval_s=0.05)
    for _ in range(2):
        before = time_of_checkpoint(tmp_path)
        process = start(tmp_path)
        wait_for(lambda before=before: time_of_checkpoint(tmp_path) > before, process)
        process.kill()
        process.wait(timeout=30)
        assert not (tmp_path / "results.json").exists()
    assert run(tmp_path)[1]["status"] == "finished"
    assert_equals(tmp_path, expected)


def time_of_checkpoint(folder: Path) -> int:
    """When the checkpoint was written (ns), 0 where there is none."""
    try:
        return (folder / "checkpoint.segments").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def steps_of(folder: Path) -> int:
    """Steps done, by progress.json, which is there whole or not at all."""
    try:
        return json.loads((folder / "progress.json").read_text())["done"]
    except FileNotFoundError:
        return 0


def test_job_stops_before_its_walltime(tmp_path):
    write_job(tmp_path, settings=md_settings(10**6), max_seconds=12.0)
    begin = time.monotonic()
    exit_code, results, _ = run(tmp_path)
    assert exit_code == 0
    assert results["status"] == "stopped"
    assert 0.9 * 12 < results["total_time_s"] < 12
    assert time.monotonic() - begin < 20
    assert (tmp_path / "checkpoint.segments").exists()


def test_walltime_shorter_than_the_start_is_said(tmp_path):
    write_job(tmp_path, max_seconds=0.5)
    exit_code, results, _ = run(tmp_path)
    assert exit_code == 1
    assert (results["status"], results["code"]) == ("walltime_too_short", 422)
    assert re.match(r"Starting up took \d+ s of max_wallclock_seconds = 0.5", results["message"])


def test_disk_that_is_full_keeps_the_checkpoint_for_the_next_job(tmp_path, expected):
    """The program may write files of 60 kB only, as with a quota: the job stops and the next one goes on."""
    write_job(tmp_path, settings=md_settings(500), checkpoint_interval_s=0.01)
    command = f"ulimit -f 60; exec {sys.executable} -m aiida_mbetrain.worker.main {tmp_path}"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    stopped = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert stopped.returncode == 0, stopped.stderr
    assert (results["status"], results["code"]) == ("disk_full", 411)
    before = steps_of(tmp_path)
    assert 0 < before < 500
    (tmp_path / "progress.json").unlink()
    first = start(tmp_path)
    wait_for(lambda: (tmp_path / "progress.json").exists(), first)
    first.wait(timeout=120)
    assert json.loads((tmp_path / "results.json").read_text())["status"] == "finished"
    assert_equals(tmp_path, expected)


def test_demo_model_runs_with_features(tmp_path):
    model = tmp_path / "demo.model"
    model.write_bytes(demo.model_path().read_bytes())
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    frames = Configurations.from_atoms(demo.crystal())
    write_job(
        tmp_path,
        stage="labels",
        settings={},
        inputs={"frames": codec.save(tmp_path, "frames", frames)},
        model={"kind": "mace", "file": "demo.model", "sha256": digest},
    )
    results, _ = run_and_describe(tmp_path)
    codec.write_json(tmp_path / "results.json", results)
    assert results["potential"]["sha256"] == digest
    labelled = outputs_of(tmp_path)["frames"]
    assert labelled.features.shape[:2] == (1, 22)


def test_a_job_without_walltime_follows_one_whose_walltime_is_over():
    clock = Clock()
    clock.limit(1e-9)
    assert clock.is_over()
    clock.limit(None)
    assert not clock.is_over()
