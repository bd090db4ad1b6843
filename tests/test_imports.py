"""What imports what: heavy packages only where they are needed, AiiDA nowhere in the science."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aiida_mbetrain

PACKAGE = Path(aiida_mbetrain.__file__).parent
FREE_OF_AIIDA = [*PACKAGE.glob("settings*.py"), *sorted((PACKAGE / "science").rglob("*.py"))]
FREE_OF_AIIDA += sorted((PACKAGE / "worker").rglob("*.py"))
COMMANDS = tuple(
    path.stem.replace("_", "-")
    for path in sorted((PACKAGE / "cli").glob("*.py"))
    if "@click.command(" in path.read_text("utf-8")
)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, also inside functions and by importlib with a plain text."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield ("." * node.level) + (node.module or "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "import_module":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant))


@pytest.mark.parametrize("path", FREE_OF_AIIDA, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_runs_on_the_compute_node_never_imports_aiida(path):
    allowed = tuple(f"aiida_mbetrain.{name}" for name in ("science", "settings", "worker"))
    for name in imported(path):
        assert not name.startswith("."), "relative imports hide what is imported"
        top = name.partition(".")[0]
        assert top not in ("aiida", "plumpy", "aiida_workgraph", "aiida_pythonjob"), f"{path} imports {name}"
        assert top != "aiida_mbetrain" or name == "aiida_mbetrain" or name.startswith(allowed), f"{path} imports {name}"


BELOW = {
    "settings_base": {"science"},
    "settings": {"science", "settings_base"},
    "science": {"settings"},
    "worker": {"science", "settings", "settings_base"},
    "data": {"science", "settings"},
    "datasets": {"data", "science", "settings"},
    "calculations": {"data", "datasets", "science", "settings", "settings_base", "worker"},
    "parsers": {"calculations", "data", "science", "settings", "worker"},
    "workflows": {"calculations", "data", "science", "settings", "settings_base"},
    "pictures": {"science", "settings"},
    "campaigns": {"calculations", "data", "datasets", "science", "settings", "settings_base", "workflows"},
}
"""Room of the package -> the rooms it may look into."""


@pytest.mark.parametrize("room", BELOW)
def test_every_room_looks_only_into_those_below(room):
    path = PACKAGE / room
    for file in sorted(path.rglob("*.py")) or [path.with_suffix(".py")]:
        rooms = {name.split(".")[1] for name in imported(file) if name.startswith("aiida_mbetrain.")}
        assert rooms <= BELOW[room] | {room}, f"{file.relative_to(PACKAGE)} imports {rooms - BELOW[room] - {room}}"


def modules_after(*arguments: str) -> set[str]:
    """Top-level packages, and aiida.orm, loaded by a Python program that may exit."""
    code = f"""
import atexit, json, sys
def tell():
    names = {{name.partition(".")[0] for name in sys.modules}} | ({{"aiida.orm"}} & set(sys.modules))
    print("MODULES", json.dumps(sorted(names)))
atexit.register(tell)
{arguments[0]}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    told = next(line for line in done.stdout.splitlines() if line.startswith("MODULES"))
    return set(json.loads(told.removeprefix("MODULES")))


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"aiida", "torch", "mace", "ase", "numpy", "h5py", "matplotlib", "phonopy", "click", "rich"}
    assert not heavy & modules_after("import aiida_mbetrain; assert aiida_mbetrain.__version__")


def test_importing_the_science_imports_neither_aiida_nor_torch():
    science = "import aiida_mbetrain.science.stages, aiida_mbetrain.science.quasi_harmonic, aiida_mbetrain.settings"
    assert not {"aiida", "torch", "mace"} & modules_after(science)


def test_help_of_every_command_imports_neither_torch_nor_the_orm():
    """All in one process: what the last one has not imported, none has."""
    helps = "\n".join(
        f"assert CliRunner().invoke(main, {[*words, '--help']!r}).exit_code == 0"
        for words in ([], ["model", "import"], ["model", "list"], *([command] for command in COMMANDS))
    )
    loaded = modules_after(f"from click.testing import CliRunner\nfrom aiida_mbetrain.cli import main\n{helps}")
    assert not {"aiida.orm", "torch", "mace", "matplotlib"} & loaded


def test_there_are_commands_to_ask_for_help():
    assert {"run", "demo", "export", "show", "trace", "plot"} <= set(COMMANDS)
