"""Files of the project beside the package: archives, metadata, workflow, citation, README."""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import aiida_mbetrain

ROOT = Path(__file__).parents[1]
SHIPPED = ("aiida_mbetrain", "benchmarks", "docs", "examples", "setup_computers", "tests")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))


def test_source_archive_holds_everything_that_documents_name(tmp_path: Path):
    if not (ROOT / ".git").exists():
        pytest.skip("the files of the project are known from its git repository")
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = git.stdout.splitlines()
    copy = tmp_path / "project"
    for name in listed:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    build = "from setuptools import build_meta; print(build_meta.build_sdist('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with tarfile.open(copy / done.stdout.split()[-1]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in listed if name.startswith(tuple(f"{folder}/" for folder in SHIPPED))}
    assert len(wanted) > 200
    assert wanted | {"constraints.txt", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"} <= held


def test_workflow_tests_every_python_that_the_metadata_names(project: dict[str, Any], workflow: dict[str, Any]):
    named = [item.rpartition(" :: ")[2] for item in project["classifiers"] if "Python :: 3." in item]
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_workflow_lints_checks_types_and_tries_oldest_and_newest_dependencies(workflow: dict[str, Any]):
    commands = " ".join(step.get("run", "") for step in workflow["jobs"]["lint-and-types"]["steps"])
    assert all(command in commands for command in ("ruff check", "ruff format --check", "mypy"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    kinds = {*matrix["dependencies"], *(item["dependencies"] for item in matrix["include"])}
    assert kinds == {"tested", "newest", "oldest"}
    conditions = " ".join(step.get("if", "") for step in workflow["jobs"]["tests"]["steps"])
    assert all(f"'{kind}'" in conditions for kind in kinds)


def test_citation_is_of_this_version(project: dict[str, Any]):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == aiida_mbetrain.__version__
    assert citation["license"] == project["license"]


def test_readme_needs_nothing_beside_it():
    """A package index shows the README alone: its pictures and links have to be addresses."""
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_extras_hold_every_package_that_tests_are_skipped_without(project: dict[str, Any]):
    files = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    asked_for = {name for text in files for name in re.findall(r"importorskip\(\"(\w+)", text)}
    extras = {
        extra: {re.split(r"[<>=\[]", item)[0] for item in project["optional-dependencies"][extra]}
        for extra in ("tests", "explore", "reference")
    }
    assert "tblite" in asked_for & extras["tests"]
    assert asked_for <= set().union(*extras.values())


def imported_packages() -> set[str]:
    """Top-level names that the package imports, those of the standard library and its own apart."""
    names: set[str] = set()
    for path in (ROOT / "aiida_mbetrain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"aiida_mbetrain", "pydantic_core"}  # pydantic's own other half


def test_every_imported_package_is_a_declared_dependency(project):
    """Also where another dependency brings it along today."""
    lines = itertools.chain(project["dependencies"], *project["optional-dependencies"].values())
    declared = {re.match(r"[\w-]+", line)[0].lower() for line in lines}
    of_module = importlib.metadata.packages_distributions()
    missing = {name for name in imported_packages() if not declared & {each.lower() for each in of_module[name]}}
    assert not missing


@pytest.mark.parametrize("group", ["aiida.data", "aiida.calculations", "aiida.parsers", "aiida.workflows"])
def test_entry_points_stand_in_the_group_of_what_they_load(group: str):
    from aiida.common.exceptions import EntryPointError
    from aiida.plugins import factories

    factory = {
        "aiida.data": factories.DataFactory,
        "aiida.calculations": factories.CalculationFactory,
        "aiida.parsers": factories.ParserFactory,
        "aiida.workflows": factories.WorkflowFactory,
    }[group]
    names = [point.name for point in importlib.metadata.entry_points(group=group) if point.name.startswith("mbetrain.")]
    assert len(names) > 3
    refused = []
    for name in names:
        try:
            factory(name)
        except EntryPointError as error:
            refused.append(str(error))
    assert not refused
