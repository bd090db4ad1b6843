"""State of a campaign from the provenance graph: finished, running, failed and missing stages."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import psutil
from aiida import orm

from aiida_mbetrain.campaigns.found import FoundStage, force_constants_of, found_stages
from aiida_mbetrain.campaigns.plan import Plan, Stage
from aiida_mbetrain.campaigns.record import group_of, read_record
from aiida_mbetrain.errors import StoppedEarly, UnreadableFile

FINISHED, RUNNING, SCHEDULED = "finished", "running", "scheduled"
FAILED, BLOCKED, INTERRUPTED, MISSING = "failed", "blocked", "interrupted", "missing"
STATES = (FINISHED, RUNNING, SCHEDULED, FAILED, BLOCKED, INTERRUPTED, MISSING)
"""blocked: the stage that it needs has failed.  interrupted: stopped from outside; ``run`` starts it again."""

ENDED = ["finished", "excepted", "killed"]
"""States of a process that will not go on."""

OWNER = "process of this machine:"
GRAPH = "campaign_"
"""Beginning of the names of campaigns' graphs."""


@dataclass(frozen=True)
class StageState:
    """State of a planned stage, and the node that says so."""

    state: str
    pk: int | None = None
    uuid: str | None = None
    reason: str = ""


def stage_states(plan: Plan) -> dict[str, StageState]:
    """The state of every stage of a plan, by name; stages that any unfinished campaign will run are scheduled."""
    by_key: dict[str, list[FoundStage]] = {}
    for found in found_stages():
        by_key.setdefault(found.key, []).append(found)
    scheduled = scheduled_keys()
    states: dict[str, StageState] = {}
    for name, stage in plan.stages.items():
        state = _of_nodes(by_key.get(stage.key, []))
        if state.state not in (FINISHED, RUNNING):
            blocked = _blocked(stage, states)
            if blocked is not None:
                state = blocked
            elif stage.key in scheduled and state.state != FAILED:
                state = StageState(SCHEDULED)
        states[name] = state
    return states


def recorded_states(name: str) -> tuple[Plan, dict[str, StageState]]:
    """The plan of a campaign of the profile and the state of its stages.  Raises UnreadableFile."""
    record = read_record(group_of(name))
    if record is None:
        raise UnreadableFile(f"The campaign {name} was never started: see `aiida-mbetrain campaign run`.")
    plan = record.plan()
    return plan, stage_states(plan)


def _of_nodes(nodes: list[FoundStage]) -> StageState:
    """State by the nodes of one key, oldest first: one good result counts, else what runs, else the last failure."""
    finished = [node for node in nodes if node.is_finished_ok]
    if finished:
        return StageState(FINISHED, finished[0].pk, finished[0].uuid)
    running = [node for node in nodes if not node.is_terminated and is_alive(node)]
    if running:
        return StageState(RUNNING, running[-1].pk, running[-1].uuid)
    if not nodes:
        return StageState(MISSING)
    last = nodes[-1]
    if not last.is_terminated:
        return StageState(INTERRUPTED, last.pk, last.uuid, "its process is gone")
    if last.process_state == "killed" or last.exit_status == StoppedEarly.code:
        return StageState(INTERRUPTED, last.pk, last.uuid, last.message or "killed")
    code = "" if last.exit_status is None else f"[{last.exit_status}] "
    return StageState(FAILED, last.pk, last.uuid, f"{code}{last.message}")


def _blocked(stage: Stage, states: Mapping[str, StageState]) -> StageState | None:
    if stage.parent is None:
        return None
    parent = states[stage.parent.name]
    if parent.state == FAILED:
        return StageState(BLOCKED, reason=f"{stage.parent.name} has failed")
    if parent.state == FINISHED and parent.uuid is not None and stage.constants_label is not None:
        node = cast(orm.WorkChainNode, orm.load_node(parent.uuid))
        if force_constants_of(node, stage.constants_label) is None:
            reason = f"<{parent.pk}> has no {stage.constants_label}; see `verdi process report {parent.pk}`"
            return StageState(BLOCKED, reason=reason)
    return None


def is_alive(stage: FoundStage) -> bool:
    """True for an unfinished stage that somebody works on: an unfinished graph, or a process of this machine.

    The nodes of a run that was killed stay unfinished for ever.
    """
    node = cast(orm.ProcessNode, orm.load_node(stage.pk))
    while node.caller is not None and not node.description.startswith(OWNER):
        node = node.caller
    if node.description.startswith(OWNER):
        return owner_is_alive(node.description)
    return is_graph(node) and not bool(node.is_terminated)


def is_graph(node: orm.ProcessNode) -> bool:
    """True for the process of a WorkGraph."""
    return str(node.process_label).startswith("WorkGraph<")


def owner() -> str:
    """This process, so that others can see whether it still runs."""
    process = psutil.Process()
    return f"{OWNER} {platform.node()} {process.pid} {process.create_time():.2f}"


def owner_is_alive(text: str) -> bool:
    """True where the process still runs, or runs on another machine, which cannot be seen from here."""
    host, pid, created = text.removeprefix(OWNER).split()
    if host != platform.node():
        return True
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(created)) < 1)
    except psutil.NoSuchProcess:
        return False


def graphs_of(name: str, *, unfinished: bool = False) -> list[orm.ProcessNode]:
    """The graphs of a campaign, newest first, whoever submitted them; those of single crystals are below them."""
    filters: dict[str, object] = {"attributes.process_label": {"like": f"WorkGraph<{GRAPH}%"}}
    if unfinished:
        filters["attributes.process_state"] = {"!in": ENDED}
    query = orm.QueryBuilder().append(orm.WorkflowNode, filters=filters, project="*", tag="graph")
    query.append(orm.Dict, with_outgoing="graph", filters={"attributes.campaign": name})
    return list(query.distinct().order_by({"graph": {"id": "desc"}}).all(flat=True))


def scheduled_keys() -> set[str]:
    """Keys of all stages in unfinished graphs of campaigns."""
    unfinished = {
        "attributes.process_label": {"like": f"WorkGraph<{GRAPH}%"},
        "attributes.process_state": {"!in": ENDED},
    }
    query = orm.QueryBuilder().append(orm.WorkflowNode, filters=unfinished, tag="graph")
    described = {"attributes": {"has_key": "campaign"}}
    query.append(orm.Dict, with_outgoing="graph", filters=described, project="attributes.stages")
    stages = [stage for stages in query.all(flat=True) for stage in stages]
    return {key for stage in stages for key in stage["keys"]}


def to_start(states: Mapping[str, StageState], *, failed: bool = False) -> list[str]:
    """Names of the stages that a run starts: what is missing or was interrupted; with ``failed`` also what failed."""
    wanted = {MISSING, INTERRUPTED} | ({FAILED, BLOCKED} if failed else set())
    return [name for name, state in states.items() if state.state in wanted]


def counts(states: Iterable[StageState]) -> dict[str, int]:
    """Number of stages in each state, in the order of ``STATES``."""
    found = [state.state for state in states]
    return {state: found.count(state) for state in STATES if state in found}
