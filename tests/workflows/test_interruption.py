"""Stages and training sets in this process that are interrupted, and go on from their checkpoints."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.manage.caching import enable_caching
from aiida.storage.sqlite_temp import SqliteTempBackend
from argon import LENNARD_JONES, argon_atoms, argon_settings
from job_runs import assert_same_outputs

from aiida_mbetrain.calculations.functions import checkpoints, interruption
from aiida_mbetrain.calculations.functions.in_process import listening
from aiida_mbetrain.cli.run import STEPS
from aiida_mbetrain.science.io import SegmentFile
from aiida_mbetrain.settings import Inference
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

MD = {
    "temperature_K": 20.0,
    "md_crystal": {
        "time_total_fs": 200.0,
        "time_equilibration_fs": 0.0,
        "time_step_fs": 5.0,
        "sampling_interval_fs": 10.0,
    },
}
REPLICAS = {"sampling": MD, "replicas": {"cold": {"temperature_K": 20.0}, "warm": {"temperature_K": 30.0}}}


@pytest.fixture(autouse=True)
def folder() -> Iterator[Path]:
    """The folder of the checkpoints, empty before and after a test."""
    folder = checkpoints.checkpoint_folder()
    yield folder
    checkpoints.settle_checkpoints()
    for path in folder.glob("*"):
        path.unlink()


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"))


def dynamics(argon, lennard_jones, stage: str = "molecular_dynamics") -> orm.ProcessNode:
    inputs = {
        "supercell": orm.StructureData(ase=argon.get_ase() * (2, 2, 2)),
        "model": lennard_jones,
        "settings": orm.Dict(REPLICAS if stage == "md_replicas" else MD),
        "inference": orm.Dict(Inference().to_dict()),
    }
    return HEAVY[stage].function.run_get_node(**inputs)[1]


@pytest.mark.parametrize("dynamical", ["molecular_dynamics", "md_replicas"])
def test_an_interrupted_stage_ends_with_its_exit_code_and_goes_on_where_it_was(argon, lennard_jones, folder, dynamical):
    expected = dynamics(argon, lennard_jones, dynamical)
    handler = signal.getsignal(signal.SIGINT)
    seen: list[int] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        seen.append(done)
        if done == 13:
            os.kill(os.getpid(), signal.SIGINT)

    with listening(interrupt):
        node = dynamics(argon, lennard_jones, dynamical)
    assert node.exit_status == 400
    assert "interrupted by a signal" in node.exit_message
    assert not node.base.caching.is_valid_cache
    assert signal.getsignal(signal.SIGINT) is handler
    assert max(seen) == 13
    checkpoints.settle_checkpoints()
    assert len(kept(folder)) == 1

    seen.clear()
    with listening(lambda stage, done, total: seen.append(done)):
        again = dynamics(argon, lennard_jones, dynamical)
    assert min(seen) == 14
    assert_same_outputs(expected, again)
    checkpoints.settle_checkpoints()
    assert kept(folder) == []


def test_disk_that_is_full_counts_as_interrupted(argon, lennard_jones, folder, monkeypatch):
    """The second save finds no room: what the first one saved is continued."""
    expected = dynamics(argon, lennard_jones)
    monkeypatch.setattr(checkpoints, "INTERVAL_s", 0.0)
    append, n_saves = SegmentFile.append, []

    def fill(file: SegmentFile, segment: bytes, **options: bool) -> None:
        n_saves.append(segment)
        if len(n_saves) == 8:
            with file.path.open("ab") as stream:
                stream.write(segment[: len(segment) // 2])
            raise OSError(28, "No space left on device", str(file.path))
        append(file, segment, **options)

    monkeypatch.setattr(SegmentFile, "append", fill)
    node = dynamics(argon, lennard_jones)
    assert node.exit_status == 411
    assert "No space left on device" in node.exit_message
    monkeypatch.setattr(SegmentFile, "append", append)
    seen: list[int] = []
    with listening(lambda stage, done, total: seen.append(done)):
        again = dynamics(argon, lennard_jones)
    assert 2 < min(seen) < 10
    assert_same_outputs(expected, again)


def test_same_job_twice_at_once_takes_two_files(folder):
    first, second = checkpoints.StageCheckpoint(None), checkpoints.StageCheckpoint(None)
    assert first("abc") != second("abc")
    first.settle()
    third = checkpoints.StageCheckpoint(None)
    assert third("abc").name == "abc.segments"


def test_checkpoint_of_a_process_whose_profile_was_closed_stays_and_is_free(folder):
    closed = SqliteTempBackend(SqliteTempBackend.create_profile("closed"))
    node = orm.CalcFunctionNode(backend=closed)
    path = checkpoints.StageCheckpoint(node)("abc")
    path.write_bytes(b"saved")
    closed.close()
    checkpoints.settle_checkpoints()
    assert checkpoints.StageCheckpoint(None)("abc") == path
    assert path.read_bytes() == b"saved"


def test_checkpoint_of_a_process_that_was_killed_is_free_again(folder):
    program = (
        "import fcntl, os, sys, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); "
        "fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); time.sleep(60)"
    )
    folder.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", program, str(folder / "abc.segments")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    assert checkpoints.StageCheckpoint(None)("abc").name == "abc-1.segments"
    holder.kill()
    holder.wait()
    assert checkpoints.StageCheckpoint(None)("abc").name == "abc.segments"


def builder(scale: float):
    """A training set of argon; the scale of the cell makes its stages others than those of earlier tests."""
    atoms = argon_atoms()
    atoms.set_cell(scale * atoms.cell, scale_atoms=True)
    return TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=atoms), orm.Dict(LENNARD_JONES), protocol="fast", overrides=argon_settings()
    )


@pytest.mark.parametrize(("stage", "scale"), [("force_constants", 1.001), ("labels", 1.002)])
def test_training_set_stops_as_a_whole_and_goes_on(folder, stage, scale):
    """A signal in one stage starts no other; a second run takes finished stages over and has the same results."""

    with interruption.signals_deferred() as signals:
        signals.running = True

        def interrupt(name: str, done: int, total: int) -> None:
            signals.requested = signals.requested or name == stage

        with listening(interrupt):
            _, node = run_get_node(builder(scale))
    assert node.exit_status == 400
    assert not node.base.links.get_outgoing(link_label_filter="build_dataset").all()
    checkpoints.settle_checkpoints()  # as at the end of a program
    assert len(kept(folder)) <= 1
    computed: set[str] = set()
    caching = enable_caching(identifier=STEPS)
    with caching, listening(lambda name, done, total: computed.add(name)):
        _, again = run_get_node(node.get_builder_restart())
    assert again.is_finished_ok, again.exit_message
    checkpoints.settle_checkpoints()
    assert kept(folder) == []
    assert ("molecular_dynamics" in computed) == (stage == "molecular_dynamics")
    _, undisturbed = run_get_node(builder(scale))
    expected, found = ({child.process_label: child for child in run.called} for run in (undisturbed, again))
    for label in ("MDSamplingWorkChain", "QuasiHarmonicWorkChain", "PhononSamplingWorkChain"):
        assert_same_outputs(expected[label], found[label])
