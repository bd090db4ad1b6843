"""Documents name only files, modules and objects that exist, and draw the tree of the package as it is."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "aiida_mbetrain"
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "setup_computers/**/*.md", "aiida_mbetrain/**/*.md")
    for path in ROOT.glob(pattern)
)
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists())
TOP = "|".join(["aiida_mbetrain", "benchmarks", "docs", "examples", "setup_computers", "tests", *ROOMS])
PATH = re.compile(rf"(?<![\w/.~-])(?:{TOP})/[\w./-]*\w")
FILE = re.compile(r"`([\w-]+\.py)`")
DOTTED = re.compile(rf"(?<![\w/.-])aiida_mbetrain(?:\.[A-Za-z_]\w*)+|`((?:{'|'.join(ROOMS)})(?:\.[A-Za-z_]\w*)+)`")
IMPORT = re.compile(r"^from (aiida_mbetrain[\w.]*) import ([\w, ]+)$", re.MULTILINE)


def missing_paths(text: str) -> list[str]:
    named = set(PATH.findall(text)) | {name for name in FILE.findall(text)}
    everywhere = {path.name for path in ROOT.glob("*/**/*.py")}
    return sorted(
        name for name in named if not ((ROOT / name).exists() or (PACKAGE / name).exists() or name in everywhere)
    )


def missing_objects(text: str) -> list[str]:
    named = {match.group(1) or match.group() for match in DOTTED.finditer(text)}
    named |= {f"{module}.{name.strip()}" for module, names in IMPORT.findall(text) for name in names.split(",")}
    full = {name: name if name.startswith("aiida_mbetrain") else f"aiida_mbetrain.{name}" for name in named}
    return sorted(name for name, dotted in full.items() if not exists(dotted))


def exists(dotted: str) -> bool:
    found: Any = importlib.import_module("aiida_mbetrain")
    for part in dotted.split(".")[1:]:
        if hasattr(found, "__path__") and part in {module.name for module in pkgutil.iter_modules(found.__path__)}:
            found = importlib.import_module(f"{found.__name__}.{part}")
        elif hasattr(found, part):
            found = getattr(found, part)
        else:
            return False
    return True


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_and_object_that_a_document_names_exists(document: Path):
    text = document.read_text("utf-8")
    assert not missing_paths(text)
    assert not missing_objects(text)


def test_names_that_do_not_exist_are_found():
    assert missing_paths("`science/nowhere.py`, settings/base.py, `lost.py`") == [
        "lost.py",
        "science/nowhere.py",
    ]
    assert missing_objects("`science.nowhere.x` and aiida_mbetrain.settings.FreeEnergy") == ["science.nowhere.x"]
    assert missing_objects("from aiida_mbetrain.errors import MbetrainError, Lost\n") == ["aiida_mbetrain.errors.Lost"]


def drawn_in(text: str) -> set[str]:
    """Paths of a tree drawn by indentation, its first line left out."""
    parents: list[tuple[int, str]] = []
    found = set()
    for line in text.splitlines()[1:]:
        depth, name = len(line) - len(line.lstrip()), line.split()[0].rstrip("/")
        parents = [(above, path) for above, path in parents if above < depth]
        path = f"{parents[-1][1]}/{name}" if parents else name
        parents.append((depth, path))
        found.add(path)
    return found


def test_architecture_draws_every_package_and_nothing_else():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    drawn = drawn_in(text.split("```text\n")[1].split("```")[0])
    assert not [path for path in drawn if not (PACKAGE / path).exists()]
    packages = {str(path.parent.relative_to(PACKAGE)) for path in PACKAGE.rglob("__init__.py")} - {"."}
    assert packages - drawn <= {"calculations/functions", "workflows/protocols"}, "named beside the package above them"
