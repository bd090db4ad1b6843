"""Harmonic thermodynamics against limits, closed forms and phonopy."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from cheap_potentials import (
    HarmonicCrystal,
    LennardJones,
    PairPotential,
    argon,
    nitrogen,
    nitrogen_potential,
    sodium_chloride,
)
from scipy import constants as constants_si

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.constants import EV_PER_THZ
from aiida_mbetrain.science.phonons import calculate_force_constants, irreducible_mesh
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.thermodynamics import HarmonicThermodynamics, harmonic_thermodynamics
from aiida_mbetrain.settings import FreeEnergy

GAS_CONSTANT = 8.314462618  # J/K/mol


@pytest.fixture(scope="module")
def nitrogen_constants():
    potential = nitrogen_potential()
    relaxed = relax(Configurations.from_atoms(nitrogen()), potential, FreeEnergy(relax_input_cell="full")).structure
    return calculate_force_constants(relaxed, potential, FreeEnergy(supercell_radius=9.0))


def harmonic_salt(**options):
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5, **options)
    structure = Configurations.from_atoms(sodium_chloride())
    return calculate_force_constants(structure, potential, FreeEnergy(supercell_radius=7.0))


class Morse(PairPotential):
    """Copper of Girifalco and Weizer, Phys. Rev. 114, 687 (1959)."""

    receptive_field = 6.0

    def pair(self, numbers_i, numbers_j, distances):
        decay = np.exp(-1.3588 * (distances - 2.866))
        return 0.3429 * (decay**2 - 2 * decay), 2 * 0.3429 * 1.3588 * (decay - decay**2)


@pytest.fixture(scope="module")
def flat_copper():
    """A supercell of 2x2x1 primitive cells keeps few of the 48 operations of fcc."""
    structure = Configurations.from_atoms(bulk("Cu", "fcc", a=3.6))
    settings = FreeEnergy(supercell_matrix=((2, 0, 0), (0, 2, 0), (0, 0, 1)))
    return calculate_force_constants(structure, Morse(), settings)


@pytest.mark.parametrize("mesh", [(6, 6, 6), (5, 4, 3), 20.0])
def test_mesh_is_reduced_only_by_operations_that_the_supercell_keeps(flat_copper, mesh):
    phonon = flat_copper.phonopy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        phonon.run_mesh(mesh, is_gamma_center=True, is_mesh_symmetry=False)
        phonon.run_thermal_properties(temperatures=[298.15], exclude_gamma_acoustic=True)
        result = harmonic_thermodynamics(flat_copper, [298.15], mesh)
    _, free, entropy, heat = phonon.thermal_properties.thermal_properties
    assert result.mesh == tuple(phonon.mesh.mesh_numbers)
    assert result.entropies[0] == pytest.approx(entropy[0], rel=1e-5)
    assert result.free_energies[0] == pytest.approx(free[0], abs=2e-4)
    assert result.heat_capacities[0] == pytest.approx(heat[0], rel=1e-5)
    if mesh == (6, 6, 6):  # what a reduction by all 48 operations is off by
        phonon.run_mesh(mesh, is_gamma_center=True)
        phonon.run_thermal_properties(temperatures=[298.15], exclude_gamma_acoustic=True)
        assert abs(phonon.thermal_properties.thermal_properties[2][0] - entropy[0]) > 0.5


def test_irreducible_points_stand_for_the_whole_mesh(flat_copper):
    kept = flat_copper.symmetry.rotations[flat_copper.kept_operations]
    assert 1 < len(kept) < 48
    points, weights = irreducible_mesh((6, 6, 6), kept)
    assert points[0].tolist() == [0, 0, 0]
    assert weights.sum() == 216
    assert len(points) < 216 / 2
    # Every operation and the inversion lead from a point to points of the same frequencies.
    phonon = flat_copper.phonopy()
    phonon.run_qpoints(points)
    expected = phonon.qpoints.frequencies
    for rotation in kept:
        phonon.run_qpoints(-points @ rotation)
        np.testing.assert_allclose(phonon.qpoints.frequencies, expected, atol=1e-4)


@pytest.mark.parametrize("mesh", [(4, 4, 4), (3, 3, 3), 30.0])
def test_equals_phonopy(nitrogen_constants, mesh):
    temperatures = [0.0, 5.0, 77.0, 300.0]
    ours = harmonic_thermodynamics(nitrogen_constants, temperatures, mesh)
    phonon = nitrogen_constants.phonopy()
    phonon.run_mesh(mesh, is_gamma_center=True)
    phonon.run_thermal_properties(temperatures=temperatures, exclude_gamma_acoustic=True)
    _, free, entropy, heat = phonon.thermal_properties.thermal_properties
    # phonopy's constants are older: they differ in the sixth digit.
    assert np.allclose(ours.free_energies, free, rtol=0, atol=2e-4)
    assert np.allclose(ours.entropies, entropy, rtol=1e-5)
    assert np.allclose(ours.heat_capacities, heat, rtol=1e-5)
    assert ours.mesh == tuple(phonon.mesh.mesh_numbers)


def test_free_energy_goes_to_the_zero_point_energy_at_low_temperature(nitrogen_constants):
    result = harmonic_thermodynamics(nitrogen_constants, [0.0, 0.1, 1.0], (4, 4, 4))
    assert result.free_energies[0] == result.zero_point_energy
    assert np.allclose(result.free_energies, result.zero_point_energy, rtol=1e-6)
    assert np.allclose(result.energies, result.zero_point_energy, rtol=1e-6)
    assert result.entropies[0] == result.heat_capacities[0] == 0
    assert result.entropies[1] < 1e-6


def test_heat_capacity_goes_to_dulong_and_petit_at_high_temperature():
    result = harmonic_thermodynamics(harmonic_salt(), [1e5], (6, 6, 6))
    # Every mode but the three translations at Γ contributes R.
    assert result.heat_capacities[0] == pytest.approx((6 - 3 / 6**3) * GAS_CONSTANT, rel=1e-5)


def test_entropy_and_heat_capacity_are_derivatives_of_the_free_energy(nitrogen_constants):
    step = 0.05
    result = harmonic_thermodynamics(nitrogen_constants, [60 - step, 60, 60 + step], (4, 4, 4))
    below, _, above = result.free_energies * 1000
    assert result.entropies[1] == pytest.approx(-(above - below) / (2 * step), rel=1e-6)
    slope = (result.energies[2] - result.energies[0]) * 1000 / (2 * step)
    assert result.heat_capacities[1] == pytest.approx(slope, rel=1e-6)
    assert np.allclose(result.energies - result.temperatures_K * result.entropies / 1000, result.free_energies)


def test_zero_point_energy_is_the_sum_over_the_supercells_modes():
    """On the mesh of the supercell itself: half the sum of h f over the eigenvalues of its Hessian."""
    structure = Configurations.from_atoms(sodium_chloride())
    potential = HarmonicCrystal(sodium_chloride(), cutoff=4.5)
    matrix = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    salt = calculate_force_constants(structure, potential, FreeEnergy(supercell_matrix=matrix))
    hessian = potential.hessian(salt.supercell.to_atoms()[0]).transpose(0, 2, 1, 3).reshape(48, 48)
    masses = np.repeat(salt.supercell.masses, 3)
    values = np.linalg.eigvalsh(hessian / np.sqrt(np.outer(masses, masses)))[3:]
    # sqrt(eV/Å²/amu) in rad/s, from SI constants alone.
    frequencies = np.sqrt(values * constants_si.e / constants_si.atomic_mass) * 1e10 / (2 * np.pi)
    expected = 0.5 * constants_si.h * frequencies.sum() * constants_si.N_A / 1000 / 8
    result = harmonic_thermodynamics(salt, [0.0], (2, 2, 2))
    assert result.zero_point_energy == pytest.approx(expected, rel=5e-7)


def test_single_oscillator_frequency_has_the_einstein_heat_capacity():
    """Two unequal atoms at Γ: one threefold optical mode, everything in closed form."""
    salt = harmonic_salt()
    result = harmonic_thermodynamics(salt, [200.0], "gamma")
    frequency = salt.min_frequency_gamma_THz
    x = frequency * EV_PER_THZ / (constants_si.k / constants_si.e * 200.0)
    einstein = 3 * GAS_CONSTANT * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
    assert result.heat_capacities[0] == pytest.approx(einstein, rel=1e-6)
    assert result.n_left_out == 0
    assert result.n_modes == 6


def test_imaginary_modes_are_left_out_and_counted():
    result = harmonic_thermodynamics(harmonic_salt(k=-1.0), [300.0], (3, 3, 3))
    assert result.n_imaginary == result.n_modes - 3
    assert result.n_left_out == result.n_modes - 3
    assert result.n_left_out_optical == 3 * 27
    assert not result.acoustic_freqs_real
    assert not result.optical_freqs_real
    assert result.free_energies[0] == 0


def test_stable_crystal_reports_real_frequencies(nitrogen_constants):
    result = harmonic_thermodynamics(nitrogen_constants, [300.0], (3, 3, 3))
    assert result.n_imaginary == 0
    assert result.n_left_out == 0
    assert result.acoustic_freqs_real
    assert result.optical_freqs_real
    assert 0 < result.acoustic_freq_min_THz < result.optical_freq_min_THz


def test_threshold_decides_what_counts_as_imaginary():
    constants = harmonic_salt(k=-1.0)
    low = harmonic_thermodynamics(constants, [300.0], (2, 2, 2), imaginary_mode_threshold_THz=-1e3)
    assert low.n_imaginary == 0
    assert low.n_left_out == low.n_modes - 3
    assert low.optical_freqs_real


def with_optical_modes_at(constants, frequency_THz):
    """The salt with its threefold optical mode at Γ moved to another frequency, negative for an imaginary one."""
    masses, numbers = constants.supercell.masses, constants.supercell.numbers
    m_1, m_2 = (masses[numbers == number][0] for number in np.unique(numbers))
    # Rigid sublattices against each other; in mass-weighted coordinates the centre of mass rests for e ~ sqrt(m_other).
    eigenvector = np.where(numbers == numbers.min(), np.sqrt(m_2), -np.sqrt(m_1))
    force = np.sqrt(masses) * eigenvector / np.linalg.norm(eigenvector)
    # eV/Å²/amu of a frequency, from SI constants alone.
    scale = (2e12 * np.pi) ** 2 * constants_si.atomic_mass / constants_si.e * 1e-20
    old = constants.min_frequency_gamma_THz
    change = scale * (np.sign(frequency_THz) * frequency_THz**2 - old**2)
    moved = constants.force_constants + change * np.einsum("i,j,ab->ijab", force, force, np.eye(3))
    return replace(constants, force_constants=moved)


def test_mode_between_the_threshold_and_zero_is_counted_as_left_out():
    salt = harmonic_salt()
    real, soft = (harmonic_thermodynamics(with_optical_modes_at(salt, at), [298.15], "gamma") for at in (0.30, -0.05))
    assert real.optical_freq_min_THz == pytest.approx(0.30, abs=1e-4)
    assert soft.optical_freq_min_THz == pytest.approx(-0.05, abs=1e-3)  # a small difference of squares
    assert (real.n_left_out, real.n_left_out_optical) == (0, 0)
    assert soft.n_imaginary == 0
    assert soft.optical_freqs_real
    assert (soft.n_left_out, soft.n_left_out_optical) == (3, 3)
    # They take all their free energy with them.
    assert soft.free_energies[0] == 0
    assert real.free_energies[0] < -20


def test_unstable_optical_mode_at_gamma_is_not_taken_for_an_acoustic_one():
    result = harmonic_thermodynamics(harmonic_salt(k=-1.0), [300.0], "gamma")
    assert result.optical_freq_min_THz < -1
    assert result.acoustic_freq_min_THz == 0.0
    assert result.acoustic_freqs_real


def test_single_atom_has_no_optical_bands():
    constants = calculate_force_constants(
        Configurations.from_atoms(argon(5.27)), LennardJones(), FreeEnergy(supercell_radius=9.0)
    )
    result = harmonic_thermodynamics(constants, [50.0], (4, 4, 4))
    assert np.isnan(result.optical_freq_min_THz)
    assert result.optical_freqs_real
    assert result.acoustic_freq_min_THz > 0.1


def test_columns_lead_back(nitrogen_constants):
    result = harmonic_thermodynamics(nitrogen_constants, [10.0, 20.0], (2, 2, 2))
    again = HarmonicThermodynamics.from_columns(result.columns())
    for name, value in vars(result).items():
        np.testing.assert_array_equal(getattr(again, name), value, err_msg=name)


def test_columns_have_one_row_per_temperature(nitrogen_constants):
    columns = harmonic_thermodynamics(nitrogen_constants, [10.0, 20.0], (2, 2, 2)).columns()
    assert {len(column) for column in columns.values()} == {2}
    assert columns["q_mesh"].tolist() == [[2, 2, 2], [2, 2, 2]]
    assert all(column.dtype.kind in "fib" for column in columns.values())
