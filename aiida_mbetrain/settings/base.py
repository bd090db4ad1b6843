"""Base class and field types of the settings: reading, rounding, error messages and storage."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeGuard

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from aiida_mbetrain.errors import InvalidSettings

JsonObject = dict[str, Any]
"""A mapping as a JSON file or an AiiDA ``Dict`` node holds it; its values are checked where they are read."""

INPUTS_NOT_SETTINGS = {
    "crystal": "it is the `structure` input (a StructureData node)",
    "molecule": "it is the `molecule` input (a StructureData node)",
    "calculator": "it is the `model` input (a MaceModelData node)",
    "force_constants_dataset": "force constants are the `force_constants` input (a ForceConstantsData node)",
    "work_dir": "files are kept in AiiDA's repository; export what you need",
    "dataset": "the dataset is an output node; write it with `verdi data mbetrain export`",
}

SIGNIFICANT_DIGITS = 14
"""Of floats in the attributes of a stored AiiDA node; further digits are cut off when it is stored."""


def to_stored_precision(value: object) -> object:
    """Floats as a stored node keeps them, in tuples and dicts too.

    Settings that held more digits would differ from those that the processes read back from their nodes:
    1000 / 3 K in the script, 333.33333333333 K in the run.
    """
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, tuple):
        return tuple(to_stored_precision(item) for item in value)
    if isinstance(value, dict):
        return {key: to_stored_precision(item) for key, item in value.items()}
    return value


def as_list(value: object) -> object:
    """Arrays and numbers of numpy as plain Python ones; anything else as it is."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def shown(value: object) -> str:
    """A value in an error message, shortened."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlist, short.maxtuple, short.maxdict = 3, 120, 120, 8, 8, 8
    try:
        return short.repr(value)
    except ValueError:  # Python writes no integers of more than 4300 digits
        return f"a {type(value).__name__} of too many digits"


def _wrap_number(value: object) -> object:
    value = as_list(value)
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else value


def is_number(value: object) -> TypeGuard[int | float]:
    """True for a finite number, which a truth value is not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < np.inf


def _mesh(value: object) -> object:
    value = as_list(value)
    if value == "gamma":
        return value
    if is_number(value) and 0 < value <= LONGEST_MESH_LENGTH:
        return float(value)
    divisions = value if isinstance(value, list | tuple) else ()
    whole = all(is_number(n) and n >= 1 and n == int(n) for n in divisions)
    if len(divisions) == 3 and whole and math.prod(divisions) <= MOST_MESH_POINTS:
        return tuple(int(n) for n in divisions)
    raise ValueError(
        f"give 'gamma', a length of at most {LONGEST_MESH_LENGTH:g} Å, or three integers of at least 1, with at most "
        f"{MOST_MESH_POINTS:,} points in all"
    )


def _q_points(value: object) -> object:
    return value if isinstance(value, str) and value == "commensurate" else _mesh(value)


def _regular(matrix: tuple[Vector, Vector, Vector]) -> tuple[Vector, Vector, Vector]:
    if round(float(np.linalg.det(np.array(matrix, dtype=float)))) <= 0:
        raise ValueError("the determinant must be positive")
    return matrix


def _key(value: str) -> str:
    parts = value.split("/")
    if not value.isprintable() or any(part in ("", ".", "..") or part != part.strip() for part in parts):
        raise ValueError("give names of printable characters separated by single '/', none of them '.' or '..'")
    if len(parts) > DEEPEST_KEY or max(map(len, parts)) > LONGEST_NAME:
        raise ValueError(f"give at most {DEEPEST_KEY} names of at most {LONGEST_NAME} characters")
    return value


def finite_range(values: tuple[float, ...]) -> tuple[float, ...]:
    """The values; raises ValueError for none, or one that is NaN or infinite."""
    if not values or not all(abs(value) < np.inf for value in values):
        raise ValueError("give finite values, at least one")
    return values


MOST_MESH_POINTS = 10**7
"""A mesh of this many q-points takes GB for a crystal of one atom."""
LONGEST_MESH_LENGTH = 1000.0
"""Å; the default is 150."""
DEEPEST_KEY, LONGEST_NAME = 20, 200

Floats = Annotated[tuple[float, ...], BeforeValidator(_wrap_number)]
Integers = Annotated[tuple[Annotated[int, Field(ge=-(2**31), lt=2**31)], ...], BeforeValidator(_wrap_number)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
"""A number of things that a computer can have."""
Key = Annotated[str, AfterValidator(_key)]
"""Place in the dataset."""
Temperature = Annotated[float, Field(gt=0, le=1e7)]
"""K."""
Pressure = Annotated[float, Field(ge=-1e6, le=1e6)]
"""GPa; the centre of the Earth has 360."""
Length = Annotated[float, Field(gt=0, le=1e4)]
"""Å."""
Entry = Annotated[int, Field(ge=-1000, le=1000)]
Vector = Annotated[tuple[Entry, Entry, Entry], BeforeValidator(as_list)]
Mesh = Annotated[Any, BeforeValidator(_mesh)]
QPoints = Annotated[Any, BeforeValidator(_q_points)]
Matrix = Annotated[tuple[Vector, Vector, Vector], BeforeValidator(as_list), AfterValidator(_regular)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Window = Annotated[tuple[Positive, Positive], BeforeValidator(as_list)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Settings(BaseModel):
    """Base of all settings: frozen, strict about names, clear about mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*")
    @classmethod
    def _round(cls, value: object) -> object:
        return to_stored_precision(value)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: object, handler: Callable[[object], Self]) -> Self:
        """Turn pydantic's report into one message that names field, value and remedy."""
        if isinstance(values, dict):
            cls._refuse_unknown(values)
        try:
            settings = handler(values)
        except ValidationError as error:
            raise InvalidSettings("; ".join(cls._describe(item) for item in error.errors())) from None
        try:
            settings._check()
        except ValueError as error:
            raise InvalidSettings(f"{cls.__name__}: {error}.") from None
        return settings

    def _check(self) -> None:
        """Raise ValueError where fields contradict one another."""

    @classmethod
    def _refuse_unknown(cls, values: dict[str, object]) -> None:
        for name in values:
            if name in cls.model_fields:
                continue
            if name in INPUTS_NOT_SETTINGS:
                raise InvalidSettings(f"{cls.__name__}.{name} is not a setting here: {INPUTS_NOT_SETTINGS[name]}.")
            near = difflib.get_close_matches(str(name)[:LONGEST_NAME], cls.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(cls.model_fields)}."
            raise InvalidSettings(f"{cls.__name__} has no field {shown(name)}: {hint}")

    @classmethod
    def _describe(cls, item: ErrorDetails) -> str:
        where = ".".join([cls.__name__, *(str(part) for part in item["loc"] if not isinstance(part, int))])
        text = item["msg"].removeprefix("Value error, ")
        return f"{where}: {text}" if not item["loc"] else f"{where} = {shown(as_list(item['input']))}: {text}"

    def to_dict(self) -> JsonObject:
        """Plain lists, numbers and strings: what an AiiDA ``Dict`` node or a JSON file holds."""
        return self.model_dump(mode="json")
