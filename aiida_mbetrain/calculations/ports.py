"""Ports that jobs and WorkChains share, and their validation."""

from __future__ import annotations

from collections.abc import Callable

from aiida import orm
from aiida.engine import ProcessSpec

from aiida_mbetrain.calculations.functions.in_process import MODEL_TYPES
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import Inference, NamedCalculator, Settings


def validator_of(settings: type[Settings]) -> Callable[[orm.Dict | None, object], str | None]:
    """A port validator with the checks and messages of a settings class."""

    def validate(node: orm.Dict | None, _: object) -> str | None:
        if node is None:
            return None
        try:
            settings(**node.get_dict())
        except MbetrainError as error:
            return error.message
        return None

    return validate


def validate_model(node: orm.Data, context: object) -> str | None:
    """Validate that a Dict given as model names a calculator."""
    return validator_of(NamedCalculator)(node, context) if isinstance(node, orm.Dict) else None


def define_potential_ports(spec: ProcessSpec) -> None:
    """Declare the ports of the potential: model and inference settings."""
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
