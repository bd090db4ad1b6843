"""Ctrl-C in a terminal: ``aiida-mbetrain run`` in a pseudo-terminal of its own, interrupted at any moment."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import signal
import time
from pathlib import Path

import pytest
import yaml
from argon import argon_atoms, argon_settings
from ase.io import write
from models import save_random_mace
from profiles import BIN, Workplace

CTRL_C = b"\x03"
N_INTERRUPTIONS = 10
LONG = {"md_crystal": {"time_total_fs": 400.0, "time_step_fs": 2.0, "sampling_interval_fs": 20.0}}


class Terminal:
    """A program in a pseudo-terminal, which is its controlling one, and all that it prints."""

    def __init__(self, place: Workplace, *arguments: str) -> None:
        self.output = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(place.folder)
            os.execve(arguments[0], list(arguments), place.environment | {"TERM": "xterm", "COLUMNS": "200"})

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def read(self, seconds: float) -> bool:
        """Read for so long; False once the program has closed the terminal."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._terminal], [], [], left)[0]:
                continue
            try:
                found = os.read(self._terminal, 65536)
            except OSError:
                return False
            if not found:
                return False
            self.output += found
        return True

    def end(self, seconds: float = 120) -> int:
        """Exit code, once the program has ended by itself; nothing of its process group may be left."""
        if self.read(seconds):
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"still running: {self.last_lines()}")
        _, status = os.waitpid(self.pid, 0)
        os.close(self._terminal)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def last_lines(self) -> list[str]:
        """What is printed, without bars and colours."""
        text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self.output).decode().replace("^C", "")
        return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A profile, a crystal, a model and settings."""
    place = Workplace(tmp_path_factory.mktemp("terminal"))
    place.create_profile()
    write(place.folder / "argon.cif", argon_atoms())
    save_random_mace(place.folder / "argon.model", elements=(18,), channels=2, seed=21)
    settings = argon_settings(md_sampling=LONG, inference={"features": "none"})
    (place.folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return place


OPTIONS = {"structure": "argon.cif", "model": "argon.model", "protocol": "fast", "overrides": "settings.yaml"}


def command(*arguments: str) -> list[str]:
    """``aiida-mbetrain run`` with these arguments, or those of a new run."""
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    return [str(BIN / "aiida-mbetrain"), "run", *(arguments or options)]


def run_with_interruptions(place: Workplace, output: Path, generator: random.Random, seconds: float) -> None:
    """Run to the end, with a Ctrl-C at a random moment of each session, ten in all.

    A run that ends before its moment is followed by another one.
    """
    begin, continued, n_sessions, n_interrupted = [*command(), "-o", str(output)], "", 0, 0
    while True:
        n_sessions += 1
        session = Terminal(place, *(command("--continue", continued, "-o", str(output)) if continued else begin))
        interrupted = n_interrupted < N_INTERRUPTIONS and session.read(generator.uniform(1.0, seconds))
        if interrupted:
            session.type(CTRL_C)
            n_interrupted += 1
        exit_code = session.end(120 if interrupted else 900)
        told = session.last_lines()[-1]
        print(f"session {n_sessions}: interrupted {interrupted}, exit code {exit_code}: {told}", flush=True)
        if exit_code == 0:
            if n_interrupted == N_INTERRUPTIONS:
                return
            continued = ""
            continue
        assert "Traceback" not in session.output.decode(), told
        if told == "Stopped before anything was computed.":
            assert exit_code == 130
            continue
        assert exit_code == 1, told
        found = re.fullmatch(
            r"Error: Stopped; (what is done is kept. Go on with: aiida-mbetrain run --continue (\d+)"
            r"|the run is finished. What is left: aiida-mbetrain (export|plot|report) (\d+))",
            told,
        )
        assert found is not None, told
        if found[4]:
            place.succeed("aiida-mbetrain", "export", found[4], "-o", str(output))
            if n_interrupted == N_INTERRUPTIONS:
                return
        continued = found[2] or ""


def assert_equal_files(place: Workplace, *files: Path) -> None:
    for path in files:
        place.succeed("aiida-mbetrain", "export", str(path), "--no-provenance", "-o", f"{path}.bare")
    first, second = (Path(f"{path}.bare").read_bytes() for path in files)
    assert first == second
    kept = list((place.folder / ".aiida" / "mbetrain").rglob("*.segments"))
    assert kept == []


@pytest.fixture(scope="module")
def undisturbed(place: Workplace) -> tuple[Path, float]:
    """The file of a run in one go, and the seconds it took."""
    started = time.monotonic()
    place.succeed(*command(), "-o", "undisturbed.hdf5")
    return place.folder / "undisturbed.hdf5", time.monotonic() - started


@pytest.mark.long
def test_ctrl_c_at_ten_random_moments_is_one_line_and_loses_nothing(place, undisturbed):
    """Moments are drawn from start-up to the end of the run: before, during and between its stages."""
    expected, seconds = undisturbed
    run_with_interruptions(place, place.folder / "interrupted.hdf5", random.Random(7), seconds)
    assert_equal_files(place, expected, place.folder / "interrupted.hdf5")
