"""The file of ``improve``: crystal, baseline, reference method, sampling, choice, training, and when to stop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from aiida_mbetrain.campaigns.settings import check_name
from aiida_mbetrain.settings import (
    ActiveLearning,
    Count,
    JsonObject,
    Positive,
    ReferenceLabels,
    Settings,
    Training,
    read_mapping,
    require_plain,
)


class RoundsSettings(Settings):
    """Rounds that improve a delta model until it is good enough."""

    name: str = Field(description="Name of the rounds in the profile.")
    crystal: int | str = Field(description="Structure file, relative to this file, or pk or uuid of a StructureData.")
    baseline: int | str = Field(
        description="MACE model that the delta model corrects: a file, relative to this file, or the pk or uuid of a "
        "registered one.",
    )
    reference: ReferenceLabels = Field(description="Method of the labels; its program runs in process or in jobs.")
    protocol: str | None = Field(None, description="Protocol of the sampling; None takes the default one.")
    overrides: JsonObject = Field({}, description="{section: {field: value}} on top of the protocol.")
    phonons: bool = Field(False, description="Sample phonons too, in every round; else the dynamics alone.")
    choice: ActiveLearning = Field(ActiveLearning(), description="Choice of the clusters of each round.")
    training: Training = Field(Training(), description="Training of the delta model of each round.")
    max_rounds: Count = Field(5, description="Rounds at most.")
    target_error_meV_per_molecule: Positive | None = Field(
        None, description="Stop when the error of the test set (RMSE) is this small (meV per molecule)."
    )
    least_fall: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.02, description="Stop when the uncertainty of the sampled clusters falls by less than this share in a round."
    )
    code: str | None = Field(None, description="mbetrain-worker on some computer (LABEL@COMPUTER); None: no jobs.")
    options: JsonObject = Field({}, description="metadata.options of all jobs (queue, GPU, walltime).")
    n_jobs: Count = Field(1, description="Jobs of reference labels that run side by side.")

    @property
    def graph_name(self) -> str:
        """Name of the WorkGraph of the rounds."""
        return "rounds_" + re.sub(r"\W", "_", self.name)

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        return check_name(name)

    def _check(self) -> None:
        if self.training.kind != "delta":
            raise ValueError(f"training: kind = {self.training.kind!r}: rounds improve a delta model, kind = 'delta'")
        if self.options and self.code is None:
            raise ValueError("options are those of jobs: give code too, or leave them out")
        for name in ("overrides", "options"):
            require_plain(getattr(self, name), f"RoundsSettings.{name}", "a mapping of plain values")


def read_rounds(path: str | Path) -> RoundsSettings:
    """The settings in a file of rounds.  Raises UnreadableFile, InvalidSettings."""
    return RoundsSettings(
        **read_mapping(path, "The file of rounds", "a mapping with name, crystal, baseline, reference")
    )
