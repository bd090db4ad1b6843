"""Equations of state recover the parameters of synthetic data, and agree with phonopy's formulas."""

import numpy as np
import pytest
from ase import units
from phonopy.qha.eos import get_eos

from aiida_mbetrain.errors import NoEquilibriumVolume, NotEnoughVolumes
from aiida_mbetrain.science.thermodynamics.equations_of_state import EquationOfState, fit_equation_of_state

FORMS = ["polynomial", "birch_murnaghan", "vinet"]
CURVES = [
    {"energy_0": -12.3, "volume_0": 145.0, "bulk_modulus": 12.0 * units.GPa, "bulk_modulus_prime": 7.5},
    {"energy_0": 3e4, "volume_0": 620.0, "bulk_modulus": 4.0 * units.GPa, "bulk_modulus_prime": 4.2},
]
RATIOS = np.linspace(0.94, 1.08, 9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("values", CURVES)
def test_fit_recovers_the_parameters_of_synthetic_data(form, values):
    truth = EquationOfState(form, **values)
    volumes = RATIOS * truth.volume_0
    fit = fit_equation_of_state(volumes, truth.energy(volumes), form=form)
    assert fit.volume_0 == pytest.approx(truth.volume_0, rel=1e-7)
    assert fit.energy_0 == pytest.approx(truth.energy_0, abs=1e-8)
    assert fit.bulk_modulus_GPa == pytest.approx(truth.bulk_modulus / units.GPa, rel=1e-5)
    assert fit.bulk_modulus_prime == pytest.approx(truth.bulk_modulus_prime, rel=1e-4)
    assert fit.rmse < 1e-9


@pytest.mark.parametrize("form", ["birch_murnaghan", "vinet"])
def test_energy_is_phonopys(form):
    values = CURVES[0]
    volumes = RATIOS * values["volume_0"]
    parameters = [values[name] for name in ("energy_0", "bulk_modulus", "bulk_modulus_prime", "volume_0")]
    assert np.allclose(EquationOfState(form, **values).energy(volumes), get_eos(form)(volumes, parameters), atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_what_their_names_say(form):
    """Pressure is -dE/dV, B = -V dp/dV and B' = dB/dp, by finite differences of the energy."""
    curve = EquationOfState(form, **CURVES[0])
    h = 0.05
    v = np.array([120.0, 145.0, 160.0])
    slope = (curve.energy(v + h) - curve.energy(v - h)) / (2 * h)
    assert np.allclose(curve.pressure(v), -slope, atol=1e-7)
    assert curve.pressure(curve.volume_0) == pytest.approx(0, abs=1e-14)

    def modulus(volume):
        return -volume * (curve.pressure(volume + h) - curve.pressure(volume - h)) / (2 * h)

    v0 = curve.volume_0
    assert modulus(v0) == pytest.approx(curve.bulk_modulus, rel=1e-5)
    prime = (modulus(v0 + h) - modulus(v0 - h)) / (curve.pressure(v0 + h) - curve.pressure(v0 - h))
    assert prime == pytest.approx(curve.bulk_modulus_prime, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_four_volumes_are_enough_and_three_are_not(form):
    truth = EquationOfState(form, **CURVES[0])
    volumes = np.array([0.95, 0.99, 1.03, 1.06]) * truth.volume_0
    assert fit_equation_of_state(volumes, truth.energy(volumes), form=form).volume_0 == pytest.approx(145, rel=1e-6)
    with pytest.raises(NotEnoughVolumes):
        fit_equation_of_state(volumes[[0, 1, 2, 2]], truth.energy(volumes[[0, 1, 2, 2]]), form=form)


@pytest.mark.parametrize("form", FORMS)
def test_curve_without_a_minimum_is_an_error(form):
    volumes = np.linspace(100, 120, 8)
    with pytest.raises(NoEquilibriumVolume):
        fit_equation_of_state(volumes, -0.01 * volumes - 1e-5 * (volumes - 110) ** 3, form=form)


def test_deviation_of_noisy_points_is_reported():
    truth = EquationOfState("vinet", **CURVES[0])
    volumes = np.linspace(0.94, 1.08, 200) * truth.volume_0
    noise = 1e-3 * np.random.default_rng(0).normal(size=200)
    fit = fit_equation_of_state(volumes, truth.energy(volumes) + noise, form="vinet")
    assert fit.rmse == pytest.approx(1e-3, rel=0.1)
    assert fit.volume_0 == pytest.approx(145, rel=1e-3)
