"""Rounds in process: interrupted, continued, started again; nothing runs twice and no label is calculated twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiida import orm
from argon import argon_atoms
from commands import call
from models import save_random_mace
from rounds_files import write_rounds

from aiida_mbetrain.calculations.functions import interruption
from aiida_mbetrain.calculations.functions.in_process import listening
from aiida_mbetrain.data.reference_labels import ReferenceLabelsData
from aiida_mbetrain.errors import StoppedEarly
from aiida_mbetrain.rounds.inputs import prepare
from aiida_mbetrain.rounds.run import run_here
from aiida_mbetrain.rounds.state import State, reason_to_stop, state_of
from aiida_mbetrain.science.training import SUBSETS, TRAIN


def processes_since(baseline: orm.Data, *, finished: bool = True) -> Counter[str]:
    """Processes of the profile that are younger than the baseline, by label."""
    filters: dict[str, Any] = {"id": {">": baseline.pk}} | ({"attributes.exit_status": 0} if finished else {})
    query = orm.QueryBuilder().append(orm.ProcessNode, filters=filters, project="attributes.process_label")
    return Counter(query.all(flat=True))


def interrupt_in(stage: str, state: State) -> None:
    """Run rounds until a stage reports, as by Ctrl-C in it."""
    with interruption.signals_deferred() as signals:
        signals.running = True

        def interrupt(name: str, done: int, total: int) -> None:
            signals.requested = signals.requested or name == stage

        with listening(interrupt), pytest.raises(StoppedEarly, match="the same command goes on"):
            run_here(state, lambda number: None)


def test_the_status_of_new_rounds_stores_nothing(profile, tmp_path):
    save_random_mace(tmp_path / "argon.model", elements=(18,), num_interactions=1, seed=77)
    argon_atoms().write(tmp_path / "argon.cif")
    before = orm.QueryBuilder().append(orm.Node).count()
    assert "not finished" in call("improve", write_rounds(tmp_path), "--status")
    assert orm.QueryBuilder().append(orm.Node).count() == before


@pytest.fixture(scope="module")
def path(profile, tmp_path_factory) -> Path:
    return write_rounds(tmp_path_factory.mktemp("rounds"))


@pytest.fixture(scope="module")
def finished(path) -> tuple[State, str, Counter[str]]:
    """Two rounds, of which the first was interrupted in its reference labels; what the command said at the end."""
    state = state_of(prepare(path))
    interrupt_in("reference_labels", state)
    before = processes_since(state.rounds.baseline)
    assert before["MDSamplingWorkChain"] == before["choose_clusters"] == 1
    assert before["ActiveLearningRoundWorkChain"] == 0
    said = call("improve", path, "--here", "--format", "json")
    return state_of(prepare(path)), said, before


def test_every_step_of_two_rounds_is_finished_once(finished):
    state, *_ = finished
    counts = processes_since(state.rounds.baseline)
    once_a_round = ("ActiveLearningRoundWorkChain", "MDSamplingWorkChain", "molecular_dynamics", "choose_clusters")
    for label in (*once_a_round, "ModelTrainingWorkChain", "training", "add_labelled_clusters", "round_summary"):
        assert counts[label] == 2, label
    assert len(state.finished) == 2
    assert state.reason


def test_no_fragment_is_calculated_twice(finished):
    state, *_ = finished
    method = state.rounds.settings.reference.method.hash
    query = orm.QueryBuilder().append(
        orm.ProcessNode, filters={"attributes.process_label": "reference_labels"}, tag="job"
    )
    query.append(ReferenceLabelsData, with_incoming="job", filters={"attributes.method_hash": method})
    ids = [name for node in query.all(flat=True) for name in node.get_array("ids").tolist()]
    assert len(ids) == len(set(ids)) > 0


def test_labels_accumulate_and_the_held_out_frames_stay(finished):
    state, *_ = finished
    first, second = (node.outputs.frames.to_science() for node in state.finished)
    assert [int((first.subsets == subset).sum()) for subset in range(len(SUBSETS))] == [4, 2, 2]
    assert [int((second.subsets == subset).sum()) for subset in range(len(SUBSETS))] == [8, 2, 2]
    np.testing.assert_array_equal(second.uids[: len(first)], first.uids)
    held_out = set(first.units[first.subsets != TRAIN])
    assert not held_out & set(second.units[second.subsets == TRAIN])
    assert len(set(second.uids)) == len(second)
    assert set(second.baseline_energies) != set(second.energies)


def test_the_second_round_samples_with_the_model_of_the_first(finished):
    first, second = finished[0].finished
    assert second.inputs.model.uuid == first.outputs.sum.uuid
    assert second.inputs.md_sampling["md_crystal"]["rng_seed"] == first.inputs.md_sampling["md_crystal"]["rng_seed"] + 1
    assert second.outputs.model.base.attributes.get("delta")["baseline"] == first.inputs.baseline.sha256


def test_new_clusters_carry_the_labels_of_the_baseline(finished):
    """The second round's clusters were sampled, and labelled first, by baseline plus delta."""
    state, *_ = finished
    frames = state.finished[1].outputs.frames.to_science()
    potential = state.rounds.baseline.load(state.rounds.sampling["inference"])
    for row in range(8, len(frames)):
        [found] = potential.evaluate([frames.configurations(row)], features=True)
        assert found.energies[0] == pytest.approx(frames.baseline_energies[row], abs=1e-9)
        np.testing.assert_allclose(found.features[0].sum(axis=0), frames.features[row], atol=1e-9)


def test_the_command_tells_every_round(finished):
    said = json.loads(finished[1][finished[1].index("{") :])
    assert said["reason_to_stop"] == finished[0].reason
    assert [row["labels"] for row in said["rounds"]] == [8, 12]
    assert said["rounds"][1]["cost"] > said["rounds"][0]["cost"] > 0
    for row in said["rounds"]:
        assert row["error_meV_per_molecule"] > 0
        assert row["uncertainty_meV_per_molecule"] > 0


def test_the_same_command_starts_nothing(finished, path):
    before = processes_since(finished[0].rounds.baseline, finished=False)
    said = call("improve", path, "--here")
    assert finished[0].reason in " ".join(said.split())
    assert processes_since(finished[0].rounds.baseline, finished=False) == before
    assert call("improve", path, "--status") == said


def test_another_target_uses_the_same_rounds(finished, path, tmp_path):
    reached = write_rounds(path.parent, target_error_meV_per_molecule=1e6)
    try:
        state = state_of(prepare(reached))
        assert [node.pk for node in state.finished] == [finished[0].finished[0].pk]
        assert "has reached the target of 1e+06" in state.reason
    finally:
        write_rounds(path.parent)


def test_rounds_stop_where_the_uncertainty_does_not_fall(finished):
    settings = finished[0].rounds.settings.model_copy(update={"least_fall": 0.1, "max_rounds": 9})
    alike = [{"error_meV_per_molecule": 9.0, "uncertainty_meV_per_molecule": value} for value in (9.0, 5.0, 2.0)]
    assert reason_to_stop(alike, settings.model_copy(update={"max_rounds": 3})) == "max_rounds = 3 are done"
    assert not reason_to_stop(alike, settings)
    rows = [{"error_meV_per_molecule": 9.0, "uncertainty_meV_per_molecule": value} for value in (10.0, 8.0, 7.5)]
    assert [bool(reason_to_stop(rows[:n], settings)) for n in range(4)] == [False, False, False, True]
    assert "no longer falls: 8, then 7.5 meV" in reason_to_stop(rows, settings)
