"""Runs of which a part failed or did not run: what there is of them, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from aiida import orm

from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.datasets.from_graph.dataset import STAGE_OF, TRAINING_SET, nodes_of_stage, require_run

NEEDED = {
    "md_sampling": ("trajectory", "thermodynamics"),
    "quasi_harmonic": ("relaxed", "force_constants", "phonon_bands", "thermodynamics"),
    "phonon_sampling": ("trajectory", "modes"),
}
"""Outputs without which a stage has no section in a dataset."""


def partial_nodes(process: orm.ProcessNode) -> dict[str, Nodes]:
    """Nodes by stage, as :func:`.dataset.stage_nodes`, of every stage that has made anything, finished or not.

    Raises InvalidSettings for a node that is neither a training set nor a stage.
    """
    return {name: nodes_of_stage(stage) for name, stage in _stages(process).items() if len(list(stage.outputs))}


def exportable(stages: Mapping[str, Nodes]) -> dict[str, Nodes]:
    """Those stages that have what a section of a dataset needs."""
    return {name: nodes for name, nodes in stages.items() if all(output in nodes for output in NEEDED[name])}


def missing_parts(process: orm.ProcessNode) -> dict[str, str]:
    """The reason for each stage that is missing or not whole; nothing for a finished run."""
    stages = _stages(process)
    wanted = STAGE_OF.values() if process.process_label == TRAINING_SET else stages
    return {
        name: _state(stages[name]) if name in stages else "it was not run"
        for name in wanted
        if name not in stages or not stages[name].is_finished_ok
    }


def _stages(process: orm.ProcessNode) -> dict[str, orm.WorkChainNode]:
    """The stage WorkChains that were started, in the order of the dataset."""
    require_run(process)
    called = process.called if process.process_label == TRAINING_SET else [process]
    found = {STAGE_OF[child.process_label]: child for child in called if child.process_label in STAGE_OF}
    return {name: cast("orm.WorkChainNode", found[name]) for name in STAGE_OF.values() if name in found}


def _state(stage: orm.ProcessNode) -> str:
    if not stage.is_terminated:
        return "it is not finished"
    cause = _cause(stage)
    if cause.exit_status is None:
        return f"it was {cause.process_state.value if cause.process_state else 'not started'}"
    return f"it failed [{cause.exit_status}]: {cause.exit_message}"


def _cause(process: orm.ProcessNode) -> orm.ProcessNode:
    """The innermost process that ended with the same exit status: its message names no other process."""
    calls = process.called if isinstance(process, orm.WorkflowNode) else []
    same = [child for child in calls if child.exit_status == process.exit_status and not child.is_finished_ok]
    return _cause(max(same, key=lambda child: child.pk or 0)) if same else process
