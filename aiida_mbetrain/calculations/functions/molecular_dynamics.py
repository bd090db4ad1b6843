"""Molecular dynamics of the supercell, in process."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage
from aiida_mbetrain.data.structures import structure_from_configurations, structure_to_configurations
from aiida_mbetrain.science.crystal import make_supercell, md_supercell_matrix
from aiida_mbetrain.settings import ClassicalMD


@calcfunction
@exit_codes
def md_supercell(structure: orm.StructureData, settings: orm.Dict) -> orm.StructureData:
    """The supercell that ClassicalMD asks for."""
    crystal = structure_to_configurations(structure)
    matrix = md_supercell_matrix(crystal, ClassicalMD(**settings.get_dict()))
    node = structure_from_configurations(make_supercell(crystal, matrix))
    node.base.attributes.set("supercell_matrix", matrix.tolist())
    return node


@calcfunction
@exit_codes
def molecular_dynamics(
    supercell: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict
) -> dict[str, orm.Data]:
    """Run molecular dynamics of a supercell.

    settings: an MDSampling whose temperature, pressure and md_crystal are used.
    Outputs: trajectory (stored frames), thermodynamics (series from t = 0), run_info.
    """
    return run_stage("molecular_dynamics", model, inference, settings.get_dict(), supercell=supercell)
