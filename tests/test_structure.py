"""Structure of the package: layers, wings and their front doors, and heavy imports only where they are needed."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import aiida_mbetrain

PACKAGE = Path(aiida_mbetrain.__file__).parent
ROOT = Path(__file__).parents[1]
FREE_OF_AIIDA = [
    path for room in ("settings", "science", "worker", "report") for path in sorted((PACKAGE / room).rglob("*.py"))
]
FREE_OF_AIIDA += [
    PACKAGE / "errors.py",
    *(path for path in sorted((PACKAGE / "datasets").rglob("*.py")) if path.parent.name != "from_graph"),
]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


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
    for name in imported(path):
        assert not name.startswith("."), "relative imports hide what is imported"
        top = name.partition(".")[0]
        assert top not in ("aiida", "plumpy", "aiida_workgraph", "aiida_pythonjob"), f"{path} imports {name}"


BELOW = {
    "errors": set(),
    "settings": {"errors"},
    "science": {"errors", "settings"},
    "worker": {"errors", "science", "settings"},
    "pictures": {"errors", "science", "settings"},
    "data": {"errors", "science", "settings"},
    "datasets": {"data", "errors", "science", "settings"},
    "report": {"datasets", "errors", "science"},
    "calculations": {"data", "datasets", "errors", "science", "settings", "worker"},
    "parsers": {"calculations", "data", "errors", "science", "settings", "worker"},
    "workflows": {"calculations", "data", "errors", "science", "settings"},
    "campaigns": {"calculations", "data", "datasets", "errors", "science", "settings", "workflows"},
    "rounds": {"calculations", "campaigns", "data", "errors", "science", "settings", "workflows"},
    "provenance": {"data", "datasets", "errors", "settings"},
}
"""Room of the package -> the rooms below it, into which it may look."""


def files_of(room: str) -> list[Path]:
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) or [path.with_suffix(".py")]


@pytest.mark.parametrize("room", BELOW)
def test_every_room_looks_only_into_those_below(room):
    for file in files_of(room):
        rooms = {name.split(".")[1] for name in imported(file) if name.startswith("aiida_mbetrain.")}
        assert rooms <= BELOW[room] | {room}, f"{file.relative_to(PACKAGE)} imports {rooms - BELOW[room] - {room}}"


WINGS = sorted(
    module_of(path.parent / "__init__.py")
    for room in ("science", "datasets", "settings")
    for path in (PACKAGE / room).rglob("__init__.py")
    if len(list(path.parent.glob("*.py"))) > 1 and path.parent not in (PACKAGE / "science", PACKAGE / "datasets")
)
"""Packages inside the rooms; what may be used from outside is in ``__all__`` of each."""


def imports_of(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of everything that a file of this package imports from it, also for types only."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiida_mbetrain"):
            yield from ((str(node.module), alias.name) for alias in node.names)


def wing_of(module: str) -> str:
    """The innermost wing that holds a module, or the module itself."""
    return max((wing for wing in WINGS if f"{module}.".startswith(f"{wing}.")), key=len, default=module)


USERS = [
    *sorted(PACKAGE.rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
]


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_reaches_past_the_front_door_of_a_wing(path):
    here = module_of(path) if path.is_relative_to(PACKAGE) else ""
    for module, name in imports_of(path):
        wing = wing_of(module)
        if wing not in WINGS or f"{here}.".startswith(f"{wing}."):
            continue
        assert module == wing, f"{path} imports {name} from {module}: take it from {wing}, or name it there"
        assert name in importlib.import_module(wing).__all__, f"{path} imports {name}, which {wing} does not name"


def test_no_wing_needs_itself_by_a_detour():
    needs: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        here = wing_of(module_of(path))
        for module, name in imports_of(path):
            is_module = (PACKAGE.parent / f"{module}.{name}".replace(".", "/")).with_suffix(".py").exists()
            there = wing_of(f"{module}.{name}" if is_module else module)
            if not f"{there}.".startswith(f"{here}.") and not f"{here}.".startswith(f"{there}."):
                needs[here].add(there)
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the wings of the circle


def test_every_wing_says_what_happens_inside():
    for wing in WINGS:
        summary = (importlib.import_module(wing).__doc__ or "").strip()
        assert len(summary.split()) > 5, f"{wing}: say what happens inside"


QUESTIONS = ("What", "How", "Which", "Whether", "Where", "Why", "When", "Who", "That", "Raises")


@pytest.mark.parametrize("path", USERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_summaries_are_noun_phrases_or_imperatives(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            summary = (ast.get_docstring(node) or "-").split("\n")[0]
            name = getattr(node, "name", "the module")
            assert summary.split()[0].rstrip(",:") not in QUESTIONS, (
                f"{path}, {name}: say what it is or does: {summary}"
            )


def modules_after(program: str) -> tuple[set[str], list[str]]:
    """Top-level packages, and aiida.orm, loaded by a Python program that may exit, and the lines that it prints."""
    code = f"""
import atexit, json, sys
def tell():
    names = {{name.partition(".")[0] for name in sys.modules}} | ({{"aiida.orm"}} & set(sys.modules))
    print("MODULES", json.dumps(sorted(names)))
atexit.register(tell)
{program}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = next(line for line in lines if line.startswith("MODULES"))
    return set(json.loads(told.removeprefix("MODULES"))), lines


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"aiida", "torch", "mace", "ase", "numpy", "h5py", "matplotlib", "phonopy", "click", "rich"}
    assert not heavy & modules_after("import aiida_mbetrain; assert aiida_mbetrain.__version__")[0]


def test_importing_the_science_imports_neither_aiida_nor_torch():
    science = "import aiida_mbetrain.science.stages, aiida_mbetrain.science.thermodynamics, aiida_mbetrain.settings"
    assert not {"aiida", "torch", "mace"} & modules_after(science)[0]


HELP_OF_EVERY_COMMAND = """
import click
from click.testing import CliRunner
from aiida_mbetrain.cli import main

def ask(command, words):
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0, words
    print("COMMAND", *words)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            ask(command.get_command(context, name), [*words, name])

ask(main, [])
"""


def test_help_of_every_command_imports_neither_torch_nor_the_orm():
    """All in one process: what the last one has not imported, none has."""
    loaded, printed = modules_after(HELP_OF_EVERY_COMMAND)
    assert not {"aiida.orm", "torch", "mace", "matplotlib"} & loaded
    assert {"COMMAND run", "COMMAND demo", "COMMAND campaign retry", "COMMAND reference lattice"} <= set(printed)


def lines_that_name_any(text: str) -> int:
    return len({node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id == "Any"})


def test_less_than_three_lines_in_a_thousand_take_values_of_any_type():
    """``Any`` is for what foreign libraries leave without types."""
    texts = [path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))]
    assert 1000 * sum(map(lines_that_name_any, texts)) < 3 * sum(text.count("\n") for text in texts)
