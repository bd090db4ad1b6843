"""Phonon sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from aiida_mbetrain.settings.base import (
    Count,
    Integers,
    Key,
    NonNegative,
    Positive,
    QPoints,
    Seed,
    Settings,
    Temperature,
)
from aiida_mbetrain.settings.clusters import FiniteSubsystemFilter


class PhononFilter(Settings):
    """Selection of the sampled phonon modes."""

    k_point_mesh: QPoints = Field(
        "gamma",
        description="'gamma', a length (Å) for a Monkhorst-Pack grid, three integers, or 'commensurate': "
        "every q-point that fits the supercell.",
    )
    selected_modes: Integers | None = Field(
        None, description="1-based mode indices at each k-point; overrides the frequency window."
    )
    freq_min_THz: NonNegative = Field(0.1, description="Modes must lie above this frequency (THz).")
    freq_max_THz: Positive | None = Field(8.0, description="Modes must lie below this frequency (THz); None: no cap.")

    @field_validator("selected_modes")
    @classmethod
    def _one_based(cls, modes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if modes is not None and (not modes or min(modes) < 1 or len(set(modes)) != len(modes)):
            raise ValueError("give distinct 1-based mode indices")
        return None if modes is None else tuple(sorted(modes))

    def _check(self) -> None:
        if self.freq_max_THz is not None and self.freq_max_THz <= self.freq_min_THz:
            raise ValueError(
                f"the window is empty: freq_min_THz = {self.freq_min_THz}, freq_max_THz = {self.freq_max_THz}"
            )


class PhononSampling(Settings):
    """Sampling of configurations displaced along the normal modes of the crystal."""

    temperature_K: Temperature = Field(298.15, description="Temperature of the mode amplitudes (K).")
    phonon_filter: PhononFilter = Field(PhononFilter(), description="Which modes are sampled.")
    finite_subsystem_filter: FiniteSubsystemFilter | None = Field(
        FiniteSubsystemFilter(), description="Which clusters are extracted; None: the frames only."
    )
    time_step_fs: Annotated[float, Field(gt=0, le=1e12)] = Field(
        100.0, description="Time between frames of time_propagation with modes='each' (fs)."
    )
    n_frames: Count = Field(20, description="Frames per selected mode (modes='each') or in total (modes='all').")
    modes: Literal["each", "all"] = Field(
        "each", description="Every selected mode by itself, or all of them superposed."
    )
    amplitude_scan: Literal["time_propagation", "thermal", "equidistant"] = Field(
        "time_propagation",
        description="Trajectory of the harmonic oscillator (modes='all': new phases in every frame), independent "
        "thermal draws, or an even grid.",
    )
    amplitude_max: Annotated[float, Field(gt=0, le=100)] = Field(
        3.0, description="Edge of the equidistant grid, in units of the thermal standard deviation."
    )
    statistics: Literal["quantum", "classical"] = Field(
        "quantum", description="Mean energy of a mode: (hf/2) coth(hf/2kT) or kT."
    )
    rng_seed: Seed = Field(42, description="Seed of phases and amplitudes.")
    force_constants_key: Key = Field(
        "training/quasi_harmonic/phonons/crystal[opt:atoms,shape]/force_constants",
        description="Where the dataset keeps the force constants that were used.",
    )
    root_key: Key = Field("training/phonon_sampling", description="Where the dataset keeps this stage.")

    def _check(self) -> None:
        if self.amplitude_scan == "equidistant" and self.n_frames == 1:
            raise ValueError("amplitude_scan = 'equidistant' needs n_frames of at least 2, the edges of the grid")
