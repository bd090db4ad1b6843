"""Molecular dynamics of several replicas of a supercell, in process."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage


@calcfunction
@exit_codes
def md_replicas(
    supercell: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict
) -> dict[str, orm.Data]:
    """Run molecular dynamics of several replicas of a supercell, their evaluations as one batch.

    settings: an MDReplicas, of whose sampling md_crystal is used.
    Outputs: replicas.NAME.trajectory (stored frames) and replicas.NAME.thermodynamics (series from t = 0) by name of
    the replica, outcomes (status and message of each), run_info.
    """
    return run_stage("md_replicas", model, inference, settings.get_dict(), supercell=supercell)
