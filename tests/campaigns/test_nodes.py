"""Crystals and models of a campaign that are nodes, the rate of a campaign, and its share of jobs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.common import timezone
from ase.build import bulk
from campaign_files import argon_campaign

from aiida_mbetrain.campaigns.plan import Plan, make_plan, share_jobs
from aiida_mbetrain.campaigns.progress import HERE, place, rate
from aiida_mbetrain.campaigns.reading import read_sources
from aiida_mbetrain.campaigns.settings import CampaignSettings
from aiida_mbetrain.campaigns.state import FINISHED, MISSING, RUNNING, StageState
from aiida_mbetrain.errors import InvalidCampaign


def structure(label: str, a: float) -> orm.StructureData:
    return orm.StructureData(ase=bulk("Ar", "fcc", a=a), label=label).store()


def planned(**changes: Any) -> Plan:
    settings = CampaignSettings(**argon_campaign(**changes))
    return make_plan(settings, *read_sources(settings, Path()))


@pytest.fixture
def group(profile: Any) -> str:
    """Label of a group of two crystals."""
    found, _ = orm.Group.collection.get_or_create("argon crystals")
    if not found.count():
        found.add_nodes([structure("wide", 5.5), structure("narrow", 5.1)])
    return found.label


def test_the_structures_of_a_group_are_crystals_named_after_their_labels(group):
    plan = planned(crystals=[{"group": group}], pressures_GPa=[0.0])
    assert {member.crystal for member in plan.members} == {"narrow", "wide"}


def test_a_calculator_of_a_node_is_the_model_of_the_same_keys(group):
    model = argon_campaign()["models"]["lj"]
    node = orm.Dict({"name": model["name"], "parameters": model["parameters"]}).store()
    by_node = planned(crystals=[{"group": group}], models={"lj": node.uuid})
    assert {s.key for s in by_node.stages.values()} == {
        s.key for s in planned(crystals=[{"group": group}]).stages.values()
    }


def test_nodes_that_cannot_be_used_are_all_listed(profile):
    number = orm.Int(1, label="one").store()
    empty, _ = orm.Group.collection.get_or_create("no crystals")
    crystals = [{"node": number.pk}, {"node": 10**9}, {"group": empty.label}, {"group": "nowhere"}]
    with pytest.raises(InvalidCampaign) as caught:
        planned(crystals=crystals, models={"lj": number.pk})
    text = "\n".join(caught.value.refusals)
    assert f"<{number.pk}> is a Int, not a StructureData: leave it out." in text
    assert "There is no node 1000000000 in this profile: give a pk or uuid." in text
    assert "The group no crystals is empty" in text
    assert "There is no group nowhere in this profile" in text
    assert f"<{number.pk}> is a Int, no model" in text


@pytest.mark.parametrize(("max_jobs", "n_graphs"), [(1, 5), (3, 2), (10, 3), (10, 23), (7, 1)])
def test_no_more_stages_than_asked_for_run_at_once(max_jobs, n_graphs):
    at_once, jobs_of_each = share_jobs(max_jobs, n_graphs)
    assert 1 <= at_once <= n_graphs
    assert jobs_of_each >= 1
    assert max_jobs - n_graphs < at_once * jobs_of_each <= max_jobs


def test_the_rate_follows_from_durations_of_the_same_kind(group):
    plan = planned(crystals=[{"group": group}], pressures_GPa=[0.0], temperatures_K=[20.0])
    states = {name: StageState(MISSING) for name in plan.stages}
    assert rate(plan, states) is None
    durations = {"quasi_harmonic": 100.0, "phonon_sampling": 30.0}
    for name, stage in plan.stages.items():
        if name.startswith("narrow/") and stage.kind in durations:
            states[name] = StageState(FINISHED, ended(durations[stage.kind]))
    running = orm.WorkChainNode().store()
    states["narrow/lj/20K_0GPa/md_sampling"] = StageState(RUNNING, running.pk)
    found = rate(plan, states)
    assert found is not None
    # dynamics of both crystals at the mean of what is known, and of the other one force constants and phonons
    assert found.seconds_left == pytest.approx(2 * 65.0 + 100.0 + 30.0, rel=0.01)
    assert found.stages_per_hour == pytest.approx(3600.0 * 4 / found.seconds_left)
    assert place(running.pk) == HERE


def ended(seconds: float) -> int:
    """Pk of a process that took so long."""
    node = orm.WorkChainNode(ctime=timezone.now() - timedelta(seconds=seconds)).store()
    assert (node.mtime - node.ctime).total_seconds() == pytest.approx(seconds, abs=0.5)
    return node.pk
