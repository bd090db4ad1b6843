"""Thermal expansion against a solvable model and phonopy's QHA."""

import re

import numpy as np
import pytest
from ase import units
from cheap_potentials import nitrogen, nitrogen_potential
from phonopy import PhonopyQHA
from scipy.optimize import brentq

from aiida_mbetrain.errors import InvalidSettings, NoEquilibriumVolume, NotEnoughVolumes
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import calculate_force_constants
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.thermodynamics import (
    HarmonicThermodynamics,
    SampledVolume,
    check_thermal_expansion,
    harmonic_thermodynamics,
    strained_structure,
    thermal_expansion,
)
from aiida_mbetrain.science.thermodynamics.equations_of_state import EquationOfState
from aiida_mbetrain.science.thermodynamics.sampled_volumes import filtered_by
from aiida_mbetrain.settings import FreeEnergy

KJ = units.kJ / units.mol
STATIC = EquationOfState("vinet", -20.0, 140.0, 9.0 * units.GPa, 7.0)
GRUENEISEN, QUANTUM, N_MODES = 2.5, 0.008, 12
RATIOS = np.linspace(0.94, 1.14, 11)
TOLERANCES = {
    "polynomial": {"volume": 2e-4, "bulk_modulus": 0.02},
    "birch_murnaghan": {"volume": 5e-6, "bulk_modulus": 4e-4},
    "vinet": {"volume": 3e-6, "bulk_modulus": 2e-4},
}
"""Relative, on the default volume_range."""


def einstein_free_energy(volumes, temperature):
    """N quantum oscillators whose frequency falls as V^-γ, eV."""
    quantum = QUANTUM * (volumes / 140.0) ** -GRUENEISEN
    thermal = units.kB * temperature
    return N_MODES * (quantum / 2 + (thermal * np.log(-np.expm1(-quantum / thermal)) if temperature else 0.0))


def model_samples(temperatures, ratios=RATIOS, **changes):
    return [
        SampledVolume(
            volume=140.0 * ratio,
            static_energy=float(STATIC.energy(140.0 * ratio)),
            space_group="Pa-3",
            thermodynamics=thermodynamics_at(140.0 * ratio, temperatures, **changes),
        )
        for ratio in ratios
    ]


def thermodynamics_at(volume, temperatures, acoustic=True, optical=True, n_left_out=0, n_left_out_optical=0):
    free = np.array([einstein_free_energy(volume, t) for t in temperatures]) / KJ
    zeros = np.zeros(len(temperatures))
    return HarmonicThermodynamics(
        np.array(temperatures, dtype=float), free, zeros, 0.0, zeros, zeros, 8, (1, 1, 1), 24, 0, n_left_out,
        n_left_out_optical, 0.5, 1.0, acoustic, optical,
    )  # fmt: skip


def exact_volume(temperature, pressure=0.0):
    h = 1e-3

    def slope(v):
        vibrational = (einstein_free_energy(v + h, temperature) - einstein_free_energy(v - h, temperature)) / (2 * h)
        return vibrational - STATIC.pressure(v) + pressure

    return brentq(slope, 120.0, 165.0)


def exact_bulk_modulus(volume, temperature):
    """V d²F/dV², eV/Å³.

    Static: -V dp/dV of Vinet's p(V).  Oscillators with w ~ V^-γ: dF/dV = -γU/V and V dU/dV = -γ(U - T C_V).
    """
    x, c = np.cbrt(volume / STATIC.volume_0), 1.5 * (STATIC.bulk_modulus_prime - 1)
    static = STATIC.bulk_modulus / x**2 * (1 + (c * x + 1) * (1 - x)) * np.exp(c * (1 - x))
    quantum = QUANTUM * (volume / 140.0) ** -GRUENEISEN
    thermal = units.kB * temperature
    n = 1 / np.expm1(quantum / thermal) if temperature else 0.0
    energy = N_MODES * quantum * (0.5 + n)
    heat = N_MODES * quantum**2 / thermal * n * (n + 1) if temperature else 0.0
    return static + (GRUENEISEN * energy + GRUENEISEN**2 * (energy - heat)) / volume


def settings_for(**values):
    return FreeEnergy(**({"equation_of_state": "vinet"} | values))


def expansion_of(samples, settings, *, pressure_GPa=0.0):
    return thermal_expansion(
        samples, settings, space_group="Pa-3", reference_volume=STATIC.volume_0, pressure_GPa=pressure_GPa
    )


