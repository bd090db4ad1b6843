"""A throw-away AiiDA profile in a process of its own, and what this machine offers of SLURM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Answers = list[dict[str, Any]]


@pytest.fixture(scope="session")
def ask_verdi(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Answers]:
    """Function from requests to answers; every call has a fresh profile."""

    def ask(*requests: list[Any]) -> Answers:
        folder = tmp_path_factory.mktemp("verdi")
        process = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("verdi_session.py")), "answers.json"],
            input=json.dumps(requests),
            cwd=folder,
            env=os.environ | {"AIIDA_PATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return json.loads((folder / "answers.json").read_text())

    return ask


@pytest.fixture(scope="session")
def slurm() -> None:
    """Skip where no SLURM of setup_computers/slurm-local runs."""
    if shutil.which("scontrol") is None:
        pytest.skip("SLURM is not installed; see setup_computers/slurm-local")
    clusters = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    if clusters.returncode != 0:
        pytest.skip("SLURM does not answer; start it with setup_computers/slurm-local/start.sh")
    if "mbetrain" not in clusters.stdout:
        pytest.skip("the SLURM of this machine is not that of setup_computers/slurm-local")


@pytest.fixture(scope="session")
def sshd() -> None:
    """Skip where the ssh server of setup_computers/slurm-local does not let us in."""
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "mbetrain-slurm-local", "true"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no ssh to mbetrain-slurm-local; start it with setup_computers/slurm-local/start-sshd.sh")
