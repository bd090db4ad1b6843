"""The campaign file: crystals, models, conditions, settings and jobs in one YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from aiida_mbetrain.settings import (
    Count,
    Finite,
    Floats,
    JsonObject,
    NamedCalculator,
    Positive,
    Seed,
    Settings,
    read_mapping,
    require_plain,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+()-]*")
"""Names are parts of paths in the dataset, and of labels of groups."""


def check_name(name: str) -> str:
    """A name of a campaign, crystal or model; raises ValueError for one that cannot be part of a path."""
    if not NAME.fullmatch(name):
        raise ValueError("a name has letters, digits and _ . + ( ) -, and begins with a letter or digit")
    return name


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _as_entry(value: object) -> object:
    return {"files": value} if isinstance(value, str) else value


def _name_once(value: object) -> object:
    if isinstance(value, list | tuple) and any(item in value[:i] for i, item in enumerate(value)):
        raise ValueError("give each of them once")
    return value


class CrystalEntry(Settings):
    """Crystals of a campaign: structure files, a stored node, or the structures of a group."""

    files: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] | None = Field(
        None,
        description="Files, globs or folders, relative to the campaign file; a crystal is named after its file.",
    )
    node: int | str | None = Field(None, description="Pk or uuid of a StructureData; named after its label.")
    group: str | None = Field(None, description="Label of an AiiDA group of StructureData, named after their labels.")
    name: str | None = Field(None, description="Name of the crystal, where the entry is a single one.")

    def _check(self) -> None:
        given = [name for name in ("files", "node", "group") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"an entry has one of files, node and group, this has {', '.join(given) or 'none'}")
        if self.name is not None:
            check_name(self.name)


Entry = Annotated[CrystalEntry, BeforeValidator(_as_entry)]


ModelSource = Annotated[int | str | NamedCalculator, Field(union_mode="left_to_right")]


class CampaignSettings(Settings):
    """Crystals x models x temperatures x pressures, each a training set, in one dataset."""

    name: str = Field(description="Name of the campaign in the profile.")
    crystals: Annotated[tuple[Entry, ...], Field(min_length=1)] = Field(
        description="Entries of crystals; a plain text is an entry's files."
    )
    models: Annotated[dict[str, ModelSource], Field(min_length=1)] = Field(
        description="By name in the dataset: a MACE model file, the pk or "
        "uuid of a registered one, or {name, parameters} of an ASE calculator.",
    )
    temperatures_K: Annotated[Floats, Field(min_length=1)] = Field(
        description="Temperatures of dynamics and phonon sampling (K)."
    )
    pressures_GPa: Annotated[Floats, Field(min_length=1)] = Field(
        (1.0e-4,), description="Pressures of the dynamics and, where it follows them, of the relaxed cell (GPa)."
    )
    protocol: str | None = Field(None, description="Protocol of all stages; None takes the default one.")
    overrides: JsonObject = Field({}, description="{section: {field: value}} on top of the protocol, all crystals.")
    overrides_by_crystal: dict[str, JsonObject] = Field(
        {}, description="The same for some crystals, by name or pattern (ice_*), in this order on top of overrides."
    )
    rng_seed: Seed | None = Field(
        None,
        description="Seed from which every stage gets one of its own, by crystal and conditions; None: the seeds of "
        "the protocol, the same for all.",
    )
    code: str | None = Field(None, description="mbetrain-worker on some computer (LABEL@COMPUTER); None: no jobs.")
    options: JsonObject = Field({}, description="metadata.options of all jobs (queue, GPU, walltime).")
    replicas_per_job: Count = Field(
        1,
        description="Dynamics of one crystal and model that are made together as one job, at most: those that differ "
        "in temperature, pressure and seed alone. Together they are one of max_jobs; their clusters are labelled at "
        "the same time.",
    )
    label_jobs: Count = Field(1, description="Jobs that share the labels of a sampling, side by side.")
    max_jobs: Annotated[int, Field(ge=1)] = Field(10, description="Stages that run at the same time, at most.")

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        return check_name(name)

    @field_validator("temperatures_K", "pressures_GPa", mode="before")
    @classmethod
    def _distinct(cls, values: object) -> object:
        return _name_once(values)

    @field_validator("temperatures_K")
    @classmethod
    def _temperatures(cls, values: tuple[Positive, ...]) -> tuple[float, ...]:
        if not all(0 < value <= 1e7 for value in values):
            raise ValueError("give temperatures above 0 K, at most 1e7 K")
        return tuple(sorted(values))

    @field_validator("pressures_GPa")
    @classmethod
    def _pressures(cls, values: tuple[Finite, ...]) -> tuple[float, ...]:
        if not all(abs(value) <= 1e6 for value in values):
            raise ValueError("give finite pressures, at most 1e6 GPa")
        return tuple(sorted(values))

    def _check(self) -> None:
        for name in self.models:
            try:
                check_name(name)
            except ValueError as error:
                raise ValueError(f"models: {name!r}: {error}") from None
        if self.options and self.code is None:
            raise ValueError("options are those of jobs: give code too, or leave them out")
        if self.label_jobs > 1 and self.code is None:
            raise ValueError(f"label_jobs = {self.label_jobs}: give code too, for there are no jobs without")
        for name in ("overrides", "overrides_by_crystal", "options"):
            require_plain(getattr(self, name), f"CampaignSettings.{name}", "a mapping of plain values")
        for where, overrides in {"overrides": self.overrides, **self.overrides_by_crystal}.items():
            _refuse_conditions(where, overrides)


def _refuse_conditions(where: str, overrides: Mapping[str, object]) -> None:
    """Temperatures and pressures have one place."""
    for section, name, instead in (
        ("md_sampling", "temperature_K", "temperatures_K"),
        ("md_sampling", "pressure_GPa", "pressures_GPa"),
        ("phonon_sampling", "temperature_K", "temperatures_K"),
    ):
        given = overrides.get(section)
        if isinstance(given, Mapping) and name in given:
            raise ValueError(f"{where}: {section}.{name} is said by {instead} of the campaign; leave it out here")


def read_campaign(path: str | Path) -> CampaignSettings:
    """The settings in a campaign file.  Raises UnreadableFile, InvalidSettings."""
    form = "a mapping with name, crystals, models, temperatures_K"
    return CampaignSettings(**read_mapping(path, "The campaign file", form))
