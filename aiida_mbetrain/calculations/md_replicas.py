"""Molecular dynamics of several replicas of a supercell, as one job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import MDReplicas


class MDReplicasCalculation(StageCalculation):
    """Same ports and same arrays as the calcfunction ``md_replicas``."""

    stage = "md_replicas"
    settings_class = MDReplicas

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        spec.input("supercell", valid_type=orm.StructureData)
        spec.output_namespace(
            "replicas",
            valid_type=(orm.TrajectoryData, TableData),
            dynamic=True,
            required=False,
            help="By name of the replica: trajectory (the stored frames), thermodynamics (series from t = 0).",
        )
        spec.output("outcomes", valid_type=orm.Dict, required=False, help="Status and message of every replica.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The supercell."""
        return {"supercell": self.inputs.supercell}
