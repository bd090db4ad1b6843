"""Relaxation of the input structure."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.structures import structure_from_configurations


@calcfunction
@exit_codes
def relaxation(
    structure: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict
) -> dict[str, orm.Data]:
    """Relax a crystal as FreeEnergy.relax_input_cell says.

    Outputs: structure (StructureData), relaxed (the same as a frame with energy, forces and stress),
    summary (algorithm, steps, residual force and stress, space groups), run_info.
    """
    outputs = run_stage("relaxation", model, inference, settings.get_dict(), structure=structure)
    relaxed = as_science(outputs["relaxed"])
    return outputs | {"structure": structure_from_configurations(relaxed)}
