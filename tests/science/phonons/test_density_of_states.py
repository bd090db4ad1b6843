"""Density of states against its sum rules."""

import numpy as np
import pytest
from cheap_potentials import LennardJones, argon

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.constants import EV_PER_THZ, KJ_PER_MOL
from aiida_mbetrain.science.phonons import calculate_force_constants, density_of_states
from aiida_mbetrain.science.thermodynamics import harmonic_thermodynamics
from aiida_mbetrain.settings import FreeEnergy


@pytest.fixture(scope="module")
def constants():
    settings = FreeEnergy(supercell_radius=9.0)
    return calculate_force_constants(Configurations.from_atoms(argon()), LennardJones(), settings)


def test_integral_is_the_number_of_modes(constants):
    found = density_of_states(constants, (12, 12, 12))
    assert np.trapezoid(found.densities, found.frequencies_THz) == pytest.approx(3.0, rel=1e-3)


def test_first_moment_is_the_zero_point_energy(constants):
    found = density_of_states(constants, (16, 16, 16))
    half = 0.5 * EV_PER_THZ / KJ_PER_MOL
    moment = half * np.trapezoid(found.densities * found.frequencies_THz, found.frequencies_THz)
    exact = harmonic_thermodynamics(constants, [0.0], (16, 16, 16)).zero_point_energy
    assert moment == pytest.approx(exact, rel=2e-3)


def test_sound_waves_begin_with_the_square_of_the_frequency(constants):
    found = density_of_states(constants, (30, 30, 30))
    low = (found.frequencies_THz > 0.2) & (found.frequencies_THz < 0.5)
    slope = np.polyfit(np.log(found.frequencies_THz[low]), np.log(found.densities[low]), 1)[0]
    assert slope == pytest.approx(2.0, abs=0.25)


def test_lost_operations_do_not_reduce_the_mesh():
    structure = Configurations.from_atoms(argon(5.27))
    settings = FreeEnergy(supercell_matrix=((3, 0, 0), (0, 3, 0), (0, 0, 1)))
    flat = calculate_force_constants(structure, LennardJones(), settings)
    assert not flat.kept_operations.all()
    found = density_of_states(flat, (6, 6, 6), smearing_THz=0.05, n_points=101)
    phonon = flat.phonopy()
    phonon.run_mesh((6, 6, 6), is_gamma_center=True, is_mesh_symmetry=False)
    gaussians = np.exp(-(((found.frequencies_THz[:, None] - phonon.mesh.frequencies.ravel()) / 0.05) ** 2) / 2)
    expected = gaussians.sum(axis=1) / (0.05 * np.sqrt(2 * np.pi)) / 216
    np.testing.assert_allclose(found.densities, expected, rtol=1e-6, atol=1e-9)
