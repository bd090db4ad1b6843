"""Relaxation on analytic potentials: what is relaxed, what is kept, what is reported."""

import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import make_supercell
from ase.filters import FrechetCellFilter
from cheap_potentials import (
    HarmonicCrystal,
    LennardJones,
    argon,
    carbon_dioxide,
    carbon_dioxide_potential,
    nitrogen,
    nitrogen_potential,
    sodium_chloride,
)
from scipy.optimize import minimize_scalar

from aiida_mbetrain.errors import BrokenSymmetry, ElementsNotInModel, InvalidStructure, RelaxationNotConverged
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.relaxation.crystal import _CellFilter
from aiida_mbetrain.settings import FreeEnergy


def distorted(atoms, *, positions=0.02, strain=0.01, seed=1):
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += positions * rng.normal(size=(len(atoms), 3))
    return Configurations.from_atoms(atoms)


def free(**values):
    return FreeEnergy(symmetrize_unit_cell=False, **values)


def lattice_constant_of_argon():
    """Minimum of the energy over the cubic lattice constant, by a line search of its own."""
    potential = LennardJones()

    def energy(a):
        atoms = argon(a)
        return potential.frame(atoms.numbers, atoms.positions, atoms.cell.array)[0]

    return minimize_scalar(energy, bracket=(5.1, 5.3, 5.5), tol=1e-10).x


def test_full_relaxation_finds_the_minimum_over_the_volume():
    start = Configurations.from_atoms(argon(5.45))
    result = relax(start, LennardJones(), FreeEnergy(relax_input_cell="full"))
    assert result.structure.volumes[0] == pytest.approx(lattice_constant_of_argon() ** 3 / 4, rel=1e-5)
    assert result.max_stress * result.structure.volumes[0] < 1e-4
    assert result.crystal_name == "crystal[opt:atoms,shape,V]"


def test_full_relaxation_under_pressure_ends_at_that_pressure():
    start = Configurations.from_atoms(nitrogen())
    result = relax(start, nitrogen_potential(), FreeEnergy(), mode="full", pressure_GPa=0.5)
    assert np.trace(result.structure.stress[0]) / 3 == pytest.approx(-0.5 * units.GPa, abs=2e-5)
    assert result.max_stress < 2e-5


def test_constant_volume_keeps_the_volume_and_relaxes_the_shape():
    start = distorted(nitrogen())
    result = relax(start, nitrogen_potential(), free(relax_input_cell="constant_volume"))
    assert result.structure.volumes[0] == pytest.approx(start.volumes[0], rel=1e-9)
    stress = result.structure.stress[0]
    deviatoric = stress - np.eye(3) * np.trace(stress) / 3
    assert np.abs(deviatoric).max() == pytest.approx(result.max_stress)
    assert result.max_stress * start.volumes[0] / 8 < 1.01e-4
    assert abs(np.trace(stress)) > 1e-3
    assert result.max_force < 1e-4
    # The relaxed cell is the cube: the shape was off by one per cent.
    lengths = np.linalg.norm(result.structure.cells[0], axis=1)
    assert np.ptp(lengths) / lengths.mean() < 2e-3
    assert result.crystal_name == "crystal[opt:atoms,shape]"


def test_only_atoms_keeps_the_cell():
    start = distorted(carbon_dioxide())
    result = relax(start, carbon_dioxide_potential(), free(relax_input_cell="only_atoms"))
    assert np.array_equal(result.structure.cells, start.cells)
    assert result.max_force < 1e-4
    assert result.crystal_name == "crystal[opt:atoms]"


def test_relaxed_harmonic_crystal_returns_to_its_sites():
    reference = sodium_chloride()
    supercell = make_supercell(reference, [[2, 0, 0], [0, 1, 0], [0, 0, 1]])
    rng = np.random.default_rng(0)
    moved = supercell.copy()
    moved.positions += 0.05 * rng.normal(size=(len(moved), 3))
    result = relax(
        Configurations.from_atoms(moved),
        HarmonicCrystal(reference, cutoff=4.5),
        free(relax_input_cell="only_atoms", max_force_on_atom=1e-6),
    )
    shift = result.structure.positions[0] - supercell.positions
    assert np.allclose(shift, shift.mean(axis=0), atol=1e-5)


