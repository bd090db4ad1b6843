"""Completion by TAB: what is offered, and that it waits for no numerical library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aiida_mbetrain.cli.root import COMMANDS

PROGRAM = "from aiida_mbetrain.cli import main; main(prog_name='aiida-mbetrain')"
SLOW = {"numpy", "scipy", "pydantic", "aiida", "torch", "matplotlib", "h5py", "phonopy"}


def completed(line: str) -> tuple[list[str], set[str]]:
    """What bash would offer after this line, and the packages that were imported for it."""
    variables = {"_AIIDA_MBETRAIN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", PROGRAM], env=os.environ | variables, capture_output=True, text=True
    )
    imported = {row.rpartition("|")[2].strip().partition(".")[0] for row in done.stderr.splitlines()}
    return [row.partition(",")[2] for row in done.stdout.splitlines()], imported


def test_names_of_commands_come_without_importing_them():
    offered, imported = completed("aiida-mbetrain ")
    assert offered == list(COMMANDS)
    assert not imported & SLOW
    assert completed("aiida-mbetrain ex")[0] == ["export", "export-xyz"]
    assert "--profile" in completed("aiida-mbetrain -")[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_a_command_come_without_numerical_libraries(command):
    offered, imported = completed(f"aiida-mbetrain {command} --")
    assert "--help" in offered
    assert not imported & SLOW
