"""Delta model of labelled frames, and its sum with the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.in_process import MODEL_TYPES
from aiida_mbetrain.calculations.functions.training import sum_model
from aiida_mbetrain.calculations.ports import validator_of
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import Training
from aiida_mbetrain.workflows.base import StageWorkChain
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages

STAGE = "training"


class DeltaModelWorkChain(StageWorkChain):
    """Train a delta model and add it to the baseline."""

    needs_potential = False

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("frames", valid_type=LabelledFramesData, help="Labelled frames, divided for training and test.")
        spec.input("baseline", valid_type=MODEL_TYPES, help="The model that the delta model corrects.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(Training().to_dict()),
            validator=validator_of(Training),
            help="The settings class Training.",
        )
        define_heavy_stages(spec, STAGE)
        spec.outline(cls.train, cls.inspect_training, cls.add, cls.results)
        spec.output("model", valid_type=MaceModelData, required=False, help="Reference minus baseline.")
        spec.output("history", valid_type=TableData, required=False, help="Validation errors by epoch.")
        spec.output("summary", valid_type=orm.Dict, required=False, help="Shifts, sizes, labels, baseline.")
        spec.output("sum", valid_type=SumModelData, required=False, help="Baseline plus delta.")

    @classmethod
    def get_builder_from_protocol(
        cls,
        frames: LabelledFramesData,
        baseline: orm.Data,
        code: orm.AbstractCode | None = None,
        *,
        protocol: str = "small",
        overrides: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> ProcessBuilder:
        """A builder by the size of the model: small, balanced or stringent.

        overrides: fields of Training.  options: metadata.options of the jobs.
        """
        builder = cls.get_builder()
        builder.frames, builder.baseline = frames, baseline
        builder.settings = orm.Dict(Training(**({"size": protocol} | dict(overrides or {}))).to_dict())
        if code is not None:
            builder.code = code
            builder["training"].metadata.options = dict(options or {})
        return builder

    def train(self) -> ToContext[str, orm.ProcessNode] | None:
        """The heavy stage."""
        return self.compute(STAGE, frames=self.inputs.frames, settings=self.inputs.settings)

    def inspect_training(self) -> ExitCode | None:
        """Hand out what was trained, also by a training that diverged."""
        node = self.ctx[STAGE]
        for name in ("model", "history", "summary"):
            if name in node.outputs:
                self.out(name, node.outputs[name])
        return self.failed(node)

    def add(self) -> ExitCode | None:
        """The sum of baseline and delta."""
        self.ctx.sum = self.call(sum_model, "sum", baseline=self.inputs.baseline, delta=self.ctx[STAGE].outputs.model)
        return self.failed(self.ctx.sum)

    def results(self) -> None:
        """Hand out the sum."""
        self.out("sum", self.ctx.sum.outputs.result)
