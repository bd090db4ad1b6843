"""Energies, forces, stress and features of frames and clusters, in process."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage


@calcfunction
@exit_codes
def labels(model: orm.Data, inference: orm.Dict, **sets: orm.Data) -> dict[str, orm.Data]:
    """Label TrajectoryData and ClusterSetData nodes; outputs carry the inputs' names."""
    return run_stage("labels", model, inference, None, **sets)
