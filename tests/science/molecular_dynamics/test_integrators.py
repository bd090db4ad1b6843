"""The integrators' own properties: degrees of freedom, measures, conserved quantities, restorable state."""

import numpy as np
import pytest
from ase import units
from md_potentials import SpringCrystal, spring_structure
from scipy import stats

from aiida_mbetrain.science.molecular_dynamics.cached_calculator import SinglePass
from aiida_mbetrain.science.molecular_dynamics.integrators import (
    build_integrator,
    conserved_energy,
    integrator_state,
    maxwell_boltzmann_momenta,
    restore_integrator,
)
from aiida_mbetrain.settings import ClassicalMD

NVT = ["csvr", "nose_hoover_chain"]
NPT = ["mtk_isotropic", "mtk_full"]
TEMPERATURE = 800.0
KT = units.kB * TEMPERATURE


def md_settings(algorithm, **changes):
    ensemble, field = ("NVT", "nvt_algo") if algorithm in NVT else ("NPT", "npt_algo")
    values = {
        "ensemble": ensemble, field: algorithm, "time_step_fs": 5.0, "time_total_fs": 40000.0,
        "sampling_interval_fs": 100.0, "time_equilibration_fs": 1000.0,
        "thermostat_time_fs": 30.0, "barostat_time_fs": 100.0,
    }  # fmt: skip
    return ClassicalMD(**(values | changes))


def integrator_for(algorithm, *, seed=1, pressure_GPa=0.0, **changes):
    structure = spring_structure()
    atoms = structure.to_atoms()[0]
    rng = np.random.default_rng(seed)
    atoms.set_momenta(maxwell_boltzmann_momenta(structure.masses, TEMPERATURE, rng))
    calculator = SpringCrystal(structure).calculator()
    atoms.calc = SinglePass(calculator, structure.masses, lambda energy, forces: None)
    settings = md_settings(algorithm, **changes)
    return build_integrator(atoms, settings, temperature_K=TEMPERATURE, pressure_GPa=pressure_GPa, rng=rng)


def test_initial_kinetic_energy_follows_the_gamma_distribution_of_3N_minus_3():
    masses = np.array([1.0, 12.0, 35.0])
    rng = np.random.default_rng(3)
    momenta = np.array([maxwell_boltzmann_momenta(masses, TEMPERATURE, rng) for _ in range(4000)])
    kinetic = (momenta**2 / (2 * masses[:, None])).sum(axis=(1, 2))
    assert stats.kstest(kinetic, stats.gamma(a=(3 * 3 - 3) / 2, scale=KT).cdf).pvalue > 0.01
    np.testing.assert_allclose(momenta.sum(axis=1), 0.0, atol=1e-12)


def test_initial_momenta_are_equipartitioned_per_atom_after_the_centre_of_mass_is_stopped():
    masses = np.array([1.0, 12.0, 35.0])
    rng = np.random.default_rng(5)
    momenta = np.array([maxwell_boltzmann_momenta(masses, TEMPERATURE, rng) for _ in range(4000)])
    expected = masses * (1 - masses / masses.sum()) * KT
    measured = (momenta**2).mean(axis=(0, 2))
    assert np.all(np.abs(measured / expected - 1) < 3 * np.sqrt(2 / 12000))


@pytest.mark.parametrize("algorithm", NVT + NPT)
def test_conserved_quantity_scales_with_the_square_of_the_time_step(algorithm):
    spread = []
    for time_step_fs in (4.0, 2.0):
        integrator = integrator_for(
            algorithm, time_step_fs=time_step_fs, thermostat_time_fs=200.0, barostat_time_fs=400.0
        )
        values = []
        for _ in range(round(2400 / time_step_fs)):
            integrator.step()
            values.append(conserved_energy(integrator))
        spread.append(np.std(values))
    assert 3.0 < spread[0] / spread[1] < 5.3
    assert spread[0] < 0.02 * KT * 21


@pytest.mark.parametrize("algorithm", NVT + NPT)
def test_center_of_mass_stays_at_rest(algorithm):
    integrator = integrator_for(algorithm)
    for _ in range(200):
        integrator.step()
    momenta = integrator.atoms.get_momenta()
    assert np.abs(momenta.sum(axis=0)).max() < 1e-11 * np.abs(momenta).max()


