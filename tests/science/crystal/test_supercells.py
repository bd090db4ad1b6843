"""Supercells: brute force, phonopy and ASE as oracles."""

from itertools import product

import ase.build
import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from cheap_potentials import carbon_dioxide, nitrogen, sodium_chloride
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure, SupercellTooLarge
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import (
    SpaceGroup,
    choose_supercell,
    choose_supercell_for_phonons,
    count_displacements,
    keep_sublattices,
    make_supercell,
    md_supercell_matrix,
    phonon_supercell_matrix,
)
from aiida_mbetrain.science.crystal.lattices import divisors, reduced_basis, short_vectors, sublattices_avoiding
from aiida_mbetrain.science.crystal.supercells import shortest_vector
from aiida_mbetrain.settings import ClassicalMD, FreeEnergy

UNIMODULAR = [
    np.array([[1, 2, 0], [0, 1, 0], [3, 0, 1]]),
    np.array([[2, 1, 0], [1, 1, 0], [0, -1, 1]]) @ np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]),
    np.array([[1, 0, -4], [0, 1, 1], [0, 0, 1]]),
]


def urea() -> Atoms:
    basis = [(0, 0.5, 0.326), (0, 0.5, 0.5953), (0.1459, 0.6459, 0.1766), (0.2575, 0.7575, 0.2827)]
    basis.append((0.1441, 0.6441, -0.038))
    return crystal(["C", "O", "N", "H", "H"], basis, spacegroup=113, cellpar=[5.565, 5.565, 4.684, 90, 90, 90])


def hexamine() -> Atoms:
    basis = [(0.238, 0, 0), (0.123, 0.123, 0.123), (0.09, 0.09, -0.326)]
    return crystal(["C", "N", "H"], basis, spacegroup=217, cellpar=[6.91] * 3 + [90] * 3, primitive_cell=True)


def monoclinic() -> Atoms:
    basis = np.random.default_rng(1).random((4, 3))
    return crystal(["C", "C", "H", "H"], basis, spacegroup=14, cellpar=[8.1, 5.95, 8.65, 90, 124, 90])


CRYSTALS = [urea, hexamine, monoclinic, carbon_dioxide, nitrogen, sodium_chloride]


def structure_of(atoms: Atoms) -> Configurations:
    return Configurations.from_atoms(atoms)


def brute_force_shortest(cell, n=12):
    coefficients = np.array([c for c in product(range(-n, n + 1), repeat=3) if any(c)])
    return np.linalg.norm(coefficients @ cell, axis=1).min()


cells = st.lists(st.floats(-9, 9), min_size=9, max_size=9).map(lambda x: np.array(x).reshape(3, 3) + 4 * np.eye(3))


@given(cell=cells)
@settings(max_examples=60, deadline=None)
def test_shortest_vector_equals_brute_force(cell):
    assume(np.linalg.det(cell) / np.prod(np.linalg.norm(cell, axis=1)) > 0.2)
    assert shortest_vector(cell) == pytest.approx(brute_force_shortest(cell), abs=1e-9)


@given(cell=cells, index=st.integers(0, len(UNIMODULAR) - 1))
@settings(max_examples=60, deadline=None)
def test_reduced_basis_depends_on_the_lattice_alone(cell, index):
    assume(np.linalg.det(cell) / np.prod(np.linalg.norm(cell, axis=1)) > 0.05)
    basis = reduced_basis(cell)
    assert np.linalg.det(basis) == pytest.approx(abs(np.linalg.det(cell)))
    assert np.allclose(basis, reduced_basis(UNIMODULAR[index] @ cell), atol=1e-9)


@pytest.mark.parametrize("index", [1, 4, 12, 30])
def test_every_sublattice_is_listed_once(index):
    forms = sublattices_avoiding(np.zeros((0, 3), dtype=int), index)
    # The number of sublattices of Z^3 of index n is the sum of d sigma(d) over the divisors d of n.
    assert len(forms) == sum(d * sum(divisors(d)) for d in divisors(index))
    assert len(np.unique(forms.reshape(-1, 9), axis=0)) == len(forms)
    assert (np.rint(np.linalg.det(forms)) == index).all()


@pytest.mark.parametrize("make", CRYSTALS)
def test_sublattices_are_dropped_exactly_when_they_hold_a_forbidden_vector(make):
    basis = reduced_basis(make().cell.array)
    radius = 1.5 * np.linalg.norm(basis[2])
    forbidden = short_vectors(basis, radius)
    for index in (5, 8, 12):
        everything = sublattices_avoiding(forbidden[:0], index)
        reach = [form.tolist() for form in everything if brute_force_shortest(form @ basis, 6) >= radius - 1e-6]
        assert sorted(sublattices_avoiding(forbidden, index).tolist()) == sorted(reach)


@pytest.mark.parametrize("make", CRYSTALS)
def test_supercell_is_the_smallest_that_reaches_the_radius(make):
    cell, radius = make().cell.array, 2.0 * make().get_volume() ** (1 / 3)
    matrix = choose_supercell(cell, radius)
    chosen = round(np.linalg.det(matrix))
    assert shortest_vector(matrix @ cell) >= radius - 1e-6
    for index in range(1, chosen):
        forms = sublattices_avoiding(np.zeros((0, 3), dtype=int), index)
        assert all(shortest_vector(form @ cell) < radius for form in forms)


