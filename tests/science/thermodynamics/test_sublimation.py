"""Isolated molecules and sublimation against analytic results."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from cheap_potentials import LennardJones, nitrogen, nitrogen_potential

from aiida_mbetrain.errors import InvalidStructure, RelaxationNotConverged
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.potentials import AsePotential
from aiida_mbetrain.science.relaxation import IsolatedMolecule, isolated_molecule
from aiida_mbetrain.science.relaxation.isolated_molecule import geometry, symmetry_number, vibrations
from aiida_mbetrain.science.thermodynamics import HarmonicThermodynamics, molecule_of, molecules_per_cell, sublimation
from aiida_mbetrain.science.thermodynamics.sublimation import ideal_gas
from aiida_mbetrain.settings import FreeEnergy

KJ, J = units.kJ / units.mol, units.J / units.mol


def one(atoms: Atoms) -> Configurations:
    return Configurations.from_atoms(atoms)


def turned(atoms: Atoms) -> Atoms:
    atoms.rotate(37.0, (1, 2, 3))
    atoms.translate((3.0, -1.0, 2.0))
    return atoms


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("H2O", 2, "nonlinear"),
        ("NH3", 3, "nonlinear"),
        ("CH4", 12, "nonlinear"),
        ("C6H6", 12, "nonlinear"),
        ("C2H6", 6, "nonlinear"),
        ("CH3CH2OH", 1, "nonlinear"),
        ("N2", 2, "linear"),
        ("CO", 1, "linear"),
        ("CO2", 2, "linear"),
        ("C2H2", 2, "linear"),
    ],
)
def test_symmetry_number_of_known_point_groups(name, number, kind):
    structure = one(turned(molecule(name)))
    assert geometry(structure) == kind
    assert symmetry_number(structure, tolerance=1e-2) == number


def test_mirror_images_do_not_count_as_rotations():
    chiral = Atoms("CHFClBr", [(0, 0, 0), (0.6, 0.6, 0.6), (-0.7, -0.7, 0.7), (-1, 1, -1), (1.1, -1.1, -1.1)])
    assert symmetry_number(one(chiral), tolerance=1e-2) == 1


def test_diatomic_vibrates_with_its_reduced_mass():
    potential, r0 = nitrogen_potential(), 1.0977
    relaxed = isolated_molecule(one(Atoms("N2", [(0, 0, 0), (0.3, 0, 1.2)])), potential, FreeEnergy())
    assert relaxed.geometry == "linear"
    assert relaxed.symmetry_number == 2
    assert relaxed.max_force < 1e-4
    [frequency] = relaxed.frequencies_THz
    h = 1e-4
    bond = np.linalg.norm(np.diff(relaxed.structure.positions[0], axis=0))
    assert bond == pytest.approx(r0, abs=0.05)

    def energy(d):
        return potential.frame(np.array([7, 7]), np.array([[0, 0, 0], [0, 0, d]]), None)[0]

    k = (energy(bond + h) - 2 * energy(bond) + energy(bond - h)) / h**2 * units._e * 1e20
    mass = relaxed.structure.masses[0] / 2 * units._amu
    assert frequency == pytest.approx(np.sqrt(k / mass) / (2 * np.pi) * 1e-12, rel=1e-4)


def test_cluster_of_argon_has_the_textbook_modes():
    """Ar3 with pair constant k at the minimum: breathing at sqrt(3 k / m), a degenerate pair at sqrt(3 k / 2 m)."""
    potential = LennardJones()
    trimer = Atoms("Ar3", [(0, 0, 0), (3.8, 0, 0), (1.9, 3.3, 0)])
    settings = FreeEnergy(max_force_on_atom=1e-8, supercell_displacement=1e-3)
    result = isolated_molecule(one(trimer), potential, settings)
    assert result.symmetry_number == 6
    k = 57.1464 * 0.0104 / 3.4**2  # 36 * 2^(2/3) epsilon / sigma²
    breathing = np.sqrt(3 * k / result.structure.masses[0] * units._e * 1e20 / units._amu) / (2e12 * np.pi)
    assert np.allclose(result.frequencies_THz, breathing * np.array([np.sqrt(0.5), np.sqrt(0.5), 1.0]), rtol=1e-4)


def test_saddle_point_has_an_imaginary_frequency():
    straight = one(Atoms("Ar3", [(0, 0, -3.81635), (0, 0, 0), (0, 0, 3.81635)]))
    assert geometry(straight) == "linear"
    frequencies = vibrations(straight, LennardJones(), displacement=1e-3)
    assert len(frequencies) == 4
    assert (frequencies[:2] < -1e-3).all()


def test_atom_has_neither_vibrations_nor_rotations():
    result = isolated_molecule(one(Atoms("Ar")), LennardJones(), FreeEnergy())
    assert (result.geometry, result.symmetry_number, len(result.frequencies_THz)) == ("monatomic", 1, 0)


def test_symmetry_number_of_the_settings_wins():
    settings = FreeEnergy(molecule_symmetry_number=5)
    assert isolated_molecule(one(Atoms("Ar")), LennardJones(), settings).symmetry_number == 5


def test_periodic_molecule_is_refused():
    with pytest.raises(InvalidStructure, match="pbc"):
        isolated_molecule(one(nitrogen()), nitrogen_potential(), FreeEnergy())


def test_unconverged_molecule_is_an_error():
    settings = FreeEnergy(max_n_steps=1, max_force_on_atom=1e-9)
    with pytest.raises(RelaxationNotConverged, match="isolated molecule"):
        isolated_molecule(one(Atoms("Ar2", [(0, 0, 0), (0, 0, 4.2)])), LennardJones(), settings)


def argon_atom(energy: float = 0.0) -> IsolatedMolecule:
    structure = one(Atoms("Ar")).with_(energies=np.array([energy]), forces=np.zeros((1, 1, 3)))
    return IsolatedMolecule(structure, np.zeros(0), "monatomic", 1, 0, "PreconLBFGS", 0.0)


def nitrogen_molecule(frequency_THz: float) -> IsolatedMolecule:
    structure = one(Atoms("N2", [(0, 0, 0), (0, 0, 1.0977)])).with_(energies=np.array([-1.0]))
    return IsolatedMolecule(structure, np.array([frequency_THz]), "linear", 2, 0, "PreconLBFGS", 0.0)


def test_atomic_gas_obeys_sackur_and_tetrode():
    temperature, mass = 298.15, argon_atom().structure.masses[0] * units._amu
    gas = ideal_gas(argon_atom(), [temperature])
    wavelength = units._hplanck / np.sqrt(2 * np.pi * mass * units._k * temperature)
    entropy = np.log(units._k * temperature / 1e5 / wavelength**3) + 2.5
    assert gas.entropies[0] == pytest.approx(entropy * units.kB / J, rel=1e-6)
    assert gas.entropies[0] == pytest.approx(154.85, abs=0.05)  # CODATA key value 154.846
    assert gas.enthalpies[0] == pytest.approx(2.5 * units.kB * temperature / KJ)


def test_entropy_of_nitrogen_equals_the_measured_one():
    gas = ideal_gas(nitrogen_molecule(70.7), [298.15])
    assert gas.entropies[0] == pytest.approx(191.61, abs=0.1)  # CODATA key value
    heat = gas.enthalpies[0] - gas.static_energy - gas.zero_point_energy
    assert heat == pytest.approx(8.670, abs=0.01)  # H(298.15 K) - H(0), likewise


def test_at_zero_kelvin_only_static_and_zero_point_energy_are_left():
    gas = ideal_gas(nitrogen_molecule(70.7), [0.0, 1e-3])
    assert gas.enthalpies[0] == gas.free_energies[0] == pytest.approx(gas.static_energy + gas.zero_point_energy)
    assert gas.enthalpies[1] == pytest.approx(gas.enthalpies[0], abs=1e-4)


def crystal_of(temperatures, *, energies, free_energies, entropies) -> HarmonicThermodynamics:
    def full(value):
        return np.full(len(temperatures), value)

    return HarmonicThermodynamics(
        np.array(temperatures), full(free_energies), full(energies), 1.0, full(entropies), full(0.0), 4, (1, 1, 1), 12,
        0, 0, 0, 0.5, 1.0, True, True,
    )  # fmt: skip


def test_sublimation_is_gas_minus_crystal_per_molecule():
    crystal = crystal_of([100.0], energies=8.0, free_energies=4.0, entropies=40.0)
    result = sublimation(crystal, static_energy=-0.8, z=4, molecule=argon_atom(0.1))
    gas = ideal_gas(argon_atom(0.1), [100.0])
    assert result.lattice_energy == pytest.approx((-0.2 - 0.1) / KJ)
    thermal = units.kB * 100.0 / KJ
    assert result.enthalpies[0] == pytest.approx(0.3 / KJ + 2.5 * thermal - 8.0 / 4)
    assert result.energies[0] == pytest.approx(result.enthalpies[0] - thermal)
    assert result.free_energies[0] == pytest.approx(gas.free_energies[0] - (-0.2 / KJ + 4.0 / 4))
    assert result.entropies[0] == pytest.approx(gas.entropies[0] - 40.0 / 4)
    assert {len(column) for column in result.columns().values()} == {1}


def test_free_energy_is_enthalpy_minus_temperature_times_entropy():
    temperature = 50.0
    crystal = crystal_of([temperature], energies=8.0, free_energies=8.0 - temperature * 0.040, entropies=40.0)
    result = sublimation(crystal, static_energy=-1.0, z=2, molecule=nitrogen_molecule(70.7))
    expected = result.enthalpies - temperature * result.entropies / 1000
    assert np.allclose(result.free_energies, expected, atol=1e-9)


def test_molecules_per_cell():
    assert molecules_per_cell(one(nitrogen()), one(Atoms("N2", [(0, 0, 0), (0, 0, 1.1)]))) == 4
    with pytest.raises(InvalidStructure, match="does not make up the crystal"):
        molecules_per_cell(one(nitrogen()), one(Atoms("NO", [(0, 0, 0), (0, 0, 1.1)])))
    with pytest.raises(InvalidStructure):
        molecules_per_cell(one(nitrogen()), one(Atoms("N3", np.eye(3))))


def test_a_molecule_of_the_crystal_is_whole_and_keeps_its_isotopes():
    crystal = nitrogen()
    crystal.wrap()
    masses = np.full(len(crystal), 14.0)
    masses[[atoms[1] for atoms in detect_molecules(one(crystal)).molecules]] = 15.0
    crystal.set_masses(masses)
    cut = molecule_of(one(crystal))
    assert not cut.periodic
    assert cut.numbers.tolist() == [7, 7]
    assert sorted(cut.masses) == pytest.approx([14.007, 15.0])
    assert np.linalg.norm(np.diff(cut.positions[0], axis=0)) == pytest.approx(1.1, abs=0.05)


def test_no_molecule_is_cut_from_a_co_crystal():
    crystal = nitrogen()
    crystal.symbols[0] = "C"
    with pytest.raises(InvalidStructure, match="co-crystals and solvates"):
        molecule_of(one(crystal))


def test_water_of_a_quantum_chemical_method_has_its_three_modes():
    pytest.importorskip("tblite")
    from tblite.ase import TBLite

    potential = AsePotential(TBLite(method="GFN2-xTB", verbosity=0))
    result = isolated_molecule(one(turned(molecule("H2O"))), potential, FreeEnergy(max_force_on_atom=1e-3))
    assert result.symmetry_number == 2
    assert np.all(result.frequencies_THz > 40)  # bend 48, stretches 110 and 113 THz measured
    assert len(result.frequencies_THz) == 3
