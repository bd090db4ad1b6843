"""AiiDA in processes of its own, each with a configuration folder that no other process sees."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HELPERS = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Workplace:
    """A folder with its own AiiDA configuration and its own empty HOME."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of every program started here."""
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return os.environ | {
            "AIIDA_PATH": str(self.folder),
            "HOME": str(home),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(HELPERS),
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment to its end; the caller looks at the exit code."""
        return subprocess.run(
            arguments, env=self.environment, cwd=self.folder, text=True, capture_output=True, timeout=timeout
        )

    def succeed(self, *arguments: str, timeout: float = 300.0) -> str:
        """The standard output of a program that must not fail."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def python(self, code: str, *arguments: str, timeout: float = 300.0) -> str:
        """The standard output of a Python program."""
        return self.succeed(sys.executable, "-c", code, *arguments, timeout=timeout)

    def create_profile(self) -> None:
        """A profile as a user without services makes it; its broker needs no service either."""
        self.succeed("verdi", "presto", "--use-zeromq", "--non-interactive")
        self.succeed("verdi", "config", "set", "runner.poll.interval", "1")
        self.succeed("verdi", "config", "set", "warnings.development_version", "false")
