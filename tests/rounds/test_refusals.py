"""Files of rounds that are refused before anything starts, with field, value and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from argon import LENNARD_JONES
from commands import call
from rounds_files import ROUNDS, write_rounds

from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.rounds.inputs import prepare


@pytest.fixture(scope="module")
def folder(profile, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("refused")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_error_meV_per_molecule": 0.0}, "target_error_meV_per_molecule = 0.0: Input should be greater than 0"),
        ({"target_error_meV_per_molecule": -1.0}, "target_error_meV_per_molecule = -1.0"),
        ({"target_eror": 3.0}, "no field 'target_eror': did you mean 'target_error_meV_per_molecule'"),
        ({"choice": {"clusters_per_rounds": 3}}, "did you mean 'clusters_per_round'"),
        (
            {"choice": {"clusters_per_round": 300}},
            "clusters_per_round = 300, and of the 10 frames",
        ),
        ({"choice": {"n_test": 7}}, "n_test = 7, and of the 10 frames of the first round 2 with 6 clusters are for it"),
        ({"choice": {"held_out": [0.5, 0.5]}}, "held_out = (0.5, 0.5): give shares whose sum leaves frames"),
        ({"least_fall": 1.0}, "least_fall = 1.0"),
        ({"max_rounds": 0}, "max_rounds = 0"),
        ({"name": "a/b"}, "a name has letters"),
        ({"options": {"account": "x"}}, "options are those of jobs: give code too"),
        ({"protocol": "quick"}, "There is no protocol 'quick'"),
        ({"overrides": {"md": {}}}, "overrides has no section 'md'"),
        ({"overrides": {"inference": {"features": "none"}}}, "uncertainties are computed from features"),
        ({"overrides": {"md_sampling": {"finite_subsystem_filter": None}}}, "rounds choose among clusters"),
        ({"training": {"kind": "finetune"}}, "kind = 'finetune': rounds improve a delta model"),
        ({"training": {"mace": {"E0s": "average"}}}, "E0s is not to be set here"),
        ({"crystal": "nothing.cif"}, "nothing.cif"),
        ({"crystal": 999999}, "There is no node 999999"),
        ({"baseline": "argon.cif"}, "argon.cif"),
        ({"baseline": 999999}, "There is no node 999999"),
    ],
)
def test_a_wrong_value_is_named(folder, changes: dict[str, Any], message: str):
    with pytest.raises(MbetrainError) as error:
        prepare(write_rounds(folder, **changes))
    assert message in " ".join([str(error.value), *getattr(error.value, "refusals", [])])


@pytest.mark.parametrize("field", ["reference", "crystal", "baseline", "name"])
def test_a_missing_field_is_named(folder, field):
    path = write_rounds(folder)
    path.write_text(yaml.safe_dump({key: value for key, value in ROUNDS.items() if key != field}))
    with pytest.raises(MbetrainError, match=f"{field}.*Field required"):
        prepare(path)


def test_a_program_that_is_run_elsewhere_is_refused(folder):
    values = ROUNDS | {"reference": {"method": {"program": "orca", "method": "PBE", "basis": "def2-SVP"}}}
    path = write_rounds(folder)
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(MbetrainError, match="orca is run elsewhere, and rounds go on by themselves"):
        prepare(path)


def test_a_baseline_without_features_is_refused(folder, profile):
    from aiida import orm

    node = orm.Dict(LENNARD_JONES).store()
    with pytest.raises(MbetrainError, match="is a Dict, and uncertainties are computed from the features of a MACE"):
        prepare(write_rounds(folder, baseline=node.pk))


def test_the_command_says_it_in_one_line(folder):
    said = call("improve", write_rounds(folder, max_rounds=0), code=1)
    assert "max_rounds = 0" in said
    assert "Traceback" not in said
