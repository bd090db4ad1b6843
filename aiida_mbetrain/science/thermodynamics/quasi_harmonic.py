"""Volumetric thermal expansion in the quasi-harmonic approximation.

:func:`.strained_structure` at every sampled volume (or a relaxation under every sampled pressure), relaxation, force
constants and harmonic thermodynamics of each, one ``SampledVolume`` from each, and :func:`thermal_expansion` of all of
them.  Everything is per primitive cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidSettings, NoEquilibriumVolume, NotEnoughVolumes
from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.thermodynamics.equations_of_state import (
    N_PARAMETERS,
    EquationOfState,
    Form,
    fit_equation_of_state,
)
from aiida_mbetrain.science.thermodynamics.sampled_volumes import SampledVolume, filtered_by
from aiida_mbetrain.settings import FreeEnergy

BoolArray = NDArray[np.bool_]
N_INTERPOLATED = 200
MARGIN = 1.25
"""How far to sample, in units of the way from the last sampled volume to a minimum beyond it."""


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
    fitted_volumes: minimum of the fit, bracketed or not; nan where it has none, (T,), Å³.
    missing_ratios: V/V0 which, sampled too, would bracket the minimum by this fit; nan where it is bracketed or the
        fit has none, (T,).
    missing_pressures_GPa: sampled pressure under which the static crystal has that volume; nan also where no
        pressure holds it there, (T,).
    used: which of the n samples entered the fits, (n,).
    sampled_volumes, sampled_free_energies: the points of the fits, (m,) Å³ and (T, m) kJ/mol, pressure-volume
        work included.
    curve_volumes, curve_free_energies: the fits, (k,) and (T, k).
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
    fitted_volumes: FloatArray
    missing_ratios: FloatArray
    missing_pressures_GPa: FloatArray
    used: BoolArray
    sampled_volumes: FloatArray
    sampled_free_energies: FloatArray
    curve_volumes: FloatArray
    curve_free_energies: FloatArray

    def columns(self) -> dict[str, AnyArray]:
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
            "V_fit_A3": self.fitted_volumes,
            "missing_volume_ratio": self.missing_ratios,
            "missing_pressure_GPa": self.missing_pressures_GPa,
        }


def thermal_expansion(
    samples: Sequence[SampledVolume],
    settings: FreeEnergy,
    *,
    space_group: str,
    reference_volume: float,
    pressure_GPa: float = 0.0,
) -> ThermalExpansion:
    """Minimise F(V, T) + pV over the volume at every temperature of the samples.

    space_group: symbol of the crystal's relaxed structure, which ``filter_out_broken_symmetry`` compares with.
    reference_volume: the V0 of ``volume_range``, that structure's volume per primitive cell, Å³.
    A minimum outside the sampled volumes is reported in ``bracketed``; with ``filter_out_extrapolated_minimum``
    its temperature has no values, otherwise those of the extrapolated fit.
    Raises NotEnoughVolumes when the filters leave fewer than four, NoEquilibriumVolume when no temperature has a
    minimum that may be used.
    """
    removed = filtered_by(samples, settings, space_group=space_group)
    used = np.array([not name for name in removed], dtype=bool)
    kept = [sample for sample, keep in zip(samples, used, strict=True) if keep]
    if len(kept) < N_PARAMETERS:
        by = ", ".join(f"{name} removes {count}" for name, count in Counter(filter(None, removed)).items())
        raise NotEnoughVolumes(
            f"{len(kept)} of {len(samples)} computed volumes are left, an equation of state needs {N_PARAMETERS}"
            f"{f' ({by})' if by else ''}: sample more volumes, or set such a filter to False."
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
    missing_ratios = np.array([row.missing_volume for row in rows]) / reference_volume
    missing_pressures = np.array([row.missing_pressure for row in rows]) / units.GPa
    if np.isnan(equilibrium).all():
        far = max(range(len(rows)), key=lambda i: np.nan_to_num(abs(rows[i].missing_volume - volumes.mean())))
        advice = bracketing_advice(
            settings, rows[far].fitted_volume, ratio=missing_ratios[far], pressure_GPa=missing_pressures[far]
        )
        raise NoEquilibriumVolume(
            f"At no temperature from {temperatures[0]} to {temperatures[-1]} K does the free energy have a minimum "
            f"between {volumes[0]:.2f} and {volumes[-1]:.2f} Å³: at {temperatures[far]} K {advice}"
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
        fitted_volumes=np.array([row.fitted_volume for row in rows]),
        missing_ratios=missing_ratios,
        missing_pressures_GPa=missing_pressures,
        used=used,
        sampled_volumes=volumes,
        sampled_free_energies=(static + vibrational + work) / KJ_PER_MOL,
        curve_volumes=curve,
        curve_free_energies=np.array([row.curve for row in rows]) / KJ_PER_MOL,
    )


def bracketing_advice(settings: FreeEnergy, fitted_volume: float, *, ratio: float, pressure_GPa: float) -> str:
    """Advice on the point to add to the sampled range so that a minimum lies inside.

    fitted_volume: of the extrapolated fit, Å³, nan if it has none.  ratio, pressure_GPa: ``missing_ratios`` and
    ``missing_pressures_GPa`` of that temperature.
    """
    field = f"{settings.eos_sampling}_range"
    if not np.isfinite(fitted_volume):
        return f"the fit has no minimum at all; sample on both sides of it, in {field}."
    if settings.eos_sampling == "volume":
        remedy = f"add {ratio:.4f} to {field}"
    elif np.isfinite(pressure_GPa):
        remedy = f"add {pressure_GPa:.4f} (GPa) to {field}"
    else:
        remedy = f"no pressure holds the static crystal there: take eos_sampling='volume' with {ratio:.4f} in the range"
    return (
        f"the fit extrapolates it to {fitted_volume:.2f} Å³; {remedy}, or set filter_out_extrapolated_minimum to False."
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
    fitted_volume: float
    missing_volume: float
    missing_pressure: float
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
            return cls(nan, nan, nan, nan, nan, False, nan, nan, nan, nan, np.full(len(curve), nan))
        volume, energies = fit.volume_0, fit.energy(curve)
        # A cubic, the degree of the polynomial equation of state; of lower degree for fewer than four volumes.
        slope = Polynomial.fit(volumes, vibrational, min(3, len(volumes) - 1)).deriv()
        bracketed = bool(volumes[0] < volume < volumes[-1])
        missing = (nan, nan) if bracketed else _missing_point(volumes, fit, slope)
        if not bracketed and settings.filter_out_extrapolated_minimum:
            return cls(nan, nan, nan, nan, nan, False, fit.rmse, volume, *missing, energies)
        return cls(
            volume=volume,
            free_energy=fit.energy_0 - pressure * volume,
            bulk_modulus=fit.bulk_modulus,
            bulk_modulus_prime=fit.bulk_modulus_prime,
            thermal_pressure=float(slope(volume)),
            bracketed=bracketed,
            rmse=fit.rmse,
            fitted_volume=volume,
            missing_volume=missing[0],
            missing_pressure=missing[1],
            curve=energies,
        )


def _missing_point(volumes: FloatArray, fit: EquationOfState, slope: Polynomial) -> tuple[float, float]:
    """A volume (Å³) a little beyond a minimum that is not bracketed, and the static crystal's pressure there (eV/Å³).

    The pressure is relative to the external one, as sampled pressures are; nan where on the way there the static
    curve turns, so that no pressure holds the crystal at that volume.
    fit: of F(V) + pV.  slope: dF_vib/dV.
    """
    below = fit.volume_0 < volumes[0]
    edge = volumes[0] if below else volumes[-1]
    target = float(edge + MARGIN * (fit.volume_0 - edge))
    way = np.linspace(edge, target, N_INTERPOLATED)
    # With F = E + F_vib the static pressure above p is -dE/dV - p = -d(F + pV)/dV + dF_vib/dV.
    pressures = fit.pressure(way) + slope(way)
    turns = np.any(np.diff(pressures) < 0) if below else np.any(np.diff(pressures) > 0)
    return target, float("nan" if turns else pressures[-1])


def _expansion_coefficients(temperatures: FloatArray, volumes: FloatArray) -> FloatArray:
    """d ln V / dT over the temperatures that have a volume; nan for the others and for a single one."""
    result = np.full(len(volumes), np.nan)
    known = np.flatnonzero(np.isfinite(volumes))
    if len(known) > 1:
        result[known] = np.gradient(np.log(volumes[known]), temperatures[known])
    return result