CRYSTALS = [(nitrogen, nitrogen_potential()), (carbon_dioxide, carbon_dioxide_potential())]


@pytest.mark.parametrize(("make", "potential"), CRYSTALS)
def test_symmetry_of_the_input_is_restored_and_kept(make, potential):
    start = distorted(make(), positions=1e-3, strain=5e-4)
    result = relax(start, potential, FreeEnergy())
    assert (result.space_group_input, result.space_group) == ("Pa-3", "Pa-3")
    assert np.array_equal(result.structure.numbers, start.numbers)
    # Neither rotated nor reordered nor wrapped: every atom is near where it was.
    fractional = [s.positions[0] @ np.linalg.inv(s.cells[0]) for s in (start, result.structure)]
    assert np.abs(fractional[1] - fractional[0]).max() < 0.02
    assert np.allclose(result.structure.cells, start.cells, atol=0.02)
    assert result.structure.volumes[0] == pytest.approx(start.volumes[0], rel=1e-9)


def test_symmetry_that_the_result_lacks_at_the_strict_tolerance_is_an_error_that_names_the_tolerance():
    """Positions hold their symmetry to rounding, so a tolerance below it finds no symmetry."""
    start = distorted(nitrogen(), positions=1e-3, strain=5e-4)
    with pytest.raises(BrokenSymmetry) as caught:
        relax(start, nitrogen_potential(), FreeEnergy(symmetry_tolerance_strict=1e-16))
    for word in ("space group P1", "symmetry_tolerance_strict = 1e-16", "instead of Pa-3", "symmetrize_unit_cell"):
        assert word in caught.value.message
    asymmetric = relax(start, nitrogen_potential(), free(symmetry_tolerance_strict=1e-16))
    assert asymmetric.space_group == "P1"


def test_rotated_input_keeps_its_orientation():
    atoms = nitrogen()
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    result = relax(distorted(atoms, positions=1e-3, strain=0), nitrogen_potential(), FreeEnergy())
    assert result.space_group == "Pa-3"
    assert np.allclose(result.structure.cells[0], atoms.cell.array, atol=1e-6)


def test_without_symmetrisation_a_distorted_crystal_stays_in_its_lower_group():
    start = distorted(nitrogen(), positions=0.05, strain=0)
    result = relax(start, nitrogen_potential(), free(), mode="only_atoms")
    assert (result.space_group_input, result.space_group) == ("P1", "P1")


def test_symmetry_reached_by_relaxing_is_imposed_and_forces_are_those_of_the_final_structure():
    potential = nitrogen_potential()
    start = distorted(nitrogen(), positions=0.02, strain=0)
    settings = FreeEnergy(max_force_on_atom=1e-6, symmetry_tolerance_strict=1e-3, relax_input_cell="only_atoms")
    result = relax(start, potential, settings)
    assert (result.space_group_input, result.space_group) == ("P1", "Pa-3")
    _, forces, stress = potential.frame(
        result.structure.numbers, result.structure.positions[0], result.structure.cells[0]
    )
    assert np.linalg.norm(forces, axis=1).max() == pytest.approx(result.max_force)
    assert result.max_force < 1e-6
    assert np.allclose(stress, result.structure.stress[0])


def test_fallback_continues_where_the_primary_stopped():
    steps = []
    settings = free(
        relax_input_cell="only_atoms",
        max_n_steps=6,
        relax_algo_fallback="PreconLBFGS",
        relax_algo_primary="PreconFIRE",
        max_force_on_atom=0.3,
    )
    start = distorted(nitrogen(), positions=0.03)
    result = relax(start, nitrogen_potential(), settings, report=lambda done, total: steps.append((done, total)))
    assert result.algorithm == "PreconLBFGS"
    assert 6 < result.n_steps <= 12
    assert steps[0][1] == 12
    assert steps[-1] == (result.n_steps, result.n_steps), "a bar that is full"
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


