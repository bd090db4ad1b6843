"""Relaxation and vibrations of an isolated molecule, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import FreeEnergy


class IsolatedMoleculeCalculation(StageCalculation):
    """Same ports and same arrays as the calcfunction ``isolated_molecule``."""

    stage = "isolated_molecule"
    settings_class = FreeEnergy

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The molecule, not periodic.")
        spec.output("relaxed", valid_type=orm.TrajectoryData, required=False, help="With energy and forces.")
        spec.output("vibrations", valid_type=TableData, required=False, help="Frequencies.")
        spec.output("summary", valid_type=orm.Dict, required=False, help="Geometry, symmetry number, residual force.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The molecule."""
        return {"structure": self.inputs.structure}