@pytest.mark.parametrize("algorithm", NVT + NPT)
def test_restored_state_continues_as_if_never_interrupted(algorithm):
    whole, donor = integrator_for(algorithm), integrator_for(algorithm)
    for _ in range(30):
        whole.step()
        donor.step()
    heir = integrator_for(algorithm, seed=99)
    heir.atoms.set_cell(donor.atoms.cell)
    heir.atoms.set_positions(donor.atoms.get_positions())
    heir.atoms.set_momenta(donor.atoms.get_momenta())
    heir = build_integrator(
        heir.atoms, md_settings(algorithm), temperature_K=TEMPERATURE, pressure_GPa=0.0, rng=np.random.default_rng(0)
    )
    restore_integrator(heir, integrator_state(donor))
    if algorithm == "csvr":
        heir.rng.bit_generator.state = donor.rng.bit_generator.state
    for _ in range(30):
        whole.step()
        heir.step()
    np.testing.assert_array_equal(heir.atoms.positions, whole.atoms.positions)
    np.testing.assert_array_equal(heir.atoms.get_momenta(), whole.atoms.get_momenta())
    np.testing.assert_array_equal(heir.atoms.cell.array, whole.atoms.cell.array)
    assert conserved_energy(heir) == conserved_energy(whole)


def test_state_is_a_copy_that_later_steps_do_not_change():
    integrator = integrator_for("mtk_full")
    integrator.step()
    state = integrator_state(integrator)
    before = {name: value.copy() for name, value in state.items()}
    integrator.step()
    for name, value in before.items():
        np.testing.assert_array_equal(state[name], value)


@pytest.fixture(scope="module")
def npt_averages():
    """For each barostat: samples of <sum p_g^2>/(W kT) (flexible cell) and of (P - p) V / kT over 20 ps at 3 GPa."""
    return {algorithm: _npt_samples(algorithm, 3.0) for algorithm in NPT}


def _npt_samples(algorithm, pressure_GPa):
    integrator = integrator_for(algorithm, pressure_GPa=pressure_GPa)
    cell, virial = [], []
    for step in range(4000):
        integrator.step()
        if step < 400:
            continue
        stress = integrator.atoms.get_stress(include_ideal_gas=True)
        virial.append((-stress[:3].sum() / 3 - pressure_GPa * units.GPa) * integrator.atoms.get_volume() / KT)
        if algorithm == "mtk_full" and step % 20 == 0:
            np.testing.assert_array_equal(integrator._p_g, integrator._p_g.T)
            cell.append((integrator._p_g**2).sum() / integrator._barostat.W / KT)
    return np.array(cell), np.array(virial)


def test_flexible_cell_momenta_have_the_kinetic_energy_of_six_degrees_of_freedom(npt_averages):
    """Equipartition: <sum p_g^2 / W> = 6 kT for a symmetric matrix of cell momenta; ASE's own target gives 9."""
    kinetic, _ = npt_averages["mtk_full"]
    assert abs(kinetic.mean() - 6.0) < 3 * np.sqrt(2 * 6 / len(kinetic))


@pytest.mark.parametrize("algorithm", NPT)
def test_pressure_virial_identity(algorithm, npt_averages):
    """<(P - p) V> = -kT where the invariant measure is dV: the exact finite-size form of <P> = p.

    It is the average of the barostat's equation of motion, so that its error is far below the fluctuations.
    """
    _, virial = npt_averages[algorithm]
    assert abs(virial.mean() + 1.0) < 0.15


@pytest.mark.parametrize("algorithm", NPT)
def test_thermostat_and_barostat_count_three_degrees_of_freedom_less(algorithm):
    """What the corrections set must be what ASE's step reads: a renamed attribute must not pass unnoticed."""
    integrator = integrator_for(algorithm)
    n = len(integrator.atoms)
    names = {"_thermostat", "_barostat", "_num_atoms_global"}
    assert names <= set(vars(integrator))
    assert 3 * integrator._thermostat._num_atoms_global == 3 * n - 3
    assert integrator._barostat._num_atoms_global == integrator._num_atoms_global == n - 1
