"""Force constants of a relaxed crystal, as one job for all displacements."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.settings import FreeEnergy


class ForceConstantsCalculation(StageCalculation):
    """Same ports and same arrays as the calcfunction ``force_constants``."""

    stage = "force_constants"
    settings_class = FreeEnergy

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The relaxed crystal.")
        spec.output("force_constants", valid_type=ForceConstantsData, required=False)

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The crystal."""
        return {"structure": self.inputs.structure}
