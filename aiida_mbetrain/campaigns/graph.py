"""A plan as a WorkGraph: one graph for every crystal and model, of stage WorkChains linked by their outputs.

Importing aiida_workgraph takes seconds: import this module inside functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiida import orm
from aiida_workgraph import WorkGraph, task
from aiida_workgraph.manager import get_current_graph

from aiida_mbetrain.campaigns.inputs import WORKCHAINS, stage_inputs
from aiida_mbetrain.campaigns.plan import PHONONS, Plan, Stage, condition_name
from aiida_mbetrain.campaigns.record import Record
from aiida_mbetrain.data.crystals import EQUILIBRIUM, link_label
from aiida_mbetrain.science.thermodynamics import reference_name
from aiida_mbetrain.settings import FreeEnergy


def build_graph(
    plan: Plan,
    record: Record,
    wanted: Iterable[str],
    force_constants: Mapping[str, str],
    code: orm.AbstractCode | None = None,
) -> WorkGraph:
    """The graph of some stages of a campaign.

    wanted: names of the stages.  force_constants: uuid by name of a phonon sampling, where they exist already.
    Every task is the graph of one crystal and model, made when it starts: one graph of all stages would link every
    input of every stage to one process, and AiiDA's cost of adding a link grows with the number of links.
    """
    chosen = set(wanted)
    groups = {name: [s for s in stages if s.name in chosen] for name, stages in plan.groups().items()}
    groups = {name: stages for name, stages in groups.items() if stages}
    graph = WorkGraph(f"campaign_{identifier(plan.name)}")
    at_once, jobs_of_each = share_jobs(record.settings.max_jobs, len(groups))
    graph.max_number_jobs = at_once
    crystal_task = task.graph(max_number_jobs=jobs_of_each)(crystal_graph)
    models = {name: orm.load_node(uuid) for name, uuid in record.models.items()}
    for number, (name, stages) in enumerate(groups.items()):
        crystal, model = stages[0].crystal.name, stages[0].model.name
        inputs: dict[str, Any] = {
            "structure": orm.load_node(record.crystals[crystal]),
            "model": models[model],
            "stages": orm.Dict(_described(stages, force_constants, record.settings.options)),
        }
        if code is not None:
            inputs["code"] = code
        graph.add_task(crystal_task, name=f"c{number}_{identifier(name)}", **inputs)
    return graph


def share_jobs(max_jobs: int, n_graphs: int) -> tuple[int, int]:
    """Graphs at once and stages at once in each, so that no more than ``max_jobs`` stages run."""
    at_once = max(1, min(max_jobs, n_graphs))
    return at_once, max_jobs // at_once


def identifier(name: str) -> str:
    """A name as AiiDA's labels of links allow it."""
    return re.sub(r"\W", "_", name)


def _described(
    stages: Iterable[Stage], force_constants: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Plain values from which ``crystal_graph`` makes its tasks."""
    described = []  # a list, for the keys of a stored Dict lose their order, and parents come first
    for stage in {stage.key: stage for stage in stages}.values():
        facts: dict[str, Any] = {
            "name": task_name(stage),
            "kind": stage.kind,
            "key": stage.key,
            "settings": stage.settings.to_dict(),
            "inference": stage.inference.to_dict(),
        }
        if stage.name in force_constants:
            facts["force_constants"] = force_constants[stage.name]
        elif stage.parent is not None:
            facts |= {"parent": task_name(stage.parent), "output": output_path(stage)}
        described.append(facts)
    return {"stages": described, "options": dict(options)}


def task_name(stage: Stage) -> str:
    """``md_sampling_298_15K_0_0001GPa``."""
    condition = condition_name(stage.temperature_K, stage.pressure_GPa).replace("-", "minus_")
    return identifier("_".join(filter(None, (stage.kind, condition))))


def output_path(stage: Stage) -> list[str]:
    """Path of the force constants among the outputs of a phonon sampling's parent."""
    assert stage.parent is not None
    assert isinstance(stage.parent.settings, FreeEnergy)
    assert stage.constants_label is not None
    if stage.constants_label == reference_name(stage.parent.settings):
        return ["force_constants"]
    return [EQUILIBRIUM, link_label(stage.constants_label), "force_constants"]


def crystal_graph(structure: Any, model: Any, stages: Any, code: Any = None) -> None:
    """Body of the graph of one crystal and model; it runs in the daemon.

    structure, model, code: sockets.  stages: the dictionary of ``_described``.
    """
    graph = get_current_graph()
    nodes: dict[str, orm.Dict] = {}
    for facts in stages["stages"]:
        inference = nodes.setdefault(str(facts["inference"]), orm.Dict(dict(facts["inference"])))
        inputs = stage_inputs(facts["kind"], dict(facts["settings"]), inference, dict(stages["options"]), code)
        inputs["model"] = model
        if facts["kind"] != PHONONS:
            inputs["structure"] = structure
        elif "force_constants" in facts:
            inputs["force_constants"] = orm.load_node(str(facts["force_constants"]))
        else:
            inputs["force_constants"] = output_socket(graph.tasks[facts["parent"]], facts["output"])
        graph.add_task(WORKCHAINS[facts["kind"]], name=facts["name"], **inputs)


def output_socket(parent: Any, path: Sequence[str]) -> Any:
    """The socket of an output; those of a dynamic namespace are declared here, for they are known by the plan alone."""
    socket = parent.outputs
    for depth, name in enumerate(path, start=1):
        if name not in socket:
            kind = "workgraph.any" if depth == len(path) else "workgraph.namespace"
            parent.add_output_spec(kind, ".".join(path[:depth]))
        socket = socket[name]
    return socket
