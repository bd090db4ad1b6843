"""Subsampling of trajectories and cluster sets, and what to give it from finished runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.datasets.from_graph import STAGE_OF, stages_of
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.subsampling import subsample as pick
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import Subsampling

REPORT, PICKS = "report", "picks"
SAMPLED = ("md_sampling", "phonon_sampling")
NO_FRAMES = "holds no frames to choose from: give training sets or sampling stages."


@calcfunction
@exit_codes
def subsample(settings: orm.Dict, **sets: orm.Data) -> dict[str, orm.Data]:
    """Pick frames of TrajectoryData and ClusterSetData nodes; settings: a Subsampling.

    Outputs carry the inputs' names and hold the picked frames, with their rank and reason in the origin; a set
    none of whose frames is picked has no output.  ``picks`` has a row for each frame in the order of the ranks,
    ``report`` the numbers by stratum and reason.
    """
    for name, node in sets.items():
        if name in (REPORT, PICKS):
            raise InvalidSettings(f"{name!r} is the name of an output: give this set another.")
        if not isinstance(node, orm.TrajectoryData | ClusterSetData):
            raise InvalidSettings(f"{name} is a {type(node).__name__}: give TrajectoryData and ClusterSetData nodes.")
    wanted = Subsampling(**settings.get_dict())
    kept, picks = pick({name: as_science(node) for name, node in sets.items()}, wanted)
    report = orm.Dict(picks.summary())
    return {name: as_node(value) for name, value in kept.items()} | {
        PICKS: as_node(Table(picks.columns())),
        REPORT: report,
    }


def subsample_inputs(
    processes: Sequence[orm.ProcessNode],
    *,
    crystal: bool = True,
    clusters: bool = True,
    **settings: object,
) -> dict[str, orm.Data]:
    """Inputs of :func:`subsample` from finished training sets or their sampling stages.

    Sets are named ``md_sampling_frames``, ``md_sampling_n_3``, ``phonon_sampling_n_3``; those of a second
    stage of a kind ``md_sampling_2_n_3``.  Temperatures are those of the stages' settings.
    crystal, clusters: whether periodic frames and cluster sets are candidates.
    Raises InvalidSettings for processes that hold no frames, and for crystals of different elements.
    """
    sets: dict[str, orm.Data] = {}
    temperatures: dict[str, float] = {}
    met: dict[str, int] = {}
    elements: dict[str, str] = {}
    for stage in _sampling_stages(processes):
        section = STAGE_OF[str(stage.process_label)]
        met[section] = met.get(section, 0) + 1
        prefix = section if met[section] == 1 else f"{section}_{met[section]}"
        found = _sets_of(stage, crystal=crystal, clusters=clusters)
        elements.setdefault(", ".join(sorted(set(stage.outputs.trajectory.symbols))), f"{prefix}<{stage.pk}>")
        sets |= {f"{prefix}_{label}": node for label, node in found.items()}
        temperature = stage.inputs.settings.get_dict()["temperature_K"]
        temperatures |= {f"{prefix}_{label}": temperature for label in found}
    if not sets:
        shown = ", ".join(f"{process.process_label}<{process.pk}>" for process in processes) or "no process"
        raise InvalidSettings(f"{shown} {NO_FRAMES}")
    if len(elements) > 1:
        shown = "; ".join(f"{stage} has {symbols}" for symbols, stage in elements.items())
        raise InvalidSettings(f"Frames of different elements cannot be compared ({shown}): choose from one crystal.")
    wanted = Subsampling(**{"temperatures_K": temperatures} | settings)
    return {"settings": orm.Dict(wanted.to_dict()), **sets}


def _sampling_stages(processes: Sequence[orm.ProcessNode]) -> Iterator[orm.WorkChainNode]:
    """Stages with frames; raises InvalidSettings for a process that has none."""
    for process in processes:
        found = [stage for stage in stages_of(process) if STAGE_OF.get(stage.process_label or "") in SAMPLED]
        if not found:
            raise InvalidSettings(f"{process.process_label}<{process.pk}> {NO_FRAMES}")
        yield from found


def _sets_of(stage: orm.ProcessNode, *, crystal: bool, clusters: bool) -> dict[str, orm.Data]:
    """Frames and cluster sets of a finished stage by label."""
    if not stage.is_finished_ok:
        raise InvalidSettings(f"{stage.process_label}<{stage.pk}> is not finished: choose from it when it is.")
    found = {"frames": stage.outputs.trajectory} if crystal else {}
    if clusters and "clusters" in stage.outputs:
        found |= {label: stage.outputs.clusters[label] for label in stage.outputs.clusters}
    return found


def picked_sets(node: orm.Node) -> dict[str, str]:
    """Names of the sets from which a finished :func:`subsample` picked frames, by uuid of their nodes.

    Raises InvalidSettings for anything else.
    """
    if getattr(node, "process_label", None) != "subsample" or not node.is_finished_ok:
        shown = getattr(node, "process_label", None) or type(node).__name__
        raise InvalidSettings(f"{shown}<{node.pk}> is no finished subsample: give what it printed.")
    return {node.inputs[name].uuid: name for name in np.unique(node.outputs.picks.get_array("set")).tolist()}


def picked_rows(node: orm.Node) -> dict[str, IntArray]:
    """Rows of the frames that a finished :func:`subsample` picked, by uuid of the node that they are in.

    Raises InvalidSettings for anything else.
    """
    named = picked_sets(node)
    names, rows = node.outputs.picks.get_array("set"), node.outputs.picks.get_array("row")
    return {uuid: rows[names == name] for uuid, name in named.items()}
