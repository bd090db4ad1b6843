"""Molecular dynamics of a supercell, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import MDSampling


class MolecularDynamicsCalculation(StageCalculation):
    """Same ports and same arrays as the calcfunction ``molecular_dynamics``."""

    stage = "molecular_dynamics"
    settings_class = MDSampling

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        spec.input("supercell", valid_type=orm.StructureData)
        spec.output("trajectory", valid_type=orm.TrajectoryData, required=False, help="The stored frames.")
        spec.output("thermodynamics", valid_type=TableData, required=False, help="Series from t = 0.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The supercell."""
        return {"supercell": self.inputs.supercell}
