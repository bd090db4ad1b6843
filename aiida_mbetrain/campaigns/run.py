"""Start what is missing of a campaign: through the daemon, or stage after stage in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aiida import orm
from aiida.engine import run_get_node

from aiida_mbetrain.campaigns.costs import estimate_plan
from aiida_mbetrain.campaigns.found import force_constants_of
from aiida_mbetrain.campaigns.inputs import WORKCHAINS, stage_inputs
from aiida_mbetrain.campaigns.plan import DYNAMICS, Plan, Stage, make_plan
from aiida_mbetrain.campaigns.reading import read_sources
from aiida_mbetrain.campaigns.record import Record, group_of, read_record, record_of, write_record
from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.replicas import TOGETHER, made_together, process_of
from aiida_mbetrain.campaigns.settings import read_campaign
from aiida_mbetrain.campaigns.state import FAILED, FINISHED, StageState, owner, owner_is_alive, stage_states
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.errors import InvalidSettings, StoppedEarly

if TYPE_CHECKING:
    from aiida_workgraph import WorkGraph

RUNS_HERE = "running_here"
"""Extra of the group: the process that runs the campaign without a daemon."""

OnStage = Callable[[int, int, Stage], None]


def prepare(path: str | Path) -> tuple[Plan, Record, orm.Group]:
    """Read a campaign file, refuse what cannot be computed, and record the campaign in the profile; starts nothing.

    Raises InvalidCampaign with all refusals, UnreadableFile, InvalidSettings.
    """
    settings = read_campaign(path)
    crystals, models = read_sources(settings, Path(path).parent)
    group = group_of(settings.name, create=True)
    before = read_record(group)
    plan = make_plan(settings, crystals, models, {} if before is None else before.repairs)
    estimate_plan(plan)
    if before is not None:
        earlier = before.plan()
        require_no_contradiction(earlier, stage_states(earlier), plan)
    record = record_of(settings, crystals, models, before)
    write_record(group, record)
    return record.plan(), record, group


def graph_of(plan: Plan, record: Record, states: Mapping[str, StageState], wanted: Sequence[str]) -> WorkGraph:
    """The graph of some stages; finished ones that they need are inputs."""
    from aiida_mbetrain.campaigns.graph import build_graph

    code = None if record.settings.code is None else orm.load_code(record.settings.code)
    return build_graph(plan, record, wanted, existing_force_constants(plan, states), code)


def require_no_contradiction(before: Plan, states: Mapping[str, StageState], after: Plan) -> None:
    """Refuse changes of what is finished already.

    before, states: the campaign as it was last started.  Raises InvalidCampaign with every changed stage.
    """
    refusals = Refusals()
    for name, stage in after.stages.items():
        old = before.stages.get(name)
        if old is not None and old.key != stage.key and states[name].state == FINISHED:
            refusals.add(
                name,
                f"<{states[name].pk}> has finished it with other input ({_difference(old, stage)}): undo the change, "
                "or give the campaign another name, which finds and uses all that stays the same.",
            )
    refusals.raise_if_any()


def _difference(old: Stage, new: Stage) -> str:
    """Changed settings of a stage, with their values before."""
    if old.parent is not None and new.parent is not None and old.parent.key != new.parent.key:
        return f"that of {new.parent.name}"
    if old.crystal.digest != new.crystal.digest:
        return f"another crystal, {old.crystal.source}"
    if old.model.identity != new.model.identity:
        return "another model"
    changed = [
        f"{name} = {value!r}"
        for first, second in ((old.settings, new.settings), (old.inference, new.inference))
        for name, value in first.to_dict().items()
        if second.to_dict()[name] != value
    ]
    return ", ".join(changed)


def submit_campaign(
    plan: Plan, record: Record, group: orm.Group, states: Mapping[str, StageState], wanted: Sequence[str]
) -> orm.ProcessNode:
    """Submit the graph of the wanted stages to the daemon."""
    graph = graph_of(plan, record, states, wanted)
    graph.submit()
    node: orm.ProcessNode = graph.process
    group.add_nodes(node)
    return node


def existing_force_constants(plan: Plan, states: Mapping[str, StageState]) -> dict[str, str]:
    """Uuids of the force constants of phonon samplings whose parent is finished, by name of the sampling."""
    found = {}
    for name, stage in plan.stages.items():
        if stage.parent is not None and states[stage.parent.name].state == FINISHED:
            constants = _constants(stage, states)
            if constants is not None:
                found[name] = constants.uuid
    return found


def _constants(stage: Stage, states: Mapping[str, StageState]) -> ForceConstantsData | None:
    assert stage.parent is not None
    assert stage.constants_label is not None
    parent = cast(orm.WorkChainNode, orm.load_node(states[stage.parent.name].uuid))
    return force_constants_of(parent, stage.constants_label)


def run_here(
    plan: Plan,
    record: Record,
    group: orm.Group,
    states: Mapping[str, StageState],
    wanted: Sequence[str],
    on_stage: OnStage,
) -> None:
    """Run the wanted stages in this process, one after another; a failing one holds up only those that need it.

    Dynamics of one crystal are made together as the campaign says.
    on_stage: told the number of the stage, how many there are, and the stage.
    Raises InvalidSettings where another process runs the campaign, StoppedEarly after Ctrl-C.
    """
    code = None if record.settings.code is None else orm.load_code(record.settings.code)
    with only_here(group, "campaign"):
        known, done = dict(states), set()
        number = 1
        for together in made_together([plan.stages[name] for name in wanted], record.settings.replicas_per_job):
            stage = together[0]
            inputs = _inputs(together, record, known, code)
            if stage.key in done or inputs is None:
                number += len(together)
                continue
            for each in together:
                done.add(each.key)
                on_stage(number, len(wanted), each)
                number += 1
            _, node = run_get_node(WORKCHAINS[process_of(together)[0]], **inputs, metadata={"description": owner()})
            group.add_nodes([node, *_samplings(node)])
            known[stage.name] = StageState(FINISHED if node.is_finished_ok else FAILED, node.pk, node.uuid)
            if node.exit_status == StoppedEarly.code:
                raise StoppedEarly(f"{stage.name} was interrupted: the same command goes on.")


def _samplings(node: orm.ProcessNode) -> list[orm.ProcessNode]:
    """The stages of dynamics that a process has made together; none for any other."""
    if node.process_label != WORKCHAINS[TOGETHER].__name__:
        return []
    return [child for child in node.called if child.process_label == WORKCHAINS[DYNAMICS].__name__]


def _inputs(
    together: Sequence[Stage], record: Record, states: Mapping[str, StageState], code: orm.AbstractCode | None
) -> dict[str, Any] | None:
    """All inputs of what makes some stages; None where force constants are missing, for then it cannot start."""
    stage, (kind, settings) = together[0], process_of(together)
    inference = orm.Dict(stage.inference.to_dict())
    chosen = record.settings
    inputs = stage_inputs(kind, settings.to_dict(), inference, chosen.options, code, label_jobs=chosen.label_jobs)
    inputs["model"] = orm.load_node(record.models[stage.model.name])
    if stage.parent is None:
        inputs["structure"] = orm.load_node(record.crystals[stage.crystal.name])
        return inputs
    constants = _constants(stage, states) if states[stage.parent.name].state == FINISHED else None
    return None if constants is None else inputs | {"force_constants": constants}


@contextmanager
def only_here(group: orm.Group, what: str) -> Iterator[None]:
    """Note in a group that this process works on it.

    what: the kind of work, for the message.  Raises InvalidSettings where another process of this machine works on it.
    """
    before = group.base.extras.get(RUNS_HERE, None)
    if before is not None and owner_is_alive(before):
        raise InvalidSettings(f"The {what} is being run by the {before}: wait for it, or stop it first.")
    group.base.extras.set(RUNS_HERE, owner())
    try:
        yield
    finally:
        group.base.extras.delete(RUNS_HERE)
