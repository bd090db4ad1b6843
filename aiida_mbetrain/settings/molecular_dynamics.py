"""Molecular dynamics sampling."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from aiida_mbetrain.settings.base import (
    Count,
    Key,
    Length,
    Matrix,
    NonNegative,
    Positive,
    Pressure,
    Seed,
    Settings,
    Temperature,
    Window,
)
from aiida_mbetrain.settings.clusters import FiniteSubsystemFilter

MOST_STEPS = 1e12
"""A step of 1 ms would take 30 years."""
NAME_OF_REPLICA = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
"""Part of a link label of AiiDA."""


class ClassicalMD(Settings):
    """Molecular dynamics with classical nuclei."""

    ensemble: Literal["NVT", "NPT"] = Field("NVT", description="Thermodynamic ensemble.")
    time_total_fs: Positive = Field(50000.0, description="Total time, equilibration included (fs).")
    time_step_fs: Positive = Field(0.5, description="Integration time step (fs).")
    sampling_interval_fs: Positive = Field(50.0, description="Time between stored frames (fs).")
    time_equilibration_fs: NonNegative = Field(
        5000.0, description="Initial time discarded; only frames with t > this enter the dataset (fs)."
    )
    nvt_algo: Literal["csvr", "nose_hoover_chain"] = Field("csvr", description="Thermostat for NVT.")
    npt_algo: Literal["mtk_full", "mtk_isotropic"] = Field(
        "mtk_full", description="Barostat and thermostat for NPT: all cell components or the volume alone."
    )
    thermostat_time_fs: Positive = Field(100.0, description="Thermostat relaxation time (fs).")
    barostat_time_fs: Positive = Field(1000.0, description="Barostat relaxation time (fs).")
    tchain: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Length of the thermostat chain.")
    pchain: Annotated[int, Field(ge=1, le=1000)] = Field(3, description="Length of the barostat's thermostat chain.")
    masses: Literal["natural", "hydrogen", "uniform"] = Field(
        "natural",
        description="Masses that move: those of the elements and isotopes; hydrogen made heavier at the cost of the "
        "atom it is bonded to; or the same for all atoms. Positions and volumes are sampled alike with all three.",
    )
    hydrogen_mass_u: Annotated[float, Field(ge=1.01, le=12.0)] = Field(
        3.0, description="Mass of hydrogen where masses = hydrogen (u); heavier isotopes keep theirs."
    )
    supercell_radius: Length = Field(25.0, description="Minimum point-periodic image distance (Å).")
    supercell_matrix: Matrix | None = Field(
        None, description="3x3 integers, rows are the new vectors; overrides supercell_radius."
    )
    supercell_diagonal: bool = Field(False, description="Only diagonal supercell matrices.")
    rng_seed: Seed = Field(42, description="Seed of velocities and stochastic thermostat.")
    max_atoms: Count = Field(10000, description="Refuse supercells of more atoms.")
    temperature_window: Window = Field((0.05, 3.0), description="Stop when T / temperature_K leaves this window.")
    volume_window: Window = Field((0.7, 1.5), description="Stop when V / V(t=0) leaves this window.")
    max_force: Positive = Field(100.0, description="Stop when the force on an atom exceeds this (eV/Å).")

    def _check(self) -> None:
        if self.sampling_interval_fs < self.time_step_fs:
            raise ValueError(
                f"sampling_interval_fs = {self.sampling_interval_fs} is below time_step_fs = {self.time_step_fs}; "
                "raise the interval to a multiple of the step"
            )
        if not self.time_total_fs / self.time_step_fs < MOST_STEPS:
            raise ValueError(
                f"time_total_fs = {self.time_total_fs} in steps of time_step_fs = {self.time_step_fs} are more than "
                f"{MOST_STEPS:g} steps; lower the time or raise the step"
            )
        for name in ("sampling_interval_fs", "time_total_fs", "time_equilibration_fs"):
            ratio = getattr(self, name) / self.time_step_fs
            if not ratio < MOST_STEPS or abs(ratio - round(ratio)) > 1e-6:
                raise ValueError(
                    f"{name} = {getattr(self, name)} is not a multiple of time_step_fs = {self.time_step_fs}"
                )
        if self.time_equilibration_fs + self.sampling_interval_fs > self.time_total_fs * (1 + 1e-12):
            raise ValueError(
                f"no frame would be stored: time_equilibration_fs = {self.time_equilibration_fs} plus "
                f"sampling_interval_fs = {self.sampling_interval_fs} exceeds time_total_fs = {self.time_total_fs}; "
                "time_total_fs includes the equilibration"
            )

    @field_validator("temperature_window", "volume_window")
    @classmethod
    def _window_holds_one(cls, window: tuple[float, float]) -> tuple[float, float]:
        if not window[0] < 1.0 < window[1]:
            raise ValueError("a window is (low, high) with low < 1 < high")
        return window


class MDSampling(Settings):
    """Sampling of thermally accessible configurations by molecular dynamics."""

    temperature_K: Temperature = Field(298.15, description="Target temperature (K).")
    pressure_GPa: Pressure = Field(1.0e-4, description="Target pressure (GPa), used in NPT.")
    finite_subsystem_filter: FiniteSubsystemFilter | None = Field(
        FiniteSubsystemFilter(), description="Which clusters are extracted; None: the trajectory only."
    )
    md_crystal: ClassicalMD = Field(
        ClassicalMD(
            ensemble="NPT",
            time_total_fs=100000.0,
            time_step_fs=1.0,
            time_equilibration_fs=1000.0,
            sampling_interval_fs=1000.0,
            supercell_radius=15.0,
        ),
        description="Molecular dynamics of the crystal.",
    )
    relax_first: bool = Field(
        False,
        description="Start from the relaxed crystal: in NPT atoms and cell at pressure_GPa, in NVT the atoms alone.",
    )
    root_key: Key = Field("training/md_sampling", description="Where the dataset keeps this stage.")


class Replica(Settings):
    """Conditions and seed of one of several runs."""

    temperature_K: Temperature = Field(298.15, description="Target temperature (K).")
    pressure_GPa: Pressure = Field(1.0e-4, description="Target pressure (GPa), used in NPT.")
    rng_seed: Seed = Field(42, description="Seed of velocities and stochastic thermostat.")


class MDReplicas(Settings):
    """Several runs of molecular dynamics of one crystal, whose evaluations are made together."""

    sampling: MDSampling = Field(
        MDSampling(), description="What all replicas have in common; temperature, pressure and seed are their own."
    )
    replicas: Annotated[dict[str, Replica], Field(min_length=1)] = Field(
        {"replica": Replica()}, description="Replicas by name: letters, digits and single _, a letter first."
    )

    @field_validator("replicas")
    @classmethod
    def _names(cls, replicas: Mapping[str, Replica]) -> Mapping[str, Replica]:
        for name in replicas:
            if not NAME_OF_REPLICA.fullmatch(name):
                raise ValueError(f"the name {name!r} has other than letters, digits and single _, a letter first")
        return dict(sorted(replicas.items()))  # the keys of a stored node lose their order

    def _check(self) -> None:
        found: dict[tuple[float, ...], str] = {}
        for name, replica in self.replicas.items():
            pressure = (replica.pressure_GPa,) if self.sampling.md_crystal.ensemble == "NPT" else ()
            same = found.setdefault((replica.temperature_K, replica.rng_seed, *pressure), name)
            if same != name:
                raise ValueError(f"replicas {same} and {name} are the same run; give one of them another rng_seed")
            if pressure and self.sampling.relax_first and replica.pressure_GPa != self.first.pressure_GPa:
                raise ValueError(
                    f"the crystal relaxed at the pressure of {name} (pressure_GPa = {replica.pressure_GPa}) is another "
                    f"than at {self.first.pressure_GPa}; give one pressure, or relax_first = False"
                )

    @property
    def first(self) -> Replica:
        """The first replica."""
        return next(iter(self.replicas.values()))

    def of(self, name: str) -> MDSampling:
        """The settings of one replica by itself."""
        replica = self.replicas[name]
        dynamics = self.sampling.md_crystal.model_copy(update={"rng_seed": replica.rng_seed})
        conditions = {"temperature_K": replica.temperature_K, "pressure_GPa": replica.pressure_GPa}
        return self.sampling.model_copy(update={"md_crystal": dynamics, **conditions})
