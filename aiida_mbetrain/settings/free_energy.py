"""Relaxation, force constants, and harmonic or quasi-harmonic free energy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from aiida_mbetrain.settings.base import (
    Count,
    Finite,
    Floats,
    Key,
    Length,
    Matrix,
    Mesh,
    Positive,
    Pressure,
    Settings,
    finite_range,
)


def _default_volume_range() -> tuple[float, ...]:
    return tuple(round(0.96 + 0.01 * i, 2) for i in range(13))


class FreeEnergy(Settings):
    """Force constants and harmonic or quasi-harmonic free energy."""

    thermal_expansion: bool = Field(
        True, description="Volumetric thermal expansion; False uses the harmonic approximation."
    )
    relax_input_cell: Literal["full", "constant_volume", "only_atoms"] = Field(
        "constant_volume", description="What is relaxed in the input structure."
    )
    supercell_radius: Length = Field(25.0, description="Minimum point-periodic image distance (Å).")
    supercell_matrix: Matrix | None = Field(
        None, description="3x3 integers, rows are the new vectors; overrides supercell_radius."
    )
    supercell_diagonal: bool = Field(False, description="Only diagonal supercell matrices.")
    keep_point_group: bool = Field(
        False, description="Only supercells that keep the crystal's whole point group; often larger."
    )
    supercell_displacement: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01, description="Finite displacement of an atom (Å)."
    )
    max_atoms: Count = Field(10000, description="Refuse supercells of more atoms.")
    fourier_interpolation_mesh: Mesh = Field(
        150.0, description="q-point mesh of the thermodynamics: a length (Å) or three integers."
    )
    temperatures_K: Floats = Field((298.15,), description="Temperatures of the thermodynamics (K).")
    symmetrize_unit_cell: bool = Field(True, description="Symmetrise the input and the relaxed structure.")
    symmetry_tolerance_loose: Positive = Field(1e-2, description="Tolerance for the input structure (Å).")
    symmetry_tolerance_strict: Positive = Field(1e-5, description="Tolerance for the relaxed structure (Å).")
    max_force_on_atom: Positive = Field(1e-4, description="Convergence of the relaxation (eV/Å).")
    max_n_steps: Count = Field(500, description="Steps per relaxation algorithm.")
    relax_algo_primary: Literal["PreconLBFGS", "PreconFIRE"] = Field(
        "PreconLBFGS", description="Relaxation algorithm tried first."
    )
    relax_algo_fallback: Literal["PreconLBFGS", "PreconFIRE"] = Field(
        "PreconFIRE", description="Continues where the first one stopped unconverged."
    )
    imaginary_mode_threshold: Finite = Field(-0.1, description="Frequencies below this count as imaginary (THz).")
    root_key: Key = Field("training/quasi_harmonic", description="Where the dataset keeps this stage.")
    volume_range: Floats = Field(
        _default_volume_range(), description="Sampled volumes, in units of the relaxed volume."
    )
    pressure_range: Floats = Field(
        (0.2, 0.0, -0.2, -0.3, -0.4, -0.5, -0.6),
        description="Sampled pressures of eos_sampling='pressure', on top of pressure_GPa (GPa).",
    )
    pressure_GPa: Pressure = Field(
        0.0, description="External pressure of the full relaxation and of the equilibrium volumes (GPa)."
    )
    equation_of_state: Literal["polynomial", "birch_murnaghan", "vinet"] = Field(
        "polynomial", description="Form fitted to F(V)."
    )
    eos_sampling: Literal["volume", "pressure"] = Field("volume", description="What is varied for F(V).")
    filter_out_imaginary_acoustic: bool = Field(False, description="Leave such volumes out of the fit.")
    filter_out_imaginary_optical: bool = Field(True, description="Leave such volumes out of the fit.")
    filter_out_left_out_acoustic: bool = Field(
        False, description="Leave volumes out of the fit in which an acoustic mode at or below 0 THz enters no sum."
    )
    filter_out_left_out_optical: bool = Field(
        True, description="Leave volumes out of the fit in which an optical mode at or below 0 THz enters no sum."
    )
    filter_out_broken_symmetry: bool = Field(True, description="Leave such volumes out of the fit.")
    filter_out_extrapolated_minimum: bool = Field(True, description="Drop temperatures not bracketed.")
    sublimation: bool = Field(
        False,
        description="Relax a molecule of the crystal alone: adds lattice energy and properties of sublimation.",
    )
    molecule_symmetry_number: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None, description="Rotational symmetry number of the isolated molecule; None counts it."
    )

    @property
    def eos_points(self) -> tuple[float, ...]:
        """The sampled points: volume ratios or pressures (GPa), by ``eos_sampling``."""
        return self.volume_range if self.eos_sampling == "volume" else self.pressure_range

    @field_validator("pressure_range")
    @classmethod
    def _pressures(cls, pressures: tuple[float, ...]) -> tuple[float, ...]:
        return finite_range(pressures)

    @field_validator("volume_range")
    @classmethod
    def _volumes(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < ratio <= 1000 for ratio in ratios):
            raise ValueError("give ratios V/V0 above 0, at most 1000")
        return finite_range(ratios)

    @field_validator("temperatures_K")
    @classmethod
    def _temperatures(cls, temperatures: tuple[float, ...]) -> tuple[float, ...]:
        if not temperatures or not all(0 <= t <= 1e7 for t in temperatures):
            raise ValueError("give temperatures of at least 0 K, at most 1e7 K")
        return tuple(sorted(set(temperatures)))