@pytest.mark.parametrize("form", TOLERANCES)
def test_equilibrium_volume_and_bulk_modulus_solve_the_model(form):
    temperatures = [0.0, 20.0, 40.0, 60.0, 80.0]
    settings = FreeEnergy(equation_of_state=form)
    result = expansion_of(model_samples(temperatures, ratios=settings.volume_range), settings)
    exact = [exact_volume(t) for t in temperatures]
    moduli = [exact_bulk_modulus(v, t) / units.GPa for v, t in zip(exact, temperatures, strict=True)]
    assert result.bracketed.all()
    assert np.allclose(result.volumes, exact, rtol=TOLERANCES[form]["volume"], atol=0)
    assert np.allclose(result.bulk_moduli_GPa, moduli, rtol=TOLERANCES[form]["bulk_modulus"], atol=0)
    total = [STATIC.energy(v) + einstein_free_energy(v, t) for v, t in zip(exact, temperatures, strict=True)]
    assert np.allclose(result.free_energies * KJ, total, rtol=0, atol=5e-5)


def test_default_equation_of_state_is_the_polynomial():
    assert FreeEnergy().equation_of_state == "polynomial"


def test_thermal_pressure_balances_the_static_one():
    result = expansion_of(model_samples([20.0, 60.0]), settings_for())
    assert np.allclose(result.thermal_pressures_GPa, STATIC.pressure(result.volumes) / units.GPa, atol=3e-3)
    assert (result.thermal_pressures_GPa < 0).all()


def test_expansion_coefficient_is_the_slope_of_ln_v():
    temperatures = np.array([39.0, 40.0, 41.0])
    result = expansion_of(model_samples(temperatures), settings_for())
    slope = (np.log(exact_volume(41.0)) - np.log(exact_volume(39.0))) / 2
    assert result.expansion_coefficients[1] == pytest.approx(slope, rel=2e-2)


def test_pressure_compresses():
    result = expansion_of(model_samples([50.0]), settings_for(), pressure_GPa=0.3)
    v = exact_volume(50.0, 0.3 * units.GPa)
    assert result.volumes[0] == pytest.approx(v, rel=2e-4)
    assert result.free_energies[0] * KJ == pytest.approx(STATIC.energy(v) + einstein_free_energy(v, 50.0), abs=1e-5)


@pytest.mark.parametrize("form", ["vinet", "birch_murnaghan"])
def test_equals_phonopy(form):
    temperatures = np.arange(0.0, 121.0, 20.0)
    samples = model_samples(temperatures)
    result = expansion_of(samples, settings_for(equation_of_state=form))
    volumes = [sample.volume for sample in samples]
    free = np.array([sample.thermodynamics.free_energies for sample in samples]).T
    qha = PhonopyQHA(
        volumes=volumes,
        electronic_energies=[sample.static_energy for sample in samples],
        temperatures=temperatures,
        free_energy=free,
        cv=np.ones_like(free),
        entropy=np.ones_like(free),
        eos=form,
    )
    n = len(qha.volume_temperature)
    assert n >= 4
    print(
        abs(result.volumes[:n] / qha.volume_temperature - 1).max(),
        abs(result.bulk_moduli_GPa[:n] / qha.bulk_modulus_temperature - 1).max(),
        abs(result.free_energies[:n] * KJ - qha.gibbs_temperature).max(),
        result.volumes,
        n,
    )
    assert np.allclose(result.volumes[:n], qha.volume_temperature, rtol=1e-7, atol=0)
    assert np.allclose(result.bulk_moduli_GPa[:n], qha.bulk_modulus_temperature, rtol=3e-6, atol=0)
    assert np.allclose(result.free_energies[:n] * KJ, qha.gibbs_temperature, rtol=0, atol=1e-6)


def test_minimum_beyond_the_sampled_volumes_is_reported_and_not_extrapolated():
    samples = model_samples([10.0, 100.0], ratios=np.linspace(0.96, 1.03, 6))
    assert exact_volume(10.0) < 140 * 1.03 < exact_volume(100.0)
    result = expansion_of(samples, settings_for())
    assert result.bracketed.tolist() == [True, False]
    assert np.isnan(result.volumes[1])
    assert np.isnan(result.bulk_moduli_GPa[1])
    asked = expansion_of(samples, settings_for(filter_out_extrapolated_minimum=False))
    assert asked.bracketed.tolist() == [True, False]
    assert asked.volumes[1] == pytest.approx(exact_volume(100.0), rel=2e-2)


