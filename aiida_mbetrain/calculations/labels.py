"""Energies, forces, stress and features of frames and clusters, as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.settings import JsonObject


class LabelsCalculation(StageCalculation):
    """Same arrays as the calcfunction ``labels``; the outputs carry the names of the sets."""

    stage = "labels"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports of the stage."""
        super().define(spec)
        labelled = (orm.TrajectoryData, ClusterSetData)
        spec.input_namespace("sets", valid_type=labelled, dynamic=True, help="What is to be labelled.")
        spec.input(
            "part",
            valid_type=orm.List,
            required=False,
            validator=validate_part,
            help="[number from 1, number of parts]: label a part of the frames.",
        )
        spec.outputs.dynamic = True
        spec.outputs.valid_type = labelled  # type: ignore[assignment]  # plumpy declares one class, takes several

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """Frames and clusters under any names."""
        return dict(self.inputs.sets)

    def stage_settings(self) -> JsonObject:
        """The part, where it is not all."""
        return {"part": self.inputs.part.get_list()} if "part" in self.inputs else {}


def validate_part(part: orm.List | None, _: object) -> str | None:
    """Message for anything but two whole numbers, of which the first is not above the second."""
    given = [1, 1] if part is None else part.get_list()
    if len(given) == 2 and all(type(number) is int for number in given) and 1 <= given[0] <= given[1]:
        return None
    return f"part = {given}: give [number from 1, number of parts]."
