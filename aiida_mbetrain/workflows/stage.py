"""What the WorkChains share: common inputs, calling a step, passing a failure up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessSpec, ToContext, WorkChain
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.shared import MODEL_TYPES
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.science import errors
from aiida_mbetrain.settings import Inference, NamedCalculator, Settings

CHILD_FAILED = 500


def foreseeable_errors() -> Iterator[type[errors.MbetrainError]]:
    """Every named error, by exit code."""
    return iter(sorted(errors.MbetrainError.__subclasses__(), key=lambda error: error.code))


def validator_of(settings: type[Settings]) -> Callable[[orm.Dict | None, Any], str | None]:
    """A port validator that refuses what the settings class refuses, with its message."""

    def validate(node: orm.Dict | None, _: Any) -> str | None:
        if node is None:
            return None
        try:
            settings(**node.get_dict())
        except errors.MbetrainError as error:
            return error.message
        return None

    return validate


def validate_model(node: orm.Data, context: Any) -> str | None:
    """A Dict in place of a model must name a calculator."""
    return validator_of(NamedCalculator)(node, context) if isinstance(node, orm.Dict) else None


class StageWorkChain(WorkChain):
    """Base of the plugin's WorkChains."""

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
        """Inputs and exit codes common to all."""
        assert isinstance(spec, WorkChainSpec)
        super().define(spec)
        spec.input(
            "model",
            valid_type=MODEL_TYPES,
            validator=validate_model,
            help="MACE model, or a Dict {name, parameters} of an ASE calculator from the known list.",
        )
        spec.input(
            "inference",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(Inference().to_dict()),
            validator=validator_of(Inference),
            help="How the model is evaluated: the settings class Inference.",
        )
        for error in foreseeable_errors():
            spec.exit_code(error.code, f"ERROR_{error.status.upper()}", message=str(error.__doc__))
        spec.exit_code(CHILD_FAILED, "ERROR_CHILD_FAILED", message="The step {step} failed: {reason}")

    def call(self, function: Any, label: str, **inputs: Any) -> orm.ProcessNode:
        """Run a calcfunction as the step ``label`` and give its finished node, failed or not."""
        _, node = function.run_get_node(**inputs, metadata={"call_link_label": label})
        return node

    def launch(self, child: type[WorkChain], label: str, **inputs: Any) -> ToContext | None:
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
        reason = node.exit_message or f"{node.process_state.value}, exit status {node.exit_status}"
        return self.exit_codes.ERROR_CHILD_FAILED.format(step=f"{step}<{node.pk}>", reason=reason)

    def refuse(self, error: errors.MbetrainError) -> ExitCode:
        """The exit code of a named error met in a step of this WorkChain."""
        self.report(error.message)
        return ExitCode(error.code, error.message)


def check_elements(structure: orm.StructureData, model: orm.Data) -> None:
    """Raise ElementsNotInModel before anything is computed."""
    if isinstance(model, MaceModelData):
        missing = sorted(set(structure.get_symbols_set()) - set(model.elements))
        if missing:
            raise errors.ElementsNotInModel(
                f"The structure contains {', '.join(missing)}, the model knows {', '.join(model.elements)}: "
                "take a model trained for these elements."
            )
