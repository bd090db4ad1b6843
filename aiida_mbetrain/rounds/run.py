"""Start the rounds that are missing: in this process, or as a WorkGraph in the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from aiida import orm
from aiida.engine import run_get_node

from aiida_mbetrain.campaigns.run import only_here
from aiida_mbetrain.campaigns.state import ENDED
from aiida_mbetrain.errors import InvalidSettings, MbetrainError, StoppedEarly
from aiida_mbetrain.rounds.settings import RoundsSettings
from aiida_mbetrain.rounds.state import State, state_of
from aiida_mbetrain.workflows.active_learning_round import ActiveLearningRoundWorkChain

PREFIX = "mbetrain/rounds/"
"""Beginning of the labels of the groups, one for all rounds of a name."""


def group_of(name: str) -> orm.Group:
    """The group of some rounds, made where it is new."""
    group: orm.Group = orm.Group.collection.get_or_create(label=f"{PREFIX}{name}")[0]
    return group


def running_graph(settings: RoundsSettings) -> orm.ProcessNode | None:
    """The unfinished graph of some rounds."""
    label = f"WorkGraph<{settings.graph_name}>"
    filters = {"attributes.process_label": label, "attributes.process_state": {"!in": ENDED}}
    query = orm.QueryBuilder().append(orm.WorkflowNode, filters=filters)
    return query.first(flat=True)


def stored(state: State) -> State:
    """The same with stored nodes of crystal and baseline: those of the finished rounds, or new ones."""
    nodes = state.finished[0].inputs if state.finished else state.rounds
    structure, baseline = nodes.structure.store(), nodes.baseline.store()
    return replace(state, rounds=replace(state.rounds, structure=structure, baseline=baseline))


def run_here(state: State, on_round: Callable[[int], None]) -> State:
    """Run what is missing in this process, one round after another.

    on_round: told the number of a round before it starts.
    Raises InvalidSettings where another process runs the rounds, StoppedEarly after Ctrl-C, MbetrainError with the
    failure of a round.
    """
    state = stored(state)
    group = group_of(state.rounds.settings.name)
    with only_here(group, "rounds"):
        while not state.reason:
            number = len(state.finished)
            on_round(number)
            _, node = run_get_node(ActiveLearningRoundWorkChain, **state.next_inputs())
            group.add_nodes(node)
            if node.exit_status == StoppedEarly.code:
                raise StoppedEarly(f"Round {number} was interrupted: the same command goes on.")
            if not node.is_finished_ok:
                raise MbetrainError(
                    f"Round {number}, {node.process_label}<{node.pk}>, failed [{node.exit_status}]: {node.exit_message}"
                )
            state = state_of(state.rounds)
    return state


def submit(state: State) -> orm.ProcessNode:
    """Submit the graph of what is missing to the daemon.  Raises InvalidSettings where one is running already."""
    from aiida_mbetrain.rounds.graph import build_graph

    settings = state.rounds.settings
    if (running := running_graph(settings)) is not None:
        raise InvalidSettings(
            f"{running.process_label}<{running.pk}> runs these rounds: wait for it, or kill it first."
        )
    state = stored(state)
    group = group_of(settings.name)
    record = orm.Dict(state.rounds.record()).store()
    graph = build_graph(state, record)
    graph.submit()
    node: orm.ProcessNode = graph.process
    group.add_nodes([record, node])
    return node
