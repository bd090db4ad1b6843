"""Model of labelled frames: a delta model and its sum with the baseline, or one used by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.in_process import MODEL_TYPES
from aiida_mbetrain.calculations.functions.training import OTHER_FRAMES, require_inputs, single_head, sum_model
from aiida_mbetrain.calculations.ports import validator_of
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import Training
from aiida_mbetrain.workflows.base import StageWorkChain
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages

STAGE = "training"


class ModelTrainingWorkChain(StageWorkChain):
    """Train a delta model and add it to the baseline, or train a model that is used by itself.

    The latter is the fine-tuned baseline or a new model of several heads; ``settings.kind`` says which.
    """

    needs_potential = False

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("frames", valid_type=LabelledFramesData, help="Labelled frames, divided for training and test.")
        spec.input("baseline", valid_type=MODEL_TYPES, help="The model that labelled the frames.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(Training().to_dict()),
            validator=validator_of(Training),
            help="The settings class Training.",
        )
        spec.input(
            "replay",
            valid_type=orm.SinglefileData,
            required=False,
            help="Extended XYZ of configurations that the baseline was trained on, for kind = finetune_replay.",
        )
        define_heavy_stages(spec, STAGE)
        spec.input_namespace(
            OTHER_FRAMES,
            valid_type=LabelledFramesData,
            dynamic=True,
            required=False,
            help="Of kind = multihead, the frames with the labels of other methods, by the names of their heads.",
        )
        spec.outline(
            cls.check,
            cls.train,
            cls.inspect_training,
            if_(cls.is_delta)(cls.add).elif_(cls.has_other_methods)(cls.extract_heads),
        )
        spec.output("model", valid_type=MaceModelData, required=False, help="Reference, or reference minus baseline.")
        spec.output("heads", valid_type=MaceModelData, required=False, help="The model with all its heads.")
        spec.output("history", valid_type=TableData, required=False, help="Validation errors by epoch.")
        spec.output("summary", valid_type=orm.Dict, required=False, help="Kind, shifts, sizes, labels, baseline.")
        spec.output_namespace(
            "other_models", valid_type=MaceModelData, dynamic=True, required=False, help="The other methods, by head."
        )
        spec.output("sum", valid_type=SumModelData, required=False, help="Baseline plus delta model.")

    @classmethod
    def get_builder_from_protocol(
        cls,
        frames: LabelledFramesData,
        baseline: orm.Data,
        code: orm.AbstractCode | None = None,
        *,
        other_frames: Mapping[str, LabelledFramesData] | None = None,
        replay: orm.SinglefileData | None = None,
        protocol: str = "small",
        overrides: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> ProcessBuilder:
        """A builder by the size of the model: small, balanced or stringent.

        other_frames: of a multihead training, frames with the labels of other methods, by the names of their heads.
        overrides: fields of Training.  options: metadata.options of the jobs.
        """
        builder = cls.get_builder()
        builder.frames, builder.baseline = frames, baseline
        if replay is not None:
            builder.replay = replay
        if other_frames:
            builder[OTHER_FRAMES] = dict(other_frames)
        builder.settings = orm.Dict(Training(**({"size": protocol} | dict(overrides or {}))).to_dict())
        if code is not None:
            builder.code = code
            builder["training"].metadata.options = dict(options or {})
        return builder

    def check(self) -> ExitCode | None:
        """Refuse what the training would refuse later."""
        settings = Training(**self.inputs.settings.get_dict())
        try:
            require_inputs(settings, self.inputs.baseline, self.inputs.get("replay"), self.inputs.get(OTHER_FRAMES))
        except MbetrainError as error:
            return self.refuse(error)
        return None

    def is_delta(self) -> bool:
        """True for a delta model."""
        return Training(**self.inputs.settings.get_dict()).kind == "delta"

    def has_other_methods(self) -> bool:
        """True for a model of several reference methods."""
        return bool(self.inputs.get(OTHER_FRAMES))

    def train(self) -> ToContext[str, orm.ProcessNode] | None:
        """The heavy stage."""
        inputs: dict[str, Any] = {"frames": self.inputs.frames, "settings": self.inputs.settings}
        if self.has_other_methods():
            inputs[OTHER_FRAMES] = dict(self.inputs[OTHER_FRAMES])
        if Training(**self.inputs.settings.get_dict()).starts_from_baseline:
            inputs["foundation"] = self.inputs.baseline
        if "replay" in self.inputs:
            inputs["replay"] = self.inputs.replay
        return self.compute(STAGE, **inputs)

    def inspect_training(self) -> ExitCode | None:
        """Hand out what was trained, also by a training that diverged."""
        node = self.ctx[STAGE]
        for name in ("model", "heads", "history", "summary"):
            if name in node.outputs:
                self.out(name, node.outputs[name])
        return self.failed(node)

    def add(self) -> ExitCode | None:
        """The sum of baseline and delta."""
        node = self.call(sum_model, "sum", baseline=self.inputs.baseline, delta=self.ctx[STAGE].outputs.model)
        if node.is_finished_ok:
            self.out("sum", node.outputs.result)
        return self.failed(node)

    def extract_heads(self) -> ExitCode | None:
        """A model of each of the other methods."""
        outputs = self.ctx[STAGE].outputs
        for head in self.inputs[OTHER_FRAMES]:
            node = self.call(single_head, head, heads=outputs.heads, training=outputs.summary, head=orm.Str(head))
            if not node.is_finished_ok:
                return self.failed(node)
            self.out(f"other_models.{head}", node.outputs.result)
        return None
