"""Base class of the WorkChains: common inputs, calls of steps, propagation of failures."""

from __future__ import annotations

from collections.abc import Set
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ExitCode, ToContext, WorkChain
from aiida.engine.processes.functions import ProcessFunctionType
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain import errors
from aiida_mbetrain.calculations.exit_codes import define_exit_codes, foreseeable_errors
from aiida_mbetrain.calculations.functions import interruption
from aiida_mbetrain.calculations.functions.checkpoints import settle_checkpoints
from aiida_mbetrain.calculations.ports import define_potential_ports, validator_of
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import check_structure
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.settings import NamedCalculator
from aiida_mbetrain.workflows.heavy_stages import HEAVY

__all__ = ["StageWorkChain", "check_inputs", "validator_of"]

CHILD_FAILED = 500
INTERRUPTIONS = (errors.StoppedEarly.code, errors.DiskFull.code)
"""Exit codes after which a run in process stops as a whole, to be continued."""


class StageWorkChain(WorkChain):
    """Base of the plugin's WorkChains."""

    needs_potential: ClassVar[bool] = True
    _attached: Set[str] = frozenset()

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Inputs and exit codes common to all."""
        super().define(spec)
        if cls.needs_potential:
            define_potential_ports(spec)
        define_exit_codes(spec)
        spec.exit_code(CHILD_FAILED, "ERROR_CHILD_FAILED", message="The step {step} failed: {reason}")

    def _do_step(self) -> object:
        """Run the next step of the outline, unless the run in this process was told to stop."""
        if interruption.requested():
            return self.refuse(errors.StoppedEarly("The run was told to stop; what is done is kept: continue it."))
        return super()._do_step()

    def update_outputs(self) -> None:
        """Attach new outputs to the node.

        AiiDA loads all outputs that are attached at every step of the outline; here, only after a step with a new one.
        """
        labels = self._flat_outputs().keys()
        if labels != self._attached:
            super().update_outputs()
            self._attached = labels

    def call(
        self, function: ProcessFunctionType[..., object, orm.CalcFunctionNode], label: str, **inputs: object
    ) -> orm.ProcessNode:
        """Run a calcfunction as the step ``label`` and give its finished node, failed or not."""
        _, node = function.run_get_node(**inputs, metadata={"call_link_label": label})
        settle_checkpoints()
        return node

    def compute(
        self, stage: str, label: str | None = None, *, part: orm.List | None = None, **inputs: orm.Data
    ) -> ToContext[str, orm.ProcessNode] | None:
        """Run a heavy stage, as jobs if a code is given and otherwise in this process.

        part: of the labels, which several jobs share.
        Its finished node, failed or not, will be ``ctx[label]``; the label is the stage's name by default.
        """
        label = label or stage
        needed = ("model", "inference") if HEAVY[stage].calculation.needs_potential else ()
        common = {name: self.inputs[name] for name in needed} | ({} if part is None else {"part": part})
        if "code" not in self.inputs:
            self.ctx[label] = self.call(HEAVY[stage].function, label, **common, **inputs)
            return None
        child, calculation = HEAVY[stage].job, HEAVY[stage].calculation
        has_sets = "sets" in calculation.spec().inputs
        job = {"code": self.inputs.code, **common, **({"sets": inputs} if has_sets else inputs)}
        options: dict[str, object] = {}
        if stage in self.inputs:
            options = dict(self.exposed_inputs(child, stage))
            job |= self.exposed_inputs(calculation, stage)
        return self.launch(child, label, calculation=job, **options)

    def launch(self, child: type[WorkChain], label: str, **inputs: Any) -> ToContext[str, orm.ProcessNode] | None:
        """Start a child WorkChain whose finished node will be ``ctx[label]``.

        In the daemon it is submitted and waited for.  Under ``run`` it runs at once: without a broker, waiting
        for a submitted child would cost one ``runner.poll.interval`` (60 s by default) for nothing.
        """
        inputs.setdefault("metadata", {})["call_link_label"] = label
        if self.runner.is_daemon_runner:
            return ToContext(**{label: self.submit(child, **inputs)})
        _, self.ctx[label] = self.runner.run_get_node(child, **inputs)
        return None

    def failed(self, node: orm.ProcessNode) -> ExitCode | None:
        """None for a finished child; else the exit code this WorkChain ends with.

        A named error keeps its code and message on the way up, so that the outermost process says what happened.
        """
        if node.is_finished_ok:
            return None
        step = node.base.attributes.get("process_label")
        self.report(f"{step}<{node.pk}> failed [{node.exit_status}]: {node.exit_message}")
        if node.exit_status in {error.code for error in foreseeable_errors()}:
            return ExitCode(node.exit_status, f"{step}<{node.pk}>: {node.exit_message}")
        state = node.process_state.value if node.process_state else "without a state"
        reason = node.exit_message or f"{state}, exit status {node.exit_status}"
        failure: ExitCode = self.exit_codes.ERROR_CHILD_FAILED.format(step=f"{step}<{node.pk}>", reason=reason)
        return failure

    def refuse(self, error: errors.MbetrainError) -> ExitCode:
        """The exit code of a named error met in a step of this WorkChain."""
        self.report(error.message)
        return ExitCode(error.code, error.message)


def check_inputs(structure: orm.StructureData, model: orm.Data) -> None:
    """Check the structure and its elements before anything is computed.

    Raises InvalidStructure, ElementsNotInModel.
    """
    crystal = structure_to_configurations(structure)
    check_structure(crystal)
    if isinstance(model, orm.Dict):
        _check_calculator(crystal, NamedCalculator(**model.get_dict()))
    elif missing := sorted(structure.get_symbols_set() - set(model.elements)):
        raise errors.ElementsNotInModel(
            f"The structure contains {', '.join(missing)}, the model knows {', '.join(model.elements)}: "
            "take a model trained for these elements."
        )


def _check_calculator(crystal: Configurations, calculator: NamedCalculator) -> None:
    try:
        potential = named_calculator(calculator)
    except errors.UnknownCalculator:
        return  # its package may be installed where the jobs run; the first of them tells
    potential.require_elements(crystal.numbers)
