"""Rate and time left of a campaign, and the computers that its stages run on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import cast

from aiida import orm

from aiida_mbetrain.campaigns.plan import Plan
from aiida_mbetrain.campaigns.state import FINISHED, INTERRUPTED, MISSING, RUNNING, SCHEDULED, StageState

HERE = "this machine"


@dataclass(frozen=True)
class Rate:
    """Speed of a running campaign.

    seconds_left: until all that is not finished or failed is done, at the number of stages that run now.
    """

    stages_per_hour: float
    seconds_left: float


def rate(plan: Plan, states: Mapping[str, StageState]) -> Rate | None:
    """Rate by the durations of finished stages of the same kind; None where nothing runs or nothing is finished yet."""
    seconds = _seconds({state.pk for state in states.values() if state.state in (FINISHED, RUNNING)})
    by_kind: dict[str, list[float]] = {}
    for name, state in states.items():
        if state.state == FINISHED and state.pk in seconds:
            by_kind.setdefault(plan.stages[name].kind, []).append(seconds[state.pk])
    n_running = len({state.pk for state in states.values() if state.state == RUNNING})
    if not by_kind or not n_running:
        return None
    usual = fmean(value for values in by_kind.values() for value in values)
    expected = {kind: fmean(values) for kind, values in by_kind.items()}
    left = {
        plan.stages[name].key: expected.get(plan.stages[name].kind, usual)
        for name, state in states.items()
        if state.state in (RUNNING, SCHEDULED, MISSING, INTERRUPTED)
    }
    total = sum(left.values())
    return Rate(3600.0 * n_running * len(left) / total, total / n_running)


def _seconds(pks: set[int | None]) -> dict[int | None, float]:
    """Time from creation to the last change of processes, by pk."""
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"id": {"in": list(pks) or [-1]}}, project=["id", "ctime", "mtime"]
    )
    return {pk: max((mtime - ctime).total_seconds(), 1.0) for pk, ctime, mtime in query.all()}


def place(pk: int) -> str:
    """Computers of the unfinished jobs of a running stage; this machine where it has none."""
    node = cast(orm.ProcessNode, orm.load_node(pk))
    jobs = (job for job in node.called_descendants if isinstance(job, orm.CalcJobNode) and not job.is_terminated)
    return ", ".join(sorted({str(job.computer.label) for job in jobs if job.computer is not None})) or HERE
