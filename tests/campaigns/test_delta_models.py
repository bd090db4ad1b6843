"""Labelled frames of a campaign: all labelled stages together, with crystals and temperatures held out."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from aiida_mbetrain.cli import main
from aiida_mbetrain.cli.train import frames_of
from aiida_mbetrain.errors import LabelsMissing
from aiida_mbetrain.science.training import TEST, TRAIN
from aiida_mbetrain.settings import TrainingFrames

SPLIT = {"fractions": (0.5, 0.25, 0.25), "gap": 0, "block": 1, "sizes": (2,), "sources": ("md",)}
STAGES = [f"{crystal}/lj/{at}K_0.0001GPa/md_sampling" for crystal in ("ar_526", "ar_530") for at in (20, 30)]


@pytest.fixture(scope="module")
def labelled(finished_campaign, tmp_path_factory):
    """Labels of the pairs of three of the four stages of dynamics; the name of the method."""
    _, states = finished_campaign
    path = tmp_path_factory.mktemp("labels") / "reference.yaml"
    path.write_text("method: {program: ase, method: morse, parameters: {epsilon: 0.01, r0: 3.8}}")
    for stage in STAGES[:3]:
        words = ["reference", "run", str(states[stage].pk), "--settings", str(path), "--sizes", "2"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    return "morse"


def in_command(*arguments):
    """``frames_of`` within a command, which knows the profile."""
    import click

    with click.Context(click.Command("train")):
        return frames_of(*arguments)


def test_labelled_stages_are_packed_under_their_places(labelled):
    node, _ = in_command("exported", labelled, TrainingFrames(**SPLIT))
    frames = node.to_science()
    assert {path.rpartition("/crystal[")[0] for path in frames.paths} == set(STAGES[:3])
    assert set(frames.crystals) == {"ar_526", "ar_530"}
    np.testing.assert_array_equal(np.unique(frames.temperatures_K), [20.0, 30.0])
    again, _ = in_command("exported", labelled, TrainingFrames(**SPLIT))
    assert again.creator.base.caching.get_cache_source() == node.creator.uuid


def test_a_crystal_that_is_held_out_is_only_tested_on(labelled):
    node, _ = in_command("exported", labelled, TrainingFrames(**SPLIT, test_crystals=("ar_530",)))
    frames = node.to_science()
    assert set(frames.subsets[frames.crystals == "ar_530"]) == {TEST}
    assert TRAIN in frames.subsets[frames.crystals == "ar_526"]


def test_a_temperature_that_is_held_out_is_only_tested_on(labelled):
    node, _ = in_command("exported", labelled, TrainingFrames(**SPLIT, test_temperatures_K=(30.0,)))
    frames = node.to_science()
    assert set(frames.subsets[frames.temperatures_K == 30.0]) == {TEST}
    assert set(frames.temperatures_K[frames.subsets == TRAIN]) == {20.0}


def test_a_part_of_a_campaign_is_trained_on_alone(labelled):
    node, _ = in_command("exported/ar_526", labelled, TrainingFrames(**SPLIT))
    assert set(node.to_science().crystals) == {"ar_526"}


def test_a_campaign_without_labels_is_refused(labelled):
    with pytest.raises(LabelsMissing, match="No cluster of the run has labels of 'PBE'"):
        in_command("exported", "PBE", TrainingFrames(**SPLIT))
