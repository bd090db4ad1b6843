"""A training set made here, archived, imported into a fresh profile elsewhere, and exported there: the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from profiles import Workplace

MAKE = """
import sys
from aiida import load_profile
load_profile()
from argon import run_argon
node = run_argon()
open(sys.argv[1], "wb").write(node.outputs.dataset.get_content("rb"))
print(node.uuid)
"""
NODES = """
import sys
from aiida import load_profile, orm
load_profile()
outputs = orm.load_node(sys.argv[1]).outputs
print(outputs.phonon_sampling.clusters.n_2.uuid, outputs.md_sampling.trajectory.uuid)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """A workplace with a training set and its uuid; archive.aiida, stored.hdf5 and here.hdf5 lie there."""
    here = Workplace(tmp_path_factory.mktemp("here"))
    here.create_profile()
    node = here.python(MAKE, str(here.folder / "stored.hdf5")).split()[-1]
    here.succeed("aiida-mbetrain", "export", node, "-o", "here.hdf5")
    here.succeed("verdi", "group", "create", "argon-sets")
    here.succeed("verdi", "group", "add-nodes", "--force", "--group", "argon-sets", node)
    here.succeed("verdi", "archive", "create", "archive.aiida", "--groups", "argon-sets")
    return here, node


@pytest.fixture(scope="module")
def elsewhere(made, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A fresh profile into which the archive was imported."""
    there = Workplace(tmp_path_factory.mktemp("there"))
    there.create_profile()
    there.succeed("verdi", "archive", "import", str(made[0].folder / "archive.aiida"))
    return there


def content(workplace: Workplace, name: str) -> bytes:
    return (workplace.folder / name).read_bytes()


def test_export_equals_the_stored_node(made):
    here = made[0]
    assert content(here, "here.hdf5") == content(here, "stored.hdf5")


def test_export_of_an_imported_archive_gives_the_same_bytes(made, elsewhere):
    here, node = made
    elsewhere.succeed("aiida-mbetrain", "export", node, "-o", "there.hdf5")
    assert content(elsewhere, "there.hdf5") == content(here, "stored.hdf5")


def test_group_comes_along(made, elsewhere):
    assert made[1] in elsewhere.succeed("verdi", "group", "show", "--uuid", "argon-sets")


def test_verdi_exports_the_same_bytes(made, elsewhere):
    here, node = made
    elsewhere.succeed("verdi", "data", "mbetrain", "export", node, "-o", "verdi.hdf5")
    assert content(elsewhere, "verdi.hdf5") == content(here, "stored.hdf5")


def test_trace_finds_the_nodes_in_the_imported_profile(made, elsewhere):
    here, _ = made
    entry = "training/phonon_sampling/finite_subsystems/n=2"
    told = elsewhere.succeed("aiida-mbetrain", "trace", str(here.folder / "stored.hdf5"), entry, "0")
    assert "(pk " in told


def asked(place: Workplace, *question: str) -> list[Any]:
    """The answer without what belongs to one profile: pks, and the order that follows them."""
    told = place.succeed("aiida-mbetrain", "query", *question, "--format", "json")
    answer = json.loads(re.sub(r"<\d+>", "<pk>", told))
    rows = answer if isinstance(answer, list) else list(answer.items())
    for row in rows:
        if isinstance(row, dict):
            row.pop("pk", None)
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_questions_have_the_same_answers_in_the_imported_profile(made, elsewhere):
    here, run = made
    clusters, trajectory = here.python(NODES, run).split()
    assert len(asked(elsewhere, "datasets")) == 4
    assert any(run in row for row in asked(elsewhere, "datasets"))
    for question in (("datasets",), ("origin", clusters, "1"), ("frames", trajectory)):
        assert asked(elsewhere, *question) == asked(here, *question) != []
    assert asked(elsewhere, "diff", run, str(here.folder / "stored.hdf5")) == []


def test_nothing_was_written_to_the_homes(made, elsewhere):
    for workplace in (made[0], elsewhere):
        assert not (Path(workplace.environment["HOME"]) / ".aiida").exists()
