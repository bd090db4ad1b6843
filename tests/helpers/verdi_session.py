"""Feeds the files of setup_computers to verdi in a throw-away profile, and runs jobs on the computers they describe.

A program of its own, because a process has one AiiDA profile and the tests of the package have theirs.  It needs
AIIDA_PATH, reads a list of requests ``[name, *arguments]`` as JSON on stdin and writes the list of answers to the file
named by its argument.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml
from aiida import orm
from aiida.cmdline.commands.cmd_code import verdi_code
from aiida.cmdline.commands.cmd_computer import verdi_computer
from aiida.common.exceptions import NotExistent
from aiida.common.extendeddicts import AttributeDict
from aiida.engine import run_get_node
from aiida.manage.configuration import get_config, load_profile
from aiida.plugins import CalculationFactory
from aiida.storage.sqlite_temp import SqliteTempBackend
from click.testing import CliRunner

VERDI_GROUPS = {"computer": verdi_computer, "code": verdi_code}


def verdi(group: str, *arguments: str) -> dict[str, Any]:
    """Run ``verdi GROUP ARGUMENTS``: exit code and output."""
    context = AttributeDict({"config": get_config(), "profile": PROFILE})
    result = CliRunner().invoke(VERDI_GROUPS[group], list(arguments), obj=context)
    output = result.output + (repr(result.exception) if result.exception else "")
    return {"exit_code": result.exit_code, "output": output}


def addition(options: dict[str, Any]) -> Any:
    """Builder of the smallest job there is, 1 + 2."""
    builder = CalculationFactory("core.arithmetic.add").get_builder()
    builder.x, builder.y = orm.Int(1), orm.Int(2)
    builder.metadata.options = options
    return builder


def render_submit_script(code: str, options_file: str) -> dict[str, Any]:
    """Dry-run a job with the options of the file: its submit script."""
    builder = addition(yaml.safe_load(Path(options_file).read_text()))
    try:
        builder.code = orm.load_code(code)
    except NotExistent as error:  # verdi refused its file, which is an answer of its own
        return {"script": "", "error": str(error)}
    builder.metadata.dry_run = True
    builder.metadata.store_provenance = False
    _, node = run_get_node(builder)
    folder = Path(node.dry_run_info["folder"])
    return {"script": (folder / node.dry_run_info["script_filename"]).read_text()}


def run_job(computer_label: str, options_file: str, changed_options: dict[str, Any]) -> dict[str, Any]:
    """Run 1 + 2 on the computer with the options of the file, some of them changed: exit status, sum, report."""
    computer = orm.load_computer(computer_label)
    computer.set_minimum_job_poll_interval(0.5)
    builder = addition(yaml.safe_load(Path(options_file).read_text()) | changed_options)
    builder.code = orm.InstalledCode(computer=computer, filepath_executable="/bin/bash", label="bash")
    results, node = run_get_node(builder)
    total = results["sum"].value if "sum" in results else None
    return {"exit_status": node.exit_status, "sum": total, "scheduler_stderr": node.get_scheduler_stderr()}


REQUESTS = {"verdi": verdi, "render_submit_script": render_submit_script, "run_job": run_job}

if __name__ == "__main__":
    PROFILE = SqliteTempBackend.create_profile("setup-computers", options={"runner.poll.interval": 1})
    load_profile(PROFILE, allow_switch=True)
    answers = [REQUESTS[name](*arguments) for name, *arguments in json.load(sys.stdin)]
    Path(sys.argv[1]).write_text(json.dumps(answers))
