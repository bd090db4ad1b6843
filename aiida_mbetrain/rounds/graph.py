"""Rounds as a WorkGraph, one after another, each made when it starts.

Importing aiida_workgraph takes seconds: import this module inside functions.
"""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida_workgraph import WorkGraph, task
from aiida_workgraph.manager import get_current_graph

from aiida_mbetrain.rounds.inputs import Rounds
from aiida_mbetrain.rounds.state import State, state_of
from aiida_mbetrain.workflows.active_learning_round import ActiveLearningRoundWorkChain


def build_graph(state: State, record: orm.Dict) -> WorkGraph:
    """The graph of the rounds that may follow; record: that of the rounds, stored.

    The inputs of a round, and whether it is needed, are known when the one before it has ended: its task is a graph
    that is empty where there is a reason to stop.
    """
    settings = state.rounds.settings
    graph = WorkGraph(settings.graph_name)
    before = None
    for number in range(len(state.finished), settings.max_rounds):
        added = graph.add_task(task.graph()(round_graph), name=f"round_{number}", record=record)
        if before is not None:
            before >> added
        before = added
    return graph


def round_graph(record: Any) -> None:
    """Body of the graph of one round; it runs in the daemon.  record: the socket of the node."""
    node = orm.load_node(record.uuid)
    assert isinstance(node, orm.Dict)
    state = state_of(Rounds.of_record(node.get_dict()))
    if not state.reason:
        inputs = state.next_inputs()
        get_current_graph().add_task(ActiveLearningRoundWorkChain, name=f"round_{len(state.finished)}", **inputs)
