"""Masses of isotopes decide vibrations, dynamics and what is stored."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from cheap_potentials import LennardJones, nitrogen, nitrogen_potential
from md_potentials import SpringCrystal, spring_structure
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout.objects import (
    from_molecular_crystal,
    from_structure,
    to_molecular_crystal,
    to_structure,
)
from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import SpaceGroup
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.science.phonons import band_structure, calculate_force_constants
from aiida_mbetrain.science.relaxation.isolated_molecule import symmetry_number, vibrations
from aiida_mbetrain.science.thermodynamics import harmonic_thermodynamics, molecules_per_cell
from aiida_mbetrain.settings import ClassicalMD, FiniteSubsystemFilter, FreeEnergy

SETTINGS = FreeEnergy(
    supercell_matrix=np.diag([2, 2, 2]),
    symmetrize_unit_cell=False,
    fourier_interpolation_mesh=[3, 3, 3],
    temperatures_K=[20.0, 100.0],
)


def crystal(masses=None) -> Configurations:
    return Configurations.from_atoms(bulk("Ar", "fcc", a=5.30, cubic=True)).with_(isotope_masses=masses)


def vibrating(masses=None):
    constants = calculate_force_constants(crystal(masses), LennardJones(), SETTINGS)
    return constants, harmonic_thermodynamics(constants, SETTINGS.temperatures_K, (3, 3, 3))


def test_masses_close_to_the_standard_weight_are_the_natural_element():
    assert crystal([39.95] * 4).isotope_masses is None
    assert crystal([39.95, 35.97, 39.95, 39.95]).masses.tolist() == [39.948, 35.97, 39.948, 39.948]


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan, np.inf])
def test_impossible_mass_is_refused(mass):
    with pytest.raises(InvalidStructure, match="masses"):
        crystal([mass, 39.948, 39.948, 39.948])


def test_frequencies_scale_with_the_root_of_the_mass():
    usual, heavy = vibrating()[0], vibrating(np.full(4, 4 * 39.948))[0]
    assert heavy.primitive.n_atoms == usual.primitive.n_atoms == 1
    light = np.concatenate(band_structure(usual).frequencies_THz)
    np.testing.assert_allclose(np.concatenate(band_structure(heavy).frequencies_THz), light / 2, atol=1e-6)


def test_different_isotopes_are_different_atoms_to_the_symmetry_of_vibrations():
    """Two isotopes in fcc planes: a primitive cell of two atoms, whose modes are those of all four atoms."""
    masses = np.array([39.948, 39.948, 20.0, 20.0])
    constants, thermodynamics = vibrating(masses)
    assert sorted(constants.primitive.masses) == [20.0, 39.948]
    assert SpaceGroup.of(crystal(masses)).number != SpaceGroup.of(crystal()).number == 225
    phi = constants.force_constants.transpose(0, 2, 1, 3).reshape(2 * [3 * constants.supercell.n_atoms])
    root = np.sqrt(np.repeat(constants.supercell.masses, 3))
    brute = np.sort(np.linalg.eigvalsh(phi / np.outer(root, root)))
    phonon = constants.phonopy()
    n_cells = round(constants.supercell.n_atoms / 2)
    points = get_commensurate_points(np.asarray(constants.supercell_matrix))
    assert len(points) == n_cells
    phonon.run_qpoints(points)
    found = np.sort((np.asarray(phonon.qpoints.frequencies) / phonon.unit_conversion_factor).ravel())
    np.testing.assert_allclose(found**2 * np.sign(found), brute, atol=1e-6)
    full = constants.phonopy()
    full.run_mesh([3, 3, 3], is_mesh_symmetry=False, is_gamma_center=True)
    quanta = np.asarray(full.mesh.frequencies) * 1e12 * units._hplanck * units.J
    assert thermodynamics.zero_point_energy == pytest.approx(quanta.sum() / 27 / 2 / (units.kJ / units.mol), rel=1e-6)


def test_heavy_isotope_lowers_the_zero_point_energy_by_the_root_of_the_mass():
    usual, heavy = vibrating()[1], vibrating(np.full(4, 4 * 39.948))[1]
    assert heavy.zero_point_energy == pytest.approx(usual.zero_point_energy / 2, rel=1e-6)


def test_force_constants_do_not_depend_on_masses():
    usual, heavy = vibrating()[0], vibrating(np.full(4, 80.0))[0]
    np.testing.assert_allclose(heavy.force_constants, usual.force_constants, atol=1e-9)


def test_kinetic_temperature_counts_the_masses_of_isotopes():
    structure = spring_structure()
    masses = np.where(np.arange(8) % 2, 39.948, 400.0)
    structure = structure.with_(isotope_masses=masses)
    settings = ClassicalMD(
        ensemble="NVT", nvt_algo="csvr", time_step_fs=2.0, time_total_fs=400.0, sampling_interval_fs=20.0,
        time_equilibration_fs=0.0, thermostat_time_fs=20.0,
    )  # fmt: skip
    run = run_molecular_dynamics(structure, SpringCrystal(structure), settings, temperature_K=300.0, pressure_GPa=None)
    np.testing.assert_array_equal(run.frames.masses, masses)
    momenta2 = masses[:, None] * (run.frames.velocities / units.fs) ** 2
    temperatures = momenta2.sum(axis=(1, 2)) / ((3 * 8 - 3) * units.kB)
    series = run.series
    at = np.isin(series["time_fs"], run.frames.origin["time_fs"])
    np.testing.assert_allclose(temperatures, np.asarray(series["temperature_K"])[at], rtol=1e-6)
    assert 200 < temperatures.mean() < 400


def deuterated_nitrogen() -> Configurations:
    atoms = nitrogen()
    return Configurations.from_atoms(atoms).with_(isotope_masses=np.where(np.arange(len(atoms)) == 0, 15.0, 14.007))


def test_masses_are_kept_by_molecules_and_clusters():
    structure = deuterated_nitrogen()
    molecules = detect_molecules(structure)
    again = MolecularCrystal.from_arrays(molecules.to_arrays())
    np.testing.assert_array_equal(again.reference.masses, structure.masses)
    atoms = molecules.atoms_of(0)
    center = structure.masses[atoms] @ molecules.positions[atoms] / structure.masses[atoms].sum()
    np.testing.assert_allclose(molecules.centers_of_mass[0], center)
    [pair] = extract_clusters(molecules, structure, FiniteSubsystemFilter(n_molecules=[4]))
    assert sorted(pair.configurations.masses)[-1] == 15.0


def test_file_contains_the_masses():
    structure = deuterated_nitrogen()
    group = from_structure(structure)
    np.testing.assert_array_equal(group.array(names.MASSES), structure.masses)
    np.testing.assert_array_equal(to_structure(group).masses, structure.masses)
    molecules = detect_molecules(structure)
    found, _ = to_molecular_crystal(from_molecular_crystal(molecules, structure))
    np.testing.assert_array_equal(found.reference.masses, structure.masses)


def test_gas_of_a_heavy_isotopologue():
    light = Configurations(np.array([7, 7]), np.array([[[0, 0, 0], [0, 0, 1.0977]]]))
    heavy = light.with_(isotope_masses=np.full(2, 4 * 14.007))
    [slow], [fast] = (vibrations(part, nitrogen_potential(), displacement=1e-3) for part in (heavy, light))
    assert slow == pytest.approx(fast / 2)
    mixed = light.with_(isotope_masses=np.array([14.007, 15.0]))
    assert symmetry_number(light, tolerance=1e-2) == symmetry_number(heavy, tolerance=1e-2) == 2
    assert symmetry_number(mixed, tolerance=1e-2) == 1


def test_molecule_of_other_isotopes_is_not_that_of_the_crystal():
    molecule = Configurations(np.array([7, 7]), np.array([[[0, 0, 0], [0, 0, 1.0977]]]))
    usual = Configurations.from_atoms(nitrogen())
    assert molecules_per_cell(usual, molecule) == usual.n_atoms // 2
    with pytest.raises(InvalidStructure, match="isotopes"):
        molecules_per_cell(usual, molecule.with_(isotope_masses=np.full(2, 15.0)))


def test_frames_of_other_isotopes_are_not_concatenated():
    with pytest.raises(InvalidStructure, match="same atoms"):
        Configurations.concatenate([crystal(), crystal(np.full(4, 36.0))])
