"""Expansion of a campaign into the stages that its members share; needs no AiiDA profile."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.settings import CampaignSettings
from aiida_mbetrain.campaigns.sources import Crystal, Model, digest
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.thermodynamics import equilibrium_name, force_constants_key, name_of_key
from aiida_mbetrain.settings import FreeEnergy, Inference, MDSampling, PhononSampling, Settings
from aiida_mbetrain.workflows.protocols import merge, protocol_settings

QUASI_HARMONIC, PHONONS, DYNAMICS = "quasi_harmonic", "phonon_sampling", "md_sampling"
KINDS = (QUASI_HARMONIC, PHONONS, DYNAMICS)
PLACES = ("root_key", "force_constants_key")
"""Settings that say where a dataset keeps results."""
HOW_EVALUATED = ("device", "kernels", "batch_atoms", "tune_malloc")
"""Settings of Inference that change the order of sums and the speed."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage WorkChain of a campaign.

    kind: one of ``KINDS``.  parent: for phonon sampling the stage that its force constants come from, and
    constants_label: of which crystal of it.
    """

    kind: str
    crystal: Crystal
    model: Model
    settings: Settings
    inference: Inference
    temperature_K: float | None = None
    pressure_GPa: float | None = None
    parent: Stage | None = None
    constants_label: str | None = None

    @property
    def name(self) -> str:
        """Path in the dataset: ``urea/mace/298.15K_0.0001GPa/md_sampling``."""
        condition = condition_name(self.temperature_K, self.pressure_GPa)
        return "/".join(filter(None, (self.crystal.name, self.model.name, condition, self.kind)))

    @cached_property
    def key(self) -> str:
        """sha256 of what decides the result."""
        source = [self.parent.key, self.constants_label] if self.parent else self.crystal.digest
        return stage_key(self.kind, source, self.model.identity, self.inference, self.settings)


def stage_key(kind: str, source: object, model: Mapping[str, object], inference: Inference, settings: Settings) -> str:
    """Digest of what decides the result of a stage.

    source: digest of the crystal; for phonon sampling the key of the quasi-harmonic stage and the crystal's label.
    Places in the dataset are left out, and what changes an evaluation by its rounding alone.
    """
    chosen = {name: value for name, value in settings.to_dict().items() if name not in PLACES}
    if isinstance(settings, MDSampling) and settings.md_crystal.ensemble == "NVT":
        del chosen["pressure_GPa"]
    evaluated = {name: value for name, value in inference.to_dict().items() if name not in HOW_EVALUATED}
    return digest([kind, source, model, evaluated, chosen])


@dataclass(frozen=True)
class Member:
    """One training set of a campaign, and its stages."""

    crystal: str
    model: str
    temperature_K: float
    pressure_GPa: float
    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        """``urea/mace/298.15K_0.0001GPa``."""
        return f"{self.crystal}/{self.model}/{condition_name(self.temperature_K, self.pressure_GPa)}"


@dataclass(frozen=True)
class Plan:
    """All members of a campaign, and the stages they share by name."""

    name: str
    members: tuple[Member, ...]

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """Every stage once, parents before those that need them."""
        found = {stage.name: stage for member in self.members for stage in member.stages}
        return dict(sorted(found.items(), key=lambda item: KINDS.index(item[1].kind)))

    def groups(self) -> dict[str, list[Stage]]:
        """Stages by crystal and model, ``urea/mace``, which share nothing with one another."""
        found: dict[str, list[Stage]] = {}
        for stage in self.stages.values():
            found.setdefault(f"{stage.crystal.name}/{stage.model.name}", []).append(stage)
        return found


def condition_name(temperature_K: float | None, pressure_GPa: float | None) -> str:
    """``298.15K_0.0001GPa``; without one of the two, the other; without both, empty."""
    temperature = "" if temperature_K is None else f"{temperature_K:.10g}K"
    pressure = "" if pressure_GPa is None else f"{pressure_GPa:.10g}GPa"
    return "_".join(filter(None, (temperature, pressure)))


def share_jobs(max_jobs: int, n_graphs: int) -> tuple[int, int]:
    """Graphs at once and stages at once in each, so that no more than ``max_jobs`` stages run."""
    at_once = max(1, min(max_jobs, n_graphs))
    return at_once, max_jobs // at_once


def make_plan(
    settings: CampaignSettings,
    crystals: Sequence[Crystal],
    models: Sequence[Model],
    repairs: Mapping[str, Mapping[str, object]] | None = None,
) -> Plan:
    """The members of a campaign.

    repairs: overrides ``{section: {field: value}}`` for single stages, by name.
    Raises InvalidCampaign with the refusals of all crystals.
    """
    refusals, members = Refusals(), []
    for pattern in settings.overrides_by_crystal:
        if not any(fnmatch.fnmatchcase(crystal.name, pattern) for crystal in crystals):
            known = ", ".join(crystal.name for crystal in crystals)
            refusals.add(f"overrides_by_crystal: {pattern}", f"no crystal has such a name: there are {known}.")
    for crystal in crystals:
        with refusals.about(crystal.name):
            chosen = _Chosen(settings, crystal.name, repairs or {})
            members += [member for model in models for member in _members(chosen, crystal, model)]
    refusals.raise_if_any()
    return Plan(settings.name, tuple(members))


class _Chosen:
    """The settings of one crystal's stages."""

    def __init__(self, campaign: CampaignSettings, crystal: str, repairs: Mapping[str, Mapping[str, object]]) -> None:
        self.campaign, self._crystal, self._repairs = campaign, crystal, repairs
        self._overrides: Mapping[str, object] = campaign.overrides
        for pattern, overrides in campaign.overrides_by_crystal.items():
            if fnmatch.fnmatchcase(crystal, pattern):
                self._overrides = merge(self._overrides, overrides)
        self._usual = self._by_section(self._overrides)

    def _by_section(self, overrides: Mapping[str, object]) -> dict[str, Any]:
        return protocol_settings(self.campaign.protocol, overrides)

    @property
    def cell_follows_pressure(self) -> bool:
        """True where the relaxed cell, or its volumes, depend on the external pressure."""
        free_energy: FreeEnergy = self._usual[QUASI_HARMONIC]
        return free_energy.thermal_expansion or free_energy.relax_input_cell == "full"

    @property
    def ensemble(self) -> str:
        """NVT or NPT."""
        return str(self._usual[DYNAMICS].md_crystal.ensemble)

    def complete(self, stage: Stage, changes: Mapping[str, object]) -> Stage:
        """The stage with its settings: those of the crystal, of the conditions, of a repair; and its seed."""
        overrides = merge(self._overrides, {stage.kind: changes})
        if self.campaign.rng_seed is not None and stage.kind != QUASI_HARMONIC:
            overrides = merge(overrides, {stage.kind: _seeds(self.campaign.rng_seed, stage)})
        overrides = merge(overrides, self._repairs.get(stage.name, {}))
        chosen = self._by_section(overrides)
        return replace(stage, settings=chosen[stage.kind], inference=chosen["inference"])


