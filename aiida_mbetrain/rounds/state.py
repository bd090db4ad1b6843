"""Finished rounds and the reason to stop, from the provenance graph alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiida import orm

from aiida_mbetrain.rounds.inputs import Rounds
from aiida_mbetrain.rounds.settings import RoundsSettings
from aiida_mbetrain.settings import JsonObject
from aiida_mbetrain.workflows.active_learning_round import ActiveLearningRoundWorkChain
from aiida_mbetrain.workflows.finished import finished_process


@dataclass(frozen=True, eq=False)
class State:
    """Finished rounds in order, and why no other follows; an empty reason where one does."""

    rounds: Rounds
    finished: tuple[orm.ProcessNode, ...]
    reason: str

    @property
    def summaries(self) -> list[JsonObject]:
        """Facts of every finished round."""
        return [node.outputs.summary.get_dict() for node in self.finished]

    def next_inputs(self) -> JsonObject:
        """Inputs of the round that follows."""
        return self.rounds.inputs(len(self.finished), self.finished[-1] if self.finished else None)


def state_of(rounds: Rounds) -> State:
    """The rounds with these settings that the profile has, whoever ran them."""
    finished: list[orm.ProcessNode] = []
    summaries: list[JsonObject] = []
    while not (reason := reason_to_stop(summaries, rounds.settings)):
        inputs = rounds.inputs(len(finished), finished[-1] if finished else None)
        node = finished_process(ActiveLearningRoundWorkChain, inputs)
        if node is None:
            break
        finished.append(node)
        summaries.append(node.outputs.summary.get_dict())
    return State(rounds, tuple(finished), reason)


def reason_to_stop(summaries: Sequence[JsonObject], settings: RoundsSettings) -> str:
    """Reason not to start another round; empty where there is none."""
    if not summaries:
        return ""
    error, target = summaries[-1]["error_meV_per_molecule"], settings.target_error_meV_per_molecule
    if target is not None and error <= target:
        return f"the error of the test set, {error:.3g} meV per molecule, has reached the target of {target:g}"
    if len(summaries) > 1:
        before, now = (summary["uncertainty_meV_per_molecule"] for summary in summaries[-2:])
        if now > (1.0 - settings.least_fall) * before:
            return f"the uncertainty no longer falls: {before:.3g}, then {now:.3g} meV per molecule"
    if len(summaries) >= settings.max_rounds:
        return f"max_rounds = {settings.max_rounds} are done"
    return ""