@pytest.mark.parametrize("make", CRYSTALS)
def test_supercell_is_never_larger_than_the_diagonal_one(make):
    cell = make().cell.array
    for radius in (8.0, 15.0, 21.0):
        free, diagonal = (choose_supercell(cell, radius, diagonal=flag) for flag in (False, True))
        assert np.array_equal(diagonal, np.diag(np.diag(diagonal)))
        assert shortest_vector(diagonal @ cell) >= radius
        assert 0 < np.linalg.det(free) <= np.linalg.det(diagonal) + 1e-6


def test_diagonal_supercell_is_the_smallest_of_all_diagonals():
    cell, radius = monoclinic().cell.array, 17.0
    chosen = np.diag(choose_supercell(cell, radius, diagonal=True))
    reaching = [n for n in product(range(1, 6), repeat=3) if shortest_vector(np.diag(n) @ cell) >= radius]
    assert np.prod(chosen) == min(np.prod(n) for n in reaching)


@pytest.mark.parametrize("make", CRYSTALS)
@pytest.mark.parametrize("transform", UNIMODULAR)
def test_choice_does_not_depend_on_the_basis_of_the_input(make, transform):
    atoms = make()
    turned = Atoms(atoms.numbers, atoms.positions, cell=transform @ atoms.cell.array, pbc=True)
    for choose in (
        lambda a: choose_supercell(a.cell.array, 14.0),
        lambda a: choose_supercell_for_phonons(structure_of(a), 11.0),
    ):
        one, two = choose(atoms) @ atoms.cell.array, choose(turned) @ turned.cell.array
        assert np.allclose(reduced_basis(one), reduced_basis(two), atol=1e-6)


def test_left_handed_cell_gives_a_positive_determinant():
    cell = monoclinic().cell.array[[1, 0, 2]]
    assert np.linalg.det(choose_supercell(cell, 14.0)) > 0


@pytest.mark.parametrize("make", [carbon_dioxide, sodium_chloride])
def test_cell_that_reaches_the_radius_exactly_is_enough(make):
    cell = make().cell.array
    radius = 2 * shortest_vector(cell)
    assert round(np.linalg.det(choose_supercell(cell, radius))) <= 8
    assert choose_supercell(cell, radius, diagonal=True).tolist() == np.diag([2, 2, 2]).tolist()


@pytest.mark.parametrize("make", CRYSTALS)
def test_displacements_are_counted_as_phonopy_makes_them(make):
    atoms = make()
    structure = structure_of(atoms)
    cell = PhonopyAtoms(numbers=atoms.numbers, cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions())
    candidates = [np.diag([1, 2, 1]), np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]]), np.diag([2, 2, 2])]
    candidates.append(choose_supercell(atoms.cell.array, 9.0))
    for matrix in candidates:
        phonopy = Phonopy(cell, supercell_matrix=matrix.T, primitive_matrix=np.eye(3))
        phonopy.generate_displacements(distance=0.01)
        assert count_displacements(structure, matrix) == len(phonopy.displacements)


@pytest.mark.parametrize("make", CRYSTALS)
def test_phonon_supercell_is_the_cheapest_among_all_sublattices(make):
    structure, radius = structure_of(make()), 8.5
    cell = structure.cells[0]
    chosen = choose_supercell_for_phonons(structure, radius)
    assert shortest_vector(chosen @ cell) >= radius

    def cost(matrix):
        return count_displacements(structure, matrix) * round(np.linalg.det(matrix))

    assert cost(chosen) <= cost(choose_supercell(cell, radius))
    assert cost(chosen) <= cost(choose_supercell(cell, radius, diagonal=True))
    forbidden = short_vectors(cell, radius)
    for index in range(1, round(np.linalg.det(chosen)) + 3):
        for form in sublattices_avoiding(forbidden, index)[::7]:
            assert cost(chosen) <= cost(form)


def test_urea_at_20_angstrom_costs_at_most_what_the_diagonal_cell_does():
    structure = structure_of(urea())
    matrix = choose_supercell_for_phonons(structure, 20.0)
    n_atoms = 16 * round(np.linalg.det(matrix))
    assert count_displacements(structure, matrix) * n_atoms <= 16 * 1280


@pytest.mark.parametrize("make", CRYSTALS)
def test_supercell_keeps_the_point_group_where_that_is_asked_for(make):
    structure, radius = structure_of(make()), 8.5
    chosen = choose_supercell_for_phonons(structure, radius, keep_point_group=True)
    rotations = SpaceGroup.of(structure).rotations
    assert keep_sublattices(chosen[None], rotations).all()
    assert shortest_vector(chosen @ structure.cells[0]) >= radius

    def cost(matrix):
        return count_displacements(structure, matrix) * round(np.linalg.det(matrix))

    # No smaller one keeps it, and the free choice is never dearer.
    assert cost(choose_supercell_for_phonons(structure, radius)) <= cost(chosen)
    forbidden = short_vectors(structure.cells[0], radius)
    for index in range(1, round(np.linalg.det(chosen))):
        assert not keep_sublattices(sublattices_avoiding(forbidden, index), rotations).all(axis=1).any()