def _seeds(seed: int, stage: Stage) -> dict[str, object]:
    """A seed of the stage's own, the same for every model."""
    where = f"{seed} {stage.crystal.name} {condition_name(stage.temperature_K, stage.pressure_GPa)} {stage.kind}"
    own = int.from_bytes(hashlib.sha256(where.encode()).digest()[:4], "big")
    return {"md_crystal": {"rng_seed": own}} if stage.kind == DYNAMICS else {"rng_seed": own}


def _members(chosen: _Chosen, crystal: Crystal, model: Model) -> list[Member]:
    """The members of one crystal and model.

    Raises InvalidSettings where several pressures would give the same dynamics.
    """
    campaign = chosen.campaign
    if chosen.ensemble == "NVT" and len(campaign.pressures_GPa) > 1 and not chosen.cell_follows_pressure:
        raise InvalidSettings(
            f"pressures_GPa = {list(campaign.pressures_GPa)}, and md_crystal.ensemble = 'NVT' has none: give one "
            "pressure, or take NPT."
        )
    constants: dict[float | None, Stage] = {}
    sampled: dict[tuple[float, float | None], Stage] = {}
    members = []
    for pressure in campaign.pressures_GPa:
        cell_pressure = pressure if chosen.cell_follows_pressure else None
        if cell_pressure not in constants:
            constants[cell_pressure] = _quasi_harmonic(chosen, crystal, model, cell_pressure)
        for temperature in campaign.temperatures_K:
            where = temperature, cell_pressure
            if where not in sampled:
                sampled[where] = _phonons(chosen, constants[cell_pressure], temperature, cell_pressure)
            dynamics = _dynamics(chosen, crystal, model, temperature, pressure)
            stages = constants[cell_pressure], sampled[where], dynamics
            members.append(Member(crystal.name, model.name, temperature, pressure, stages))
    return members


def _quasi_harmonic(chosen: _Chosen, crystal: Crystal, model: Model, pressure_GPa: float | None) -> Stage:
    """Relaxation and force constants; with thermal expansion at all temperatures of the campaign."""
    stage = Stage(QUASI_HARMONIC, crystal, model, FreeEnergy(), Inference(), pressure_GPa=pressure_GPa)
    usual = chosen.complete(stage, {}).settings
    assert isinstance(usual, FreeEnergy)
    changes: dict[str, object] = {} if pressure_GPa is None else {"pressure_GPa": pressure_GPa}
    if usual.thermal_expansion:
        changes["temperatures_K"] = list(chosen.campaign.temperatures_K)
    return chosen.complete(stage, changes)


def _phonons(chosen: _Chosen, parent: Stage, temperature_K: float, pressure_GPa: float | None) -> Stage:
    """Phonon sampling at a temperature, of the crystal at V(T) where thermal expansion is asked for."""
    free_energy = parent.settings
    assert isinstance(free_energy, FreeEnergy)
    stage = Stage(
        PHONONS, parent.crystal, parent.model, PhononSampling(), Inference(), temperature_K, pressure_GPa, parent
    )
    changes: dict[str, object] = {"temperature_K": temperature_K}
    if free_energy.thermal_expansion:
        label = equilibrium_name(temperature_K)
        changes["force_constants_key"] = force_constants_key(free_energy.root_key, label)
    stage = chosen.complete(stage, changes)
    assert isinstance(stage.settings, PhononSampling)
    return replace(stage, constants_label=name_of_key(stage.settings.force_constants_key, free_energy))


def _dynamics(chosen: _Chosen, crystal: Crystal, model: Model, temperature_K: float, pressure_GPa: float) -> Stage:
    stage = Stage(DYNAMICS, crystal, model, MDSampling(), Inference(), temperature_K, pressure_GPa)
    return chosen.complete(stage, {"temperature_K": temperature_K, "pressure_GPa": pressure_GPa})
