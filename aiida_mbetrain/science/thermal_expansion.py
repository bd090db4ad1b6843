"""Volumetric thermal expansion in the quasi-harmonic approximation.

The way of the work: :func:`strained_structure` at every sampled volume (or a relaxation under every sampled pressure),
relaxation, force constants and harmonic thermodynamics of each, one :class:`SampledVolume` from each, and
:func:`thermal_expansion` of all of them.  Everything is per primitive cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import units
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.equations_of_state import N_PARAMETERS, Form, fit_equation_of_state
from aiida_mbetrain.science.errors import InvalidSettings, InvalidStructure, NoEquilibriumVolume, NotEnoughVolumes
from aiida_mbetrain.science.quasi_harmonic import KJ_PER_MOL, HarmonicThermodynamics
from aiida_mbetrain.science.relaxation import Relaxation
from aiida_mbetrain.settings import FreeEnergy

BoolArray = NDArray[np.bool_]
N_INTERPOLATED = 200


def strained_structure(structure: Configurations, volume_ratio: float) -> Configurations:
    """The first frame scaled isotropically to volume_ratio times its volume, fractional coordinates kept.

    Molecules are stretched with the cell: relax before use.
    """
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no volume: give a periodic crystal.")
    if not 0 < volume_ratio < np.inf:
        raise InvalidSettings(f"volume_range = {volume_ratio}: give ratios V/V0 above 0.")
    scale = volume_ratio ** (1 / 3)
    return Configurations(structure.numbers, structure.positions[:1] * scale, structure.cells[:1] * scale)


def volume_label(volume_ratio: float) -> str:
    """Name of the crystal relaxed at a sampled volume."""
    return f"crystal[eos:V={volume_ratio:.4f}]"


def pressure_label(pressure_GPa: float) -> str:
    """Name of the crystal relaxed under a sampled (thermal) pressure."""
    return f"crystal[eos:p_thermal={pressure_GPa:.4f}]"


def equilibrium_label(temperature_K: float) -> str:
    """Name of the crystal at its equilibrium volume at a temperature."""
    return f"crystal[eq:T={temperature_K:.2f}]"


@dataclass(frozen=True, eq=False)
class SampledVolume:
    """A crystal relaxed at one volume, and its vibrations.

    volume: Å³, static_energy: eV, both per primitive cell of the thermodynamics.
    """

    volume: float
    static_energy: float
    space_group: str
    thermodynamics: HarmonicThermodynamics

    @classmethod
    def of(cls, relaxation: Relaxation, thermodynamics: HarmonicThermodynamics) -> Self:
        """From the relaxed structure (any cell) and the thermodynamics of its force constants."""
        structure = relaxation.structure
        assert structure.energies is not None
        share = thermodynamics.n_atoms / structure.n_atoms
        return cls(
            volume=float(structure.volumes[0]) * share,
            static_energy=float(structure.energies[0]) * share,
            space_group=relaxation.space_group,
            thermodynamics=thermodynamics,
        )


def usable_volumes(samples: Sequence[SampledVolume], settings: FreeEnergy, *, space_group: str) -> BoolArray:
    """Which volumes the filters of the settings leave in; space_group is the reference's symbol."""
    keep = np.ones(len(samples), dtype=bool)
    for i, sample in enumerate(samples):
        found = sample.thermodynamics
        keep[i] = not (
            (settings.filter_out_imaginary_acoustic and not found.acoustic_freqs_real)
            or (settings.filter_out_imaginary_optical and not found.optical_freqs_real)
            or (settings.filter_out_broken_symmetry and sample.space_group != space_group)
        )
    return keep


@dataclass(frozen=True, eq=False)
class ThermalExpansion:
    """Equilibrium at T temperatures, per primitive cell; nan where there is none and none was extrapolated.

    volumes: (T,), Å³.  free_energies: static plus vibrational at that volume, (T,), kJ/mol.
    bulk_moduli_GPa, bulk_modulus_primes: isothermal, of F(V, T), (T,).
    thermal_pressures_GPa: dF_vib/dV at the equilibrium volume, (T,); negative where vibrations expand the crystal:
        the static crystal relaxed under this pressure has the volume of the warm one.
    expansion_coefficients: (1/V) dV/dT by finite differences over the temperatures, (T,), 1/K.
    bracketed: whether the minimum lies between sampled volumes, (T,).
    rmse: deviation of the sampled points from the fit, (T,), kJ/mol.
    used: which of the n samples entered the fits, (n,).
    sampled_volumes (m,), sampled_free_energies (T, m): the points of the fits, Å³ and kJ/mol, pressure-volume
        work included.
    curve_volumes (k,), curve_free_energies (T, k): the fits.
    """

    temperatures_K: FloatArray
    volumes: FloatArray
    free_energies: FloatArray
    bulk_moduli_GPa: FloatArray
    bulk_modulus_primes: FloatArray
    thermal_pressures_GPa: FloatArray
    expansion_coefficients: FloatArray
    bracketed: BoolArray
    rmse: FloatArray
    used: BoolArray
    sampled_volumes: FloatArray
    sampled_free_energies: FloatArray
    curve_volumes: FloatArray
    curve_free_energies: FloatArray

    def columns(self) -> dict[str, NDArray]:
        """One row per temperature, units in the names."""
        return {
            "temperature_K": self.temperatures_K,
            "V_A3": self.volumes,
            "F_tot_kJ_per_mol": self.free_energies,
            "bulk_modulus_GPa": self.bulk_moduli_GPa,
            "bulk_modulus_prime": self.bulk_modulus_primes,
            "thermal_pressure_GPa": self.thermal_pressures_GPa,
            "expansion_coefficient_per_K": self.expansion_coefficients,
            "bracketed": self.bracketed,
            "rmse_kJ_per_mol": self.rmse,
        }


