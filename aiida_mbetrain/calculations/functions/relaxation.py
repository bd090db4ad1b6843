"""Relaxation of the input structure."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage
from aiida_mbetrain.data.structures import structure_from_configurations, trajectory_to_configurations


@calcfunction
@exit_codes
def relaxation(structure: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict) -> Any:
    """Relax a crystal as FreeEnergy.relax_input_cell says.

    Outputs: structure (StructureData), relaxed (the same as a frame with energy, forces and stress),
    summary (algorithm, steps, residual force and stress, space groups), run_info.
    """
    outputs = run_stage("relaxation", model, inference, settings.get_dict(), structure=structure)
    relaxed = trajectory_to_configurations(outputs["relaxed"])
    return outputs | {"structure": structure_from_configurations(relaxed)}
