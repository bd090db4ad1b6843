"""Training as a job."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mbetrain.calculations.functions.training import OTHER_FRAMES, science_names
from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import Training


class TrainingCalculation(StageCalculation):
    """A model of labelled frames, as the calcfunction ``training`` makes it."""

    stage = "training"
    needs_potential = False
    settings_class = Training
    parser = "mbetrain.training"

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:  # type: ignore[override]
        """Ports of the stage."""
        super().define(spec)
        spec.input("frames", valid_type=LabelledFramesData, help="Training, validation and test set.")
        spec.input("foundation", valid_type=MaceModelData, required=False, help="The model that is fine-tuned.")
        spec.input("replay", valid_type=orm.SinglefileData, required=False, help="Extended XYZ of its own training.")
        spec.input_namespace(
            OTHER_FRAMES,
            valid_type=LabelledFramesData,
            dynamic=True,
            required=False,
            help="Of a multihead training, frames with the labels of other methods, by head.",
        )
        spec.output("model", valid_type=MaceModelData, required=False, help="Reference, or reference minus baseline.")
        spec.output("heads", valid_type=MaceModelData, required=False, help="The model with all its heads.")
        spec.output("history", valid_type=TableData, required=False, help="Validation errors by epoch.")
        spec.output("summary", valid_type=orm.Dict, required=False, help="Kind, shifts, sizes, labels, baseline.")

    def science_inputs(self) -> Mapping[str, orm.Data]:
        """The frames, the model that is fine-tuned and its replay, and the frames of other methods."""
        names = ("frames", "foundation", "replay")
        found = {name: self.inputs[name] for name in names if name in self.inputs}
        return found | science_names(self.inputs)
