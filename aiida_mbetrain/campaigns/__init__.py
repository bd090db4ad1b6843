"""Campaigns: training sets of many crystals, models, temperatures and pressures, as one plan and one dataset.

A campaign is one YAML file (``settings``, ``sources``).  It is expanded into stages that members share (``plan``,
``costs``), which become graphs of the stage WorkChains (``graph``); what is finished, running, failed or missing is
read from the provenance graph (``state``), and what is finished is exported to one file (``export``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida_workgraph import WorkGraph

__all__ = ["build"]


def build(path: str | Path) -> WorkGraph:
    """The WorkGraph of what is missing of a campaign file, to which tasks can be added before it is submitted.

    The campaign is recorded in the loaded profile, as by ``aiida-mbetrain campaign run``, whose ``status``, ``cancel``
    and ``export`` then know it by its name.  Each task is the graph of one crystal and model, ``c0_urea_mace`` for the
    first, with the input sockets ``structure``, ``model``, ``stages`` and ``code``; a task of your own waits for it by
    ``graph.tasks["c0_urea_mace"] >> own``.  The graph has no tasks where nothing is missing.

    Raises InvalidCampaign with all refusals, UnreadableFile, InvalidSettings.
    """
    from aiida_mbetrain.campaigns.run import graph_of, prepare
    from aiida_mbetrain.campaigns.state import stage_states, to_start

    plan, record, _ = prepare(path)
    states = stage_states(plan)
    return graph_of(plan, record, states, to_start(states))