def test_matrix_that_loses_operations_is_refused_where_all_are_asked_for():
    salt = structure_of(sodium_chloride())
    flat, whole = ((2, 0, 0), (0, 2, 0), (0, 0, 1)), ((2, 0, 0), (0, 2, 0), (0, 0, 2))
    with pytest.raises(InvalidSettings, match=r"keeps \d+ of the 48 operations .* keep_point_group"):
        phonon_supercell_matrix(salt, FreeEnergy(supercell_matrix=flat, keep_point_group=True))
    assert phonon_supercell_matrix(salt, FreeEnergy(supercell_matrix=whole, keep_point_group=True)).tolist() == [
        list(row) for row in whole
    ]


def test_point_group_that_needs_too_many_atoms_names_the_setting():
    settings = FreeEnergy(supercell_radius=9.0, max_atoms=20, keep_point_group=True)
    with pytest.raises(SupercellTooLarge, match="set keep_point_group to False"):
        phonon_supercell_matrix(structure_of(sodium_chloride()), settings)


def test_diagonal_phonon_supercell_is_diagonal():
    matrix = choose_supercell_for_phonons(structure_of(urea()), 20.0, diagonal=True)
    assert matrix.tolist() == np.diag([4, 4, 5]).tolist()


@pytest.mark.parametrize(("choose", "make_settings"), [
    (md_supercell_matrix, ClassicalMD), (phonon_supercell_matrix, FreeEnergy),
])  # fmt: skip
class TestSettings:
    def test_matrix_overrides_the_radius(self, choose, make_settings):
        matrix = ((1, 1, 0), (0, 2, 0), (0, 0, 1))
        assert choose(structure_of(urea()), make_settings(supercell_matrix=matrix)).tolist() == list(map(list, matrix))

    def test_diagonal_is_honoured(self, choose, make_settings):
        matrix = choose(structure_of(urea()), make_settings(supercell_radius=14.0, supercell_diagonal=True))
        assert matrix.tolist() == np.diag([3, 3, 3]).tolist()

    @pytest.mark.parametrize(
        "values",
        [
            {"supercell_radius": 25.0, "max_atoms": 1000},
            {"supercell_radius": 14.0, "max_atoms": 300, "supercell_diagonal": True},
            {"supercell_matrix": ((4, 0, 0), (0, 4, 0), (0, 0, 4)), "max_atoms": 1000},
            {"supercell_radius": 1e4},
        ],
    )
    def test_too_many_atoms_are_refused_naming_limit_and_field(self, choose, make_settings, values):
        settings = make_settings(**values)
        with pytest.raises(SupercellTooLarge) as caught:
            choose(structure_of(urea()), settings)
        assert f"max_atoms = {settings.max_atoms}" in caught.value.message
        assert "supercell_" in caught.value.message

    def test_limit_does_not_refuse_what_fits(self, choose, make_settings):
        free = choose(structure_of(urea()), make_settings(supercell_radius=14.0))
        n_atoms = 16 * round(np.linalg.det(free))
        exact = choose(structure_of(urea()), make_settings(supercell_radius=14.0, max_atoms=n_atoms))
        assert exact.tolist() == free.tolist()

    def test_finite_structure_is_refused(self, choose, make_settings):
        molecule = Configurations.from_atoms(Atoms("N2", [(0, 0, 0), (0, 0, 1.1)]))
        with pytest.raises(InvalidStructure):
            choose(molecule, make_settings())


@pytest.mark.parametrize("matrix", [np.diag([2, 1, 3]), np.array([[1, 1, 0], [-1, 1, 1], [0, -2, 1]])])
def test_supercell_holds_the_same_crystal_as_ase(matrix):
    atoms = urea()
    ours = make_supercell(structure_of(atoms), matrix).to_atoms()[0]
    theirs = ase.build.make_supercell(atoms, matrix)
    assert np.allclose(ours.cell.array, matrix @ atoms.cell.array)
    assert len(ours) == len(theirs)
    difference = theirs.get_scaled_positions()[:, None] - ours.get_scaled_positions()
    distance = np.linalg.norm((difference - np.rint(difference)) @ ours.cell.array, axis=-1)
    partner = distance.argmin(axis=1)
    assert distance.min(axis=1).max() < 1e-9
    assert len(set(partner)) == len(ours)
    assert np.array_equal(ours.numbers[partner], theirs.numbers)


def test_supercell_keeps_unit_cells_together_and_molecules_whole():
    structure = structure_of(nitrogen())
    matrix = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 2]])
    supercell = make_supercell(structure, matrix)
    blocks = supercell.positions[0].reshape(-1, structure.n_atoms, 3)
    assert np.allclose(blocks - blocks[:, :1], structure.positions[0] - structure.positions[0, 0])
    assert np.array_equal(supercell.numbers.reshape(-1, structure.n_atoms)[1], structure.numbers)