def test_no_minimum_at_any_temperature_is_an_error():
    with pytest.raises(NoEquilibriumVolume):
        expansion_of(model_samples([50.0], ratios=[0.8, 0.82, 0.84, 0.86, 0.88]), settings_for())


def test_filters_leave_out_by_name():
    good, acoustic, optical = (
        model_samples([50.0], ratios=[1.0], **values)[0] for values in ({}, {"acoustic": False}, {"optical": False})
    )
    broken = SampledVolume(good.volume, good.static_energy, "P2_13", good.thermodynamics)
    samples = [good, acoustic, optical, broken]

    def kept(**values):
        return [not name for name in filtered_by(samples, FreeEnergy(**values), space_group="Pa-3")]

    assert kept() == [True, True, False, False]
    assert kept(filter_out_imaginary_acoustic=True) == [True, False, False, False]
    assert kept(filter_out_imaginary_optical=False) == [True, True, True, False]
    assert kept(filter_out_broken_symmetry=False) == [True, True, False, True]


def test_volume_whose_sums_miss_a_mode_near_zero_is_left_out():
    """No mode lies below the threshold: the other filters see nothing."""
    good, acoustic, optical = (
        model_samples([50.0], ratios=[1.0], **values)[0]
        for values in ({}, {"n_left_out": 2}, {"n_left_out": 2, "n_left_out_optical": 2})
    )

    def removed(**values):
        return filtered_by([good, acoustic, optical], FreeEnergy(**values), space_group="Pa-3")

    assert removed() == ["", "", "filter_out_left_out_optical"]
    assert removed(filter_out_left_out_optical=False) == ["", "", ""]
    assert removed(filter_out_left_out_acoustic=True)[:2] == ["", "filter_out_left_out_acoustic"]


def test_filtered_volumes_do_not_enter_the_fit():
    samples = model_samples([50.0])
    bad = SampledVolume(140.0, 1e3, "P1", samples[0].thermodynamics)
    result = expansion_of([*samples, bad], settings_for())
    assert result.used.tolist() == [True] * len(samples) + [False]
    assert result.volumes[0] == pytest.approx(exact_volume(50.0), rel=2e-4)
    with pytest.raises(NotEnoughVolumes):
        expansion_of([*samples[:3], bad], settings_for())


def test_too_few_volumes_name_the_filters_that_removed_them():
    samples = [*model_samples([50.0])[:3], *model_samples([50.0], ratios=[1.05, 1.06], optical=False)]
    samples.append(SampledVolume(150.0, -20.0, "P1", samples[0].thermodynamics))
    with pytest.raises(NotEnoughVolumes, match="filter_out_imaginary_optical removes 2, filter_out_broken_symmetry"):
        expansion_of(samples, settings_for())
    names = filtered_by(samples, settings_for(), space_group="Pa-3")
    assert names == ["", "", "", *["filter_out_imaginary_optical"] * 2, "filter_out_broken_symmetry"]


def advised(samples, settings, **conditions):
    """The number that the refusal says to add to the range."""
    with pytest.raises(NoEquilibriumVolume) as error:
        expansion_of(samples, settings, **conditions)
    found = re.search(rf"add (-?\d+\.\d+) (?:\(GPa\) )?to {settings.eos_sampling}_range", str(error.value))
    assert found, error.value
    return float(found.group(1))


RANGES = [(np.linspace(0.96, 1.02, 6), 100.0), (np.linspace(1.1, 1.16, 6), 0.0)]


@pytest.mark.parametrize(("ratios", "temperature"), RANGES)
def test_ratio_of_the_advice_brackets_the_minimum_where_it_is_added_to_the_range(ratios, temperature):
    ratio = advised(model_samples([temperature], ratios=ratios), settings_for())
    again = expansion_of(model_samples([temperature], ratios=[*ratios, ratio]), settings_for())
    assert again.bracketed.all()
    assert again.volumes[0] == pytest.approx(exact_volume(temperature), rel=1e-3)


@pytest.mark.parametrize(("ratios", "temperature"), RANGES)
def test_pressure_of_the_advice_does_the_same(ratios, temperature):
    """The static crystal under the external pressure and the advised one has a volume beyond the minimum."""
    settings, external = settings_for(eos_sampling="pressure"), 0.05
    samples = model_samples([temperature], ratios=ratios)
    pressure = (advised(samples, settings, pressure_GPa=external) + external) * units.GPa
    further = brentq(lambda v: STATIC.pressure(v) - pressure, 110.0, 175.0) / 140.0
    again = expansion_of(model_samples([temperature], ratios=[*ratios, further]), settings, pressure_GPa=external)
    assert again.bracketed.all()
    assert again.volumes[0] == pytest.approx(exact_volume(temperature, external * units.GPa), rel=1e-3)