def thermal_expansion(
    samples: Sequence[SampledVolume],
    settings: FreeEnergy,
    *,
    space_group: str,
    pressure_GPa: float = 0.0,
) -> ThermalExpansion:
    """Minimise F(V, T) + pV over the volume at every temperature of the samples.

    space_group: symbol of the crystal's relaxed structure, which ``filter_out_broken_symmetry`` compares with.
    A minimum outside the sampled volumes is reported in ``bracketed``; with ``filter_out_extrapolated_minimum``
    its temperature has no values, otherwise those of the extrapolated fit.
    Raises NotEnoughVolumes when the filters leave fewer than four, NoEquilibriumVolume when no temperature has a
    minimum that may be used.
    """
    used = usable_volumes(samples, settings, space_group=space_group)
    kept = [sample for sample, keep in zip(samples, used, strict=True) if keep]
    if len(kept) < N_PARAMETERS:
        raise NotEnoughVolumes(
            f"The filters leave {len(kept)} of {len(samples)} volumes, an equation of state needs {N_PARAMETERS}: "
            "sample more volumes, or let through imaginary modes or broken symmetry."
        )
    kept.sort(key=lambda sample: sample.volume)
    temperatures = _common_temperatures(kept)
    volumes = np.array([sample.volume for sample in kept])
    static = np.array([sample.static_energy for sample in kept])
    vibrational = np.array([sample.thermodynamics.free_energies for sample in kept]).T * KJ_PER_MOL
    work = pressure_GPa * units.GPa * volumes
    curve = np.linspace(volumes[0], volumes[-1], N_INTERPOLATED)
    rows = [
        _Equilibrium.find(volumes, static + row + work, row, curve, settings, pressure_GPa * units.GPa)
        for row in vibrational
    ]
    equilibrium = np.array([row.volume for row in rows])
    if np.isnan(equilibrium).all():
        raise NoEquilibriumVolume(
            f"At no temperature from {temperatures[0]} to {temperatures[-1]} K does the free energy have a minimum "
            f"between {volumes[0]:.2f} and {volumes[-1]:.2f} Å³: extend volume_range or pressure_range, or set "
            "filter_out_extrapolated_minimum to False."
        )
    return ThermalExpansion(
        temperatures_K=temperatures,
        volumes=equilibrium,
        free_energies=np.array([row.free_energy for row in rows]) / KJ_PER_MOL,
        bulk_moduli_GPa=np.array([row.bulk_modulus for row in rows]) / units.GPa,
        bulk_modulus_primes=np.array([row.bulk_modulus_prime for row in rows]),
        thermal_pressures_GPa=np.array([row.thermal_pressure for row in rows]) / units.GPa,
        expansion_coefficients=_expansion_coefficients(temperatures, equilibrium),
        bracketed=np.array([row.bracketed for row in rows]),
        rmse=np.array([row.rmse for row in rows]) / KJ_PER_MOL,
        used=used,
        sampled_volumes=volumes,
        sampled_free_energies=(static + vibrational + work) / KJ_PER_MOL,
        curve_volumes=curve,
        curve_free_energies=np.array([row.curve for row in rows]) / KJ_PER_MOL,
    )


def _common_temperatures(samples: Sequence[SampledVolume]) -> FloatArray:
    first = samples[0].thermodynamics.temperatures_K
    if any(not np.array_equal(sample.thermodynamics.temperatures_K, first) for sample in samples):
        raise InvalidSettings("The sampled volumes have different temperatures_K: compute them with the same settings.")
    return first


@dataclass(frozen=True, eq=False)
class _Equilibrium:
    """One temperature; eV and Å."""

    volume: float
    free_energy: float
    bulk_modulus: float
    bulk_modulus_prime: float
    thermal_pressure: float
    bracketed: bool
    rmse: float
    curve: FloatArray

    @classmethod
    def find(
        cls,
        volumes: FloatArray,
        total: FloatArray,
        vibrational: FloatArray,
        curve: FloatArray,
        settings: FreeEnergy,
        pressure: float,
    ) -> _Equilibrium:
        nan = float("nan")
        form: Form = settings.equation_of_state
        try:
            fit = fit_equation_of_state(volumes, total, form=form)
        except NoEquilibriumVolume:
            return cls(nan, nan, nan, nan, nan, False, nan, np.full(len(curve), nan))
        volume, energies = fit.volume_0, fit.energy(curve)
        bracketed = bool(volumes[0] < volume < volumes[-1])
        if not bracketed and settings.filter_out_extrapolated_minimum:
            return cls(nan, nan, nan, nan, nan, False, fit.rmse, energies)
        slope = Polynomial.fit(volumes, vibrational, min(3, len(volumes) - 1)).deriv()
        return cls(
            volume=volume,
            free_energy=fit.energy_0 - pressure * volume,
            bulk_modulus=fit.bulk_modulus,
            bulk_modulus_prime=fit.bulk_modulus_prime,
            thermal_pressure=float(slope(volume)),
            bracketed=bracketed,
            rmse=fit.rmse,
            curve=energies,
        )


def _expansion_coefficients(temperatures: FloatArray, volumes: FloatArray) -> FloatArray:
    """d ln V / dT over the temperatures that have a volume; nan for the others and for a single one."""
    result = np.full(len(volumes), np.nan)
    known = np.flatnonzero(np.isfinite(volumes))
    if len(known) > 1:
        result[known] = np.gradient(np.log(volumes[known]), temperatures[known])
    return result
