"""One round of active learning: sample with the current model, choose clusters, label them, train, judge."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.engine import ExitCode, ToContext, WorkChain
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.active_learning import add_labelled_clusters, choose_clusters, round_summary
from aiida_mbetrain.calculations.functions.in_process import MODEL_TYPES
from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets
from aiida_mbetrain.calculations.functions.training import evaluation
from aiida_mbetrain.calculations.reference_labels import validate_reference_settings
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import (
    ActiveLearning,
    FreeEnergy,
    JsonObject,
    MDSampling,
    PhononSampling,
    Settings,
    Training,
)
from aiida_mbetrain.workflows.base import StageWorkChain, check_inputs, validator_of
from aiida_mbetrain.workflows.finished import finished_process
from aiida_mbetrain.workflows.fragment_bundles import outputs_of
from aiida_mbetrain.workflows.heavy_stages import HEAVY
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.model_training import ModelTrainingWorkChain
from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain
from aiida_mbetrain.workflows.training_set import STAGES, TrainingSetWorkChain

SECTIONS: dict[str, type[Settings]] = {
    "md_sampling": MDSampling,
    "quasi_harmonic": FreeEnergy,
    "phonon_sampling": PhononSampling,
}


class ActiveLearningRoundWorkChain(StageWorkChain):
    """Sample with the current model, choose clusters, label them, train a delta model, judge it.

    A step that a round has finished before with the same inputs is taken over, so that an interrupted round goes on.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The crystal.")
        spec.input("baseline", valid_type=MODEL_TYPES, help="MACE model that the delta model corrects.")
        spec.input("number", valid_type=orm.Int, help="Number of the round, counted from 0.")
        spec.input(
            "frames", valid_type=LabelledFramesData, required=False, help="Labelled frames of the rounds before."
        )
        for section, settings in SECTIONS.items():
            spec.input(
                section,
                valid_type=orm.Dict,
                required=section == "md_sampling",
                validator=validator_of(settings),
                help=f"The settings class {settings.__name__}"
                + ("." if section == "md_sampling" else "; with it, phonons are sampled beside the dynamics."),
            )
        spec.input("choice", valid_type=orm.Dict, validator=validator_of(ActiveLearning), help="Class ActiveLearning.")
        spec.input(
            "reference",
            valid_type=orm.Dict,
            validator=validate_reference_settings,
            help="The settings class ReferenceLabels.",
        )
        spec.input("training", valid_type=orm.Dict, validator=validator_of(Training), help="Class Training.")
        spec.input("n_jobs", valid_type=orm.Int, default=lambda: orm.Int(1), help="Jobs of reference labels at once.")
        spec.input(
            "code",
            valid_type=orm.AbstractCode,
            required=False,
            help="mbetrain-worker on some computer: the heavy stages run there as jobs; without it, in this process.",
        )
        spec.input("options", valid_type=orm.Dict, required=False, help="metadata.options of all jobs.")
        spec.outline(
            cls.setup,
            cls.sample,
            cls.choose,
            cls.label_by_baseline,
            cls.label_by_reference,
            cls.pack,
            cls.train,
            cls.judge,
            cls.results,
        )
        spec.output("frames", valid_type=LabelledFramesData, help="Labelled frames of this round and those before it.")
        spec.output("picks", valid_type=TableData, help="Chosen clusters with cost and variance.")
        spec.output("model", valid_type=MaceModelData, help="Reference minus baseline.")
        spec.output("sum", valid_type=SumModelData, help="Baseline plus delta, the model of the next round.")
        spec.output("errors", valid_type=TableData, help="Errors of the test set, by model and group of frames.")
        spec.output("summary", valid_type=orm.Dict, help="Labels, cost, error of the test set, uncertainty.")

    def setup(self) -> ExitCode | None:
        """Check the structure and its elements."""
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
        except MbetrainError as error:
            return self.refuse(error)
        self.ctx.labelled = {"labelled": {"frames": self.inputs.frames}} if "frames" in self.inputs else {}
        return None

    def sample(self) -> ToContext[str, orm.ProcessNode] | None:
        """Dynamics, and with settings for them phonons, of the current model; their clusters."""
        common = {name: self.inputs[name] for name in ("structure", "model", "inference")} | self._code()
        if "phonon_sampling" not in self.inputs:
            inputs = common | {"settings": self.inputs.md_sampling} | self._options(*MDSamplingWorkChain.heavy_stages)
            return self._take_or_launch(MDSamplingWorkChain, "sampling", **inputs)
        namespaces = {
            stage.protocol_section: {"settings": self.inputs[stage.protocol_section]}
            | self._options(*stage.heavy_stages)
            for stage in STAGES
            if stage.protocol_section in self.inputs
        }
        return self._take_or_launch(TrainingSetWorkChain, "sampling", **common, **namespaces)

    def choose(self) -> ExitCode | None:
        """The clusters that are worth a label."""
        if (failure := self.failed(self.ctx.sampling)) is not None:
            return failure
        try:
            found = cluster_sets(_sampled(self.ctx.sampling))
        except MbetrainError as error:
            return self.refuse(error)
        self.ctx.sets, self.ctx.crystals = found.sets, found.crystals
        self.ctx.choice = self._take_or_call(
            choose_clusters,
            "choose",
            settings=self.inputs.choice,
            reference=self.inputs.reference,
            number=self.inputs.number,
            sets=self.ctx.sets,
            crystals=self.ctx.crystals,
            **self.ctx.labelled,
        )
        if (failure := self.failed(self.ctx.choice)) is None:
            prefix = "clusters__"
            outputs = outputs_of(self.ctx.choice)
            self.ctx.chosen = {name.removeprefix(prefix): outputs[name] for name in outputs if name.startswith(prefix)}
            self.ctx.crystals = {name: self.ctx.crystals[name] for name in self.ctx.chosen}
        return failure

    def label_by_baseline(self) -> ToContext[str, orm.ProcessNode] | None:
        """Energies, forces and features of the chosen clusters; those of the first round have them."""
        if self.inputs.model.uuid == self.inputs.baseline.uuid:
            return None
        potential = {"model": self.inputs.baseline, "inference": self.inputs.inference}
        if "code" not in self.inputs:
            self.ctx.baseline = self._take_or_call(HEAVY["labels"].function, "baseline", **potential, **self.ctx.chosen)
            return None
        job = self._code() | potential | {"sets": self.ctx.chosen} | self._options("labels").get("labels", {})
        return self._take_or_launch(HEAVY["labels"].job, "baseline", calculation=job)

    def label_by_reference(self) -> ExitCode | ToContext[str, orm.ProcessNode] | None:
        """Energies and forces of the chosen clusters; labels that the profile has are used."""
        if "baseline" in self.ctx:
            if (failure := self.failed(self.ctx.baseline)) is not None:
                return failure
            outputs = outputs_of(self.ctx.baseline)
            self.ctx.chosen = {name: outputs[name] for name in self.ctx.chosen}
        inputs = {"sets": self.ctx.chosen, "crystals": self.ctx.crystals, "settings": self.inputs.reference}
        return self._take_or_launch(
            ReferenceLabelsWorkChain,
            "reference",
            **inputs,
            n_jobs=self.inputs.n_jobs,
            **self._code(),
            **self._options("reference_labels"),
        )

    def pack(self) -> ExitCode | None:
        """Labelled frames of all rounds."""
        if (failure := self.failed(self.ctx.reference)) is not None:
            return failure
        outputs = outputs_of(self.ctx.reference)
        labels, expansions = (
            {name.removeprefix(prefix): node for name, node in outputs.items() if name.startswith(prefix)}
            for prefix in ("clusters__", "expansions__")
        )
        self.ctx.packing = self._take_or_call(
            add_labelled_clusters,
            "pack",
            baseline=self.inputs.baseline,
            number=self.inputs.number,
            sets=self.ctx.chosen,
            labels=labels,
            expansions=expansions,
            crystals=self.ctx.crystals,
            **self.ctx.labelled,
        )
        return self.failed(self.ctx.packing)

    def train(self) -> ToContext[str, orm.ProcessNode] | None:
        """A delta model of all labelled frames."""
        return self._take_or_launch(
            ModelTrainingWorkChain,
            "training_of_delta",
            frames=self.ctx.packing.outputs.result,
            baseline=self.inputs.baseline,
            settings=self.inputs.training,
            **self._code(),
            **self._options("training"),
        )

    def judge(self) -> ExitCode | None:
        """Errors of the test set, and the uncertainty calibrated on the validation set."""
        if (failure := self.failed(self.ctx.training_of_delta)) is not None:
            return failure
        frames, model = self.ctx.packing.outputs.result, self.ctx.training_of_delta.outputs.model
        for subset in ("valid", "test"):
            settings = orm.Dict({"subset": subset, "inference": self.inputs.inference.get_dict()})
            self.ctx[subset] = self._take_or_call(
                evaluation, subset, frames=frames, model=model, baseline=self.inputs.baseline, settings=settings
            )
            if (failure := self.failed(self.ctx[subset])) is not None:
                return failure
        self.ctx.judgement = self._take_or_call(
            round_summary,
            "judge",
            frames=frames,
            candidates=self.ctx.choice.outputs.candidates,
            picks=self.ctx.choice.outputs.picks,
            valid=self.ctx.valid.outputs.predictions,
            test=self.ctx.test.outputs.predictions,
            number=self.inputs.number,
        )
        return self.failed(self.ctx.judgement)

    def results(self) -> None:
        """Hand out the nodes."""
        self.out("frames", self.ctx.packing.outputs.result)
        self.out("picks", self.ctx.choice.outputs.picks)
        self.out("model", self.ctx.training_of_delta.outputs.model)
        self.out("sum", self.ctx.training_of_delta.outputs.sum)
        self.out("errors", self.ctx.test.outputs.errors)
        self.out("summary", self.ctx.judgement.outputs.result)

    def _code(self) -> dict[str, orm.AbstractCode]:
        return {"code": self.inputs.code} if "code" in self.inputs else {}

    def _options(self, *stages: str) -> dict[str, JsonObject]:
        """The options of the jobs of some stages, by namespace."""
        if "options" not in self.inputs:
            return {}
        return {stage: {"metadata": {"options": self.inputs.options.get_dict()}} for stage in stages}

    def _take_or_launch(
        self, child: type[WorkChain], label: str, **inputs: Any
    ) -> ToContext[str, orm.ProcessNode] | None:
        """The finished WorkChain with these inputs, else a new one, as ``ctx[label]``."""
        found = finished_process(child, inputs)
        if found is None:
            return self.launch(child, label, **inputs)
        self.report(f"{label}: {found.process_label}<{found.pk}> has done it")
        self.ctx[label] = found
        return None

    def _take_or_call(self, function: Any, label: str, **inputs: Any) -> orm.ProcessNode:
        """The finished calcfunction with these inputs, else a new one."""
        found = finished_process(function.process_class, inputs)
        return self.call(function, label, **inputs) if found is None else found


def _sampled(process: orm.ProcessNode) -> dict[str, Nodes]:
    """Outputs with clusters, by stage."""
    if process.process_label == MDSamplingWorkChain.__name__:
        return {"md_sampling": _plain(process.outputs)}
    return {stage: _plain(process.outputs[stage]) for stage in ("md_sampling", "phonon_sampling")}


def _plain(outputs: Any) -> Nodes:
    return cast(
        Nodes,
        {
            name: value if isinstance(value := outputs[name], orm.Data) else {key: value[key] for key in value}
            for name in outputs
        },
    )