@pytest.mark.parametrize(
    ("make", "potential", "mode"),
    [
        (carbon_dioxide, carbon_dioxide_potential(), "only_atoms"),
        (nitrogen, nitrogen_potential(), "constant_volume"),
        (nitrogen, nitrogen_potential(), "full"),
    ],
)
def test_fire_alone_relaxes_molecular_crystals(make, potential, mode):
    fire = {"relax_algo_primary": "PreconFIRE", "relax_algo_fallback": "PreconFIRE"}
    start = distorted(make())
    result = relax(start, potential, free(max_n_steps=200, **fire), mode=mode)
    expected = relax(start, potential, free(), mode=mode)
    assert result.structure.energies[0] == pytest.approx(expected.structure.energies[0], abs=1e-5)
    assert result.max_force < 1e-4


def test_unconverged_relaxation_is_an_error_that_names_force_steps_and_remedy():
    settings = free(max_n_steps=2)
    with pytest.raises(RelaxationNotConverged) as caught:
        relax(distorted(nitrogen()), nitrogen_potential(), settings)
    for word in ("4 steps", "eV/Å", "max_force_on_atom", "max_n_steps = 2"):
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("mode", "kind"), [("full", "largest component of the stress"), ("constant_volume", "of the deviatoric stress")]
)
def test_refusal_names_the_stress_where_that_is_not_met(mode, kind):
    """One atom per cell has no force in any cell."""
    sheared = argon()
    sheared.set_cell(sheared.cell.array @ np.array([[1, 0.05, 0], [0.05, 1, 0], [0, 0, 1.02]]), scale_atoms=True)
    settings = free(max_n_steps=1)
    with pytest.raises(RelaxationNotConverged) as caught:
        relax(Configurations.from_atoms(sheared), LennardJones(), settings, mode=mode)
    assert kind in caught.value.message
    assert "largest force" not in caught.value.message
    value, threshold = re.search(r"is (\S+) eV/Å³, above .* = (\S+?):", caught.value.message).groups()
    assert float(value) > float(threshold) == pytest.approx(1e-4 / sheared.get_volume(), rel=0.1)


def test_refusal_names_the_force_where_that_is_not_met():
    settings = free(max_n_steps=1)
    with pytest.raises(RelaxationNotConverged, match="largest force") as caught:
        relax(distorted(nitrogen()), nitrogen_potential(), settings, mode="only_atoms")
    assert "stress" not in caught.value.message


def test_errors_of_the_potential_are_not_taken_for_a_failed_line_search():
    class Broken(LennardJones):
        def frame(self, numbers, positions, cell):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        relax(Configurations.from_atoms(argon()), Broken(), FreeEnergy())


def test_foreign_elements_and_finite_structures_are_refused():
    with pytest.raises(ElementsNotInModel):
        relax(Configurations.from_atoms(argon()), nitrogen_potential(), FreeEnergy())
    with pytest.raises(InvalidStructure):
        relax(Configurations.from_atoms(Atoms("N2", [(0, 0, 0), (0, 0, 1.1)])), nitrogen_potential(), FreeEnergy())


@pytest.mark.parametrize("constant_volume", [False, True])
def test_forces_on_atoms_and_cell_are_those_of_the_current_geometry(constant_volume):
    atoms = nitrogen()
    atoms.calc = nitrogen_potential().calculator()
    ours = _CellFilter(atoms, constant_volume=constant_volume)
    rng = np.random.default_rng(3)
    moves = [np.zeros((len(atoms) + 3, 3)) for _ in range(3)]
    moves[1][: len(atoms)] = 0.01 * rng.normal(size=(len(atoms), 3))  # atoms alone
    moves[2][len(atoms) :] = 0.1 * rng.normal(size=(3, 3))  # the cell alone
    for move in moves:
        ours.set_positions(ours.get_positions() + move)
        expected = FrechetCellFilter(atoms, constant_volume=constant_volume)
        expected._utility.orig_cell = ours._utility.orig_cell
        for _ in range(2):
            ours.get_forces()[:] = 0  # a caller may write into what it is given
            np.testing.assert_array_equal(ours.get_forces(), expected.get_forces())
            np.testing.assert_array_equal(ours.stress, expected.stress)
