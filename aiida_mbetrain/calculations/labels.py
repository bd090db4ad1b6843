"""Energies, forces, stress and features of frames and clusters, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.cluster_set import ClusterSetData


class LabelsCalculation(StageCalculation):
    """Same arrays as the calcfunction ``labels``; the outputs carry the names of the sets."""

    stage = "labels"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        labelled = (orm.TrajectoryData, ClusterSetData)
        spec.input_namespace("sets", valid_type=labelled, dynamic=True, help="What is to be labelled.")
        spec.outputs.dynamic = True
        spec.outputs.valid_type = labelled  # type: ignore[assignment]  # plumpy declares one class, takes several

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """Frames and clusters under any names."""
        return dict(self.inputs.sets)
