"""Energies, forces, stress and features of frames and clusters, in process, and labels of several jobs in one node."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.science.stages import join_parts


@calcfunction
@exit_codes
def labels(model: orm.Data, inference: orm.Dict, part: orm.List | None = None, **sets: orm.Data) -> dict[str, orm.Data]:
    """Label TrajectoryData and ClusterSetData nodes; outputs carry the inputs' names.

    part: [number from 1, number of parts]; the outputs are some frames of some of the sets.
    """
    settings = None if part is None else {"part": part.get_list()}
    return run_stage("labels", model, inference, settings, **sets)


@calcfunction
@exit_codes
def join_labels(model: orm.Data, inference: orm.Dict, run_info: orm.Dict, **parts: Nodes) -> dict[str, orm.Data]:
    """Labels of several jobs as one node for each set.

    model, inference, run_info: of the jobs, for the provenance of the nodes.
    parts: namespaces ``part_1``, ``part_2``, ... with the outputs of the jobs.
    """
    in_order = [parts[f"part_{number}"] for number in range(1, len(parts) + 1)]
    joined = join_parts([{name: as_science(node) for name, node in part.items()} for part in in_order])
    return {name: as_node(value) for name, value in joined.items()}
