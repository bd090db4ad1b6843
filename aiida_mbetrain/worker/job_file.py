"""Input of a job: the file ``job.json``."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator

from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.stages import STAGES
from aiida_mbetrain.settings import Inference, JsonObject, Settings, shown

SCHEMA = 1
JOB_FILE, RESULTS_FILE, PROGRESS_FILE = "job.json", "results.json", "progress.json"
OUTPUTS, CHECKPOINT = "outputs", "checkpoint.segments"
FINISHED, UNEXPECTED = "finished", "unexpected"
"""Words in results.json beside the status words of the named errors."""


def _known(stage: str) -> str:
    if stage not in STAGES:
        raise ValueError(f"stages are {', '.join(STAGES)}")
    return stage


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("give a file inside the job's folder")
    return name


class MaceFile(Settings):
    """A MACE model file; it is not unpickled unless its sha256 is this one."""

    kind: Literal["mace"] = "mace"
    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    _file = field_validator("file")(_inside)


class AseCalculator(Settings):
    """A named ASE calculator."""

    kind: Literal["ase"] = "ase"
    name: str
    parameters: JsonObject = Field({})


class SumOfModels(Settings):
    """Models that are added, baseline first."""

    kind: Literal["sum"] = "sum"
    terms: tuple[Annotated[MaceFile | AseCalculator, Field(discriminator="kind")], ...]


class InputFile(Settings):
    """A science object in a file: the name of its class, and what of it is not an array."""

    type: str
    file: str
    attributes: JsonObject | None = None

    _file = field_validator("file")(_inside)


class JobFile(Settings):
    """Content of ``job.json``.

    model: None for a stage that evaluates no potential.
    max_seconds: time until the scheduler ends the job; None: unlimited.
    checkpoint: file to continue from where it exists, and to save to.
    """

    schema_version: Literal[1]
    stage: str
    settings: JsonObject
    inference: Inference
    model: Annotated[MaceFile | AseCalculator | SumOfModels, Field(discriminator="kind")] | None
    inputs: dict[str, InputFile]
    max_seconds: Annotated[float, Field(gt=0)] | None
    checkpoint: str
    checkpoint_interval_s: Annotated[float, Field(gt=0)]

    _stage = field_validator("stage")(_known)
    _checkpoint = field_validator("checkpoint")(_inside)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The job in a folder; raises UnreadableFile or, naming the field, InvalidSettings."""
        path = folder / JOB_FILE
        try:
            values = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UnreadableFile(f"{path} cannot be read ({error}): give a folder with a {JOB_FILE}.") from error
        if not isinstance(values, dict) or values.get("schema_version") != SCHEMA:
            found = values.get("schema_version") if isinstance(values, dict) else None
            raise InvalidSettings(
                f"{JOB_FILE}: schema_version = {shown(found)}, this worker understands {SCHEMA}: "
                "install the same version of aiida-mbetrain here and where AiiDA runs."
            )
        return cls(**values)
