"""Reference labels from the command line."""

from __future__ import annotations

import re

import pytest
import yaml


@pytest.fixture
def settings_file(tmp_path):
    path = tmp_path / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.3}}}))
    return path


def count(output: str, name: str) -> int:
    found = re.search(rf"^{name} +([\d,]+)$", output, flags=re.MULTILINE)
    assert found is not None, output
    return int(found.group(1).replace(",", ""))


def test_plan_run_and_plan_again(succeed, finished, settings_file):
    arguments = (finished.pk, "--settings", settings_file, "--order", 2, "--sizes", "1,2,3")
    before = succeed("reference", "plan", *arguments)
    n_all = count(before, "to be calculated")
    assert n_all > 0
    assert count(before, "fragments of all clusters") == n_all + count(before, "equal ones left out")
    assert re.search(r"core-hours +0\.0", before)
    said = succeed("reference", "run", *arguments)
    assert re.search(r"ReferenceLabelsWorkChain<\d+>: lj by ase 3", said)
    after = succeed("reference", "plan", *arguments)
    assert count(after, "to be calculated") == 0
    assert count(after, "known in this profile") == n_all


def test_a_method_by_name_counts_ghosts(succeed, finished):
    options = ("--method", "HF/6-31g", "--no-measure")
    plain, ghosts = (
        count(
            succeed("reference", "plan", finished.pk, *options, "--order", 2, "--counterpoise", scheme),
            "to be calculated",
        )
        for scheme in ("none", "vmfc")
    )
    assert ghosts > plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "PBE"), "or method/basis"),
        (("--counterpoise", "vmfc"), "give order as well"),
        (("--order", "2", "--counterpoise", "cp"), "tblite has none"),
        (("--sizes", "9"), r"no clusters of sizes = \[9\]"),
        (("--method", "PBE-D4/def2-MIX"), "does not exist"),
        (("--settings", "/nowhere/file.yaml"), "cannot be read"),
    ],
)
def test_mistakes_are_one_line(fail, finished, arguments, message):
    assert re.search(message, fail("reference", "plan", finished.pk, *arguments))


def test_options_need_a_code(fail, finished, settings_file):
    assert "give --code as well" in fail("reference", "run", finished.pk, "--options", settings_file)
