"""A throw-away AiiDA profile in a process of its own."""

from __future__ import annotations

import json
import os
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
            [sys.executable, str(Path(__file__).parents[1] / "helpers" / "verdi_session.py"), "answers.json"],
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