def test_advice_names_the_volume_where_no_pressure_holds_the_static_crystal():
    samples = model_samples([400.0], ratios=np.linspace(1.0, 1.08, 6))
    settings = FreeEnergy(eos_sampling="pressure", equation_of_state="birch_murnaghan")
    with pytest.raises(NoEquilibriumVolume, match=r"eos_sampling='volume' with 1\.\d{4} in the range"):
        expansion_of(samples, settings)


def test_refusal_of_all_temperatures_advises_for_the_one_that_is_farthest_away():
    with pytest.raises(NoEquilibriumVolume, match=r"at 120\.0 K the fit extrapolates"):
        expansion_of(model_samples([90.0, 120.0], ratios=np.linspace(0.94, 1.0, 6)), settings_for())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"relax_input_cell": "only_atoms"}, "only_atoms"),
        ({"volume_range": [0.98, 1.0, 1.02]}, "volume_range"),
        ({"volume_range": [0.98, 1.0, 1.02, 1.02]}, "different"),
        ({"volume_range": [-1.0, 1.0, 1.02, 1.04]}, "above 0"),
        ({"eos_sampling": "pressure", "pressure_range": [0.0, 0.1]}, "pressure_range"),
        ({"temperatures_K": [1.001, 1.002]}, "temperatures_K"),
    ],
)
def test_settings_without_an_equation_of_state_are_refused(values, message):
    with pytest.raises(InvalidSettings, match=message):
        check_thermal_expansion(FreeEnergy(**values))
    check_thermal_expansion(FreeEnergy())


def test_different_temperatures_are_refused():
    mixed = [*model_samples([50.0])[:5], *model_samples([60.0])[5:]]
    with pytest.raises(InvalidSettings):
        expansion_of(mixed, settings_for())


def test_columns_and_curves():
    result = expansion_of(model_samples([20.0, 40.0]), settings_for())
    assert {len(column) for column in result.columns().values()} == {2}
    nearest = result.curve_volumes[result.curve_free_energies.argmin(axis=1)]
    assert np.allclose(nearest, result.volumes, atol=0.1)
    assert result.sampled_free_energies.shape == (2, len(RATIOS))


def test_strained_structure_keeps_fractional_coordinates():
    structure = Configurations.from_atoms(nitrogen())
    strained = strained_structure(structure, 1.05)
    assert strained.volumes[0] == pytest.approx(1.05 * structure.volumes[0])
    fractional = [s.positions[0] @ np.linalg.inv(s.cells[0]) for s in (structure, strained)]
    assert np.allclose(*fractional)
    with pytest.raises(InvalidSettings):
        strained_structure(structure, -0.1)


def test_alpha_nitrogen_expands_from_relaxation_to_equilibrium():
    """The whole way on an analytic potential; the static crystal under the thermal pressure has the same volume."""
    potential, temperatures = nitrogen_potential(), [0.0, 10.0, 20.0]
    settings = FreeEnergy(supercell_radius=9.0, temperatures_K=temperatures)
    reference = relax(Configurations.from_atoms(nitrogen()), potential, settings, mode="full")
    samples = []
    for ratio in (0.96, 1.0, 1.04, 1.08, 1.12):
        relaxed = relax(strained_structure(reference.structure, ratio), potential, settings)
        assert relaxed.structure.volumes[0] == pytest.approx(ratio * reference.structure.volumes[0], rel=1e-8)
        constants = calculate_force_constants(relaxed.structure, potential, settings)
        thermodynamics = harmonic_thermodynamics(constants, temperatures, (3, 3, 3))
        samples.append(SampledVolume.of(relaxed.structure, relaxed.space_group, thermodynamics))
    result = thermal_expansion(
        samples,
        settings,
        space_group=reference.space_group,
        reference_volume=float(reference.structure.volumes[0]),
    )
    assert result.bracketed.all()
    assert np.all(np.diff(result.volumes) > 0)
    assert result.volumes[0] > reference.structure.volumes[0]  # zero-point motion expands
    warm = relax(reference.structure, potential, settings, mode="full", pressure_GPa=result.thermal_pressures_GPa[1])
    assert warm.structure.volumes[0] == pytest.approx(result.volumes[1], rel=3e-3)
