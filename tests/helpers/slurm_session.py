"""Commands of the shell, of verdi, and patience."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent
SLURM_LOCAL = Path(__file__).parents[2] / "setup_computers" / "slurm-local"
OPTIONS = yaml.safe_load((SLURM_LOCAL / "options.yaml").read_text()) | {"max_memory_kb": 1024 * 1024}


def shell(*command: str) -> str:
    """Standard output of a command that must succeed."""
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert process.returncode == 0, f"{command}: {process.stdout}{process.stderr}"
    return process.stdout


def verdi(*arguments: str) -> str:
    """Output of a verdi command in the profile of these tests."""
    return shell(str(BIN / "verdi"), *arguments)


def wait_until(condition: Callable[[], Any], *, seconds: float = 300, what: str = "") -> Any:
    """The condition's value, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{seconds} s are over: {what}"
        time.sleep(1.0)  # a look at the jobs of a training set takes AiiDA 0.3 s
    return value
