"""Training jobs of the compute-node program that are killed: MACE's process dies too, and the next job goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from labelled_frames import labelled_frames
from models import save_random_mace

from aiida_mbetrain.science.io import SegmentFile
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.science.training import ModelFile
from aiida_mbetrain.settings import Inference, Training
from aiida_mbetrain.worker import codec

N_EPOCHS = 5


def write_finetuning(folder: Path) -> Path:
    """A fine-tuning with replay whose checkpoint is written whenever there is a new one."""
    cpu = Inference(device="cpu")
    small = {"elements": (6, 8), "num_interactions": 1, "channels": 2}
    baseline = save_random_mace(folder / "baseline.model", **small)
    difference = save_random_mace(folder / "difference.model", seed=3, **small)
    model = ModelFile(baseline.read_bytes(), baseline.name)
    frames = labelled_frames(load_mace(difference, cpu), sizes=(1,), baseline=(load_mace(baseline, cpu), model.sha256))
    settings = Training(kind="finetune_replay", max_num_epochs=N_EPOCHS, device="cpu", default_dtype="float64")
    job = {
        "schema_version": 1,
        "stage": "training",
        "settings": settings.to_dict(),
        "inference": {},
        "model": None,
        "inputs": {
            "frames": codec.save(folder, "frames", frames),
            "foundation": codec.save(folder, "foundation", model),
        },
        "max_seconds": None,
        "checkpoint": "checkpoint.segments",
        "checkpoint_interval_s": 0.01,
    }
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "aiida_mbetrain.worker.main", str(folder)]
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})


def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def epochs_of(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "progress.json").read_text())["done"])
    except FileNotFoundError:
        return None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a child that dies with its parent is a service of Linux")
def test_a_finetuning_that_is_killed_goes_on_from_the_checkpoint_of_mace(tmp_path):
    process = start(write_finetuning(tmp_path))
    checkpoint = SegmentFile(tmp_path / "checkpoint.segments")
    wait_for(lambda: next(checkpoint.read(), None) or process.poll() is not None)  # a whole segment, not half of one
    assert process.poll() is None
    trainers = psutil.Process(process.pid).children()
    process.kill()
    process.wait(timeout=30)
    assert trainers
    _, alive = psutil.wait_procs(trainers, timeout=30)
    assert not alive
    assert not (tmp_path / "results.json").exists()
    (tmp_path / "progress.json").unlink(missing_ok=True)

    process = start(tmp_path)
    seen: list[int | None] = []
    wait_for(lambda: seen.append(epochs_of(tmp_path)) or process.poll() is not None)
    assert min(done for done in seen if done is not None) > 0  # a training from the beginning reports 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["status"] == "finished", results["message"]
    outputs = {name: codec.load(tmp_path / "outputs", entry) for name, entry in results["outputs"].items()}
    np.testing.assert_array_equal(outputs["history"]["epoch"], np.arange(N_EPOCHS))
    assert outputs["summary"]["kind"] == "finetune_replay"
    assert outputs["summary"]["sha256"] == outputs["model"].sha256
