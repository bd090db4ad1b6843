"""A plan as a WorkGraph: one graph for every crystal and model, of stage WorkChains linked by their outputs.

Importing aiida_workgraph takes seconds: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from aiida import orm
from aiida_workgraph import WorkGraph, task
from aiida_workgraph.manager import get_current_graph

from aiida_mbetrain.campaigns.found import force_constants_of
from aiida_mbetrain.campaigns.inputs import WORKCHAINS, stage_inputs
from aiida_mbetrain.campaigns.plan import PHONONS, Plan, Stage, share_jobs
from aiida_mbetrain.campaigns.record import Record
from aiida_mbetrain.campaigns.replicas import condition_identifier, identifier, made_together, process_of
from aiida_mbetrain.campaigns.settings import CampaignSettings
from aiida_mbetrain.campaigns.state import GRAPH
from aiida_mbetrain.science.thermodynamics import reference_name
from aiida_mbetrain.settings import FreeEnergy, JsonObject
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain


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
    graph = WorkGraph(f"{GRAPH}{identifier(plan.name)}")
    at_once, jobs_of_each = share_jobs(record.settings.max_jobs, len(groups))
    graph.max_number_jobs = at_once
    crystal_task = task.graph(max_number_jobs=jobs_of_each)(crystal_graph)
    models = {name: orm.load_node(uuid) for name, uuid in record.models.items()}
    for number, (name, stages) in enumerate(groups.items()):
        crystal, model = stages[0].crystal.name, stages[0].model.name
        inputs: dict[str, orm.Node] = {
            "structure": orm.load_node(record.crystals[crystal]),
            "model": models[model],
            "stages": orm.Dict({"campaign": plan.name} | _described(stages, force_constants, record.settings)),
        }
        if code is not None:
            inputs["code"] = code
        graph.add_task(crystal_task, name=f"c{number}_{identifier(name)}", **inputs)
    return graph


def _described(stages: Iterable[Stage], force_constants: Mapping[str, str], settings: CampaignSettings) -> JsonObject:
    """Plain values from which ``crystal_graph`` makes its tasks."""
    described = []  # a list, for the keys of a stored Dict lose their order, and parents come first
    for together in made_together({stage.key: stage for stage in stages}.values(), settings.replicas_per_job):
        stage, (kind, own) = together[0], process_of(together)
        facts: JsonObject = {
            "name": task_name(stage, kind),
            "kind": kind,
            "keys": [each.key for each in together],
            "settings": own.to_dict(),
            "inference": stage.inference.to_dict(),
            "label_jobs": settings.label_jobs,
        }
        if stage.name in force_constants:
            facts["force_constants"] = force_constants[stage.name]
        elif stage.parent is not None:
            assert isinstance(stage.parent.settings, FreeEnergy)
            reference = reference_name(stage.parent.settings)
            facts |= {"parent": task_name(stage.parent), "reference_name": reference}
            facts["constants_label"] = stage.constants_label
        described.append(facts)
    return {"stages": described, "options": dict(settings.options)}


def task_name(stage: Stage, kind: str | None = None) -> str:
    """``md_sampling_298_15K_0_0001GPa``; kind: that of the task, where it makes more than this stage."""
    return "_".join(filter(None, (kind or stage.kind, condition_identifier(stage))))


def crystal_graph(structure: Any, model: Any, stages: Any, code: Any = None) -> None:
    """Body of the graph of one crystal and model; it runs in the daemon.

    structure, model, code: sockets.  stages: the dictionary of ``_described``.
    """
    graph = get_current_graph()
    options, at_volumes = dict(stages["options"]), []
    for facts in stages["stages"]:
        inputs = _inputs(facts, options, model, code)
        if facts["kind"] != PHONONS:
            inputs["structure"] = structure
        elif "force_constants" in facts:
            inputs["force_constants"] = orm.load_node(str(facts["force_constants"]))
        elif facts["constants_label"] == facts["reference_name"]:
            inputs["force_constants"] = graph.tasks[facts["parent"]].outputs.force_constants
        else:
            at_volumes.append(dict(facts))
            continue
        graph.add_task(WORKCHAINS[facts["kind"]], name=facts["name"], **inputs)
    for parent in sorted({facts["parent"] for facts in at_volumes}):
        inputs = {"model": model, "reference": graph.tasks[parent].outputs.force_constants}
        inputs["stages"] = orm.Dict({"stages": [f for f in at_volumes if f["parent"] == parent], "options": options})
        if code is not None:
            inputs["code"] = code
        graph.add_task(task.graph(max_number_jobs=1)(volumes_graph), name=f"volumes_of_{parent}", **inputs)


def volumes_graph(reference: Any, model: Any, stages: Any, code: Any = None) -> None:
    """Body of the graph of the phonon samplings at V(T); those at temperatures without a volume are left out.

    Which volumes there are is known when the quasi-harmonic stage has ended: a link to an output that it may not
    have would end the whole graph.
    reference: force constants of the relaxed crystal, an output of that stage.
    """
    graph = get_current_graph()
    links = orm.load_node(reference.uuid).base.links.get_incoming(orm.WorkChainNode).all()
    found = (link.node for link in links if link.node.process_label == QuasiHarmonicWorkChain.__name__)
    parent = cast(orm.WorkChainNode, next(found))
    for facts in stages["stages"]:
        constants = force_constants_of(parent, str(facts["constants_label"]))
        if constants is not None:
            inputs = _inputs(facts, dict(stages["options"]), model, code) | {"force_constants": constants}
            graph.add_task(WORKCHAINS[PHONONS], name=facts["name"], **inputs)


def _inputs(facts: JsonObject, options: JsonObject, model: object, code: object) -> dict[str, object]:
    """Inputs of a described stage but for the structure or the force constants."""
    inference = orm.Dict(dict(facts["inference"]))
    settings, n_jobs = dict(facts["settings"]), int(facts["label_jobs"])
    return stage_inputs(facts["kind"], settings, inference, options, code, label_jobs=n_jobs) | {"model": model}
