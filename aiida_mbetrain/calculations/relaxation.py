"""Relaxation of a crystal, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.settings import FreeEnergy


class RelaxationCalculation(StageCalculation):
    """Same ports and same arrays as the calcfunction ``relaxation``."""

    stage = "relaxation"
    settings_class = FreeEnergy
    parser = "mbetrain.relaxation"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData)
        spec.output("structure", valid_type=orm.StructureData, required=False, help="The relaxed crystal.")
        spec.output("relaxed", valid_type=orm.TrajectoryData, required=False, help="With energy, forces and stress.")
        spec.output("summary", valid_type=orm.Dict, required=False, help="Steps, residuals, space groups.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The crystal."""
        return {"structure": self.inputs.structure}
