"""q-points, dynamical matrices and the gauge, against brute force and phonopy."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from ase import units
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from spring_crystals import as_phonopy, monatomic_chain_crystal, rock_salt, scrambled_eigh, triclinic_crystal

from aiida_mbetrain.errors import IncommensurateMesh, InvalidStructure
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.constants import THZ_PER_ROOT_EIGENVALUE
from aiida_mbetrain.science.phonons import normal_modes as module
from aiida_mbetrain.science.phonons import q_points
from aiida_mbetrain.science.phonons.normal_modes import PrimitiveLattice, normal_modes
from aiida_mbetrain.science.phonons.q_points import (
    commensurate_meshes,
    commensurate_q_points,
    mesh_from_length,
    number_of_cells,
    pair_opposite,
    to_fractions,
)

MATRICES = [
    np.diag([2, 3, 4]),
    np.array([[3, 0, 0], [1, 2, 0], [0, 0, 1]]),
    2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]),
    np.array([[2, -1, 3], [0, 4, 2], [-5, 1, 2]]),
    np.array([[0, 1, 0], [1, 0, 0], [0, 0, -6]]),
]


def all_modes(crystal):
    lattice = PrimitiveLattice.of(crystal)
    representatives, _ = pair_opposite(commensurate_q_points(crystal.supercell_matrix), lattice.n_cells)
    return lattice, normal_modes(crystal, lattice, representatives)


def supercell_vectors(lattice, modes):
    """Mass-weighted vectors of all real modes as columns, (3 Ns, 3 Ns), and their frequencies."""
    root_mass = np.sqrt(lattice.masses)[lattice.site][:, None]
    every = np.arange(3 * len(lattice.masses))
    waves = [(m, sine) for m in modes for sine in (False, True) if not (sine and m.self_conjugate)]
    vectors = [m.displacements(every, lattice, sine=sine) * root_mass for m, sine in waves]
    return np.concatenate(vectors).reshape(-1, 3 * len(lattice.site)).T, np.concatenate(
        [m.frequencies_THz for m, _ in waves]
    )


@pytest.mark.parametrize("matrix", MATRICES)
def test_commensurate_points_are_those_of_phonopy(matrix):
    n_cells = number_of_cells(matrix)
    ours = commensurate_q_points(matrix)
    theirs = np.unique(np.rint(get_commensurate_points(matrix) * n_cells).astype(int) % n_cells, axis=0)
    assert np.array_equal(ours, theirs)
    assert len(ours) == n_cells
    assert not ours[0].any()


@pytest.mark.parametrize("matrix", MATRICES)
def test_meshes_that_fit_are_those_whose_every_point_is_commensurate(matrix):
    def fits(mesh):
        q = np.array(list(product(*(np.arange(n) / n for n in mesh))))
        return np.allclose(q @ matrix, np.rint(q @ matrix))

    brute_force = {mesh for mesh in product(range(1, 7), repeat=3) if fits(mesh)}
    assert {mesh for mesh in commensurate_meshes(matrix) if max(mesh) < 7} == brute_force


def test_mesh_points_are_fractions_of_the_mesh():
    points = q_points((3, 1, 1), np.eye(3), MATRICES[1])
    assert np.allclose(to_fractions(points, 6), [[0, 0, 0], [1 / 3, 0, 0], [-1 / 3, 0, 0]])


def test_refused_mesh_is_named_together_with_those_that_fit():
    with pytest.raises(IncommensurateMesh, match=r"k_point_mesh = 2 1 1 .* Meshes that fit: 3 1 1, 1 1 1;"):
        q_points((2, 1, 1), np.eye(3), MATRICES[1])
    with pytest.raises(IncommensurateMesh, match=r"= 2 2 2 \(from the length 10.0 Å\)"):
        q_points(10.0, 5.0 * np.eye(3), MATRICES[1])


def test_mesh_from_a_length_counts_reciprocal_vectors_like_phonopy():
    from phonopy.phonon.grid import length2mesh

    cell = np.array([[4.1, 0.0, 0.0], [0.7, 7.9, 0.0], [2.4, -0.5, 11.4]])
    for length in (1.0, 13.0, 40.0, 133.0):
        assert np.array_equal(mesh_from_length(length, cell), length2mesh(length, cell))


def test_mesh_from_a_length_ignores_rounding_noise():
    cell = np.diag([4.0, 4.0 * (1 + 1e-12), 4.0 * (1 - 1e-12)])
    assert mesh_from_length(10.0, cell) == (3, 3, 3)


@pytest.mark.parametrize("matrix", MATRICES)
def test_pairs_cover_every_point_once(matrix):
    n_cells = number_of_cells(matrix)
    kept, opposite = pair_opposite(commensurate_q_points(matrix), n_cells)
    assert not ((kept + opposite) % n_cells).any()
    together = np.unique(np.concatenate([kept, opposite]), axis=0)
    own_opposite = (kept == opposite).all(axis=1)
    assert len(together) == n_cells == 2 * len(kept) - own_opposite.sum()


@pytest.mark.parametrize("crystal", [triclinic_crystal(), rock_salt()])
def test_frequencies_are_those_of_phonopy(crystal):
    lattice, modes = all_modes(crystal)
    phonon = as_phonopy(crystal)
    phonon.run_qpoints([to_fractions(m.numerators, lattice.n_cells) for m in modes])
    theirs = phonon.get_qpoints_dict()["frequencies"]
    assert np.abs([m.frequencies_THz for m in modes] - theirs).max() < 2e-5  # CODATA 2014 against phonopy's units


@pytest.mark.parametrize("crystal", [triclinic_crystal(), rock_salt(), monatomic_chain_crystal()])
def test_real_modes_diagonalise_the_supercell_hessian(crystal):
    lattice, modes = all_modes(crystal)
    vectors, frequencies = supercell_vectors(lattice, modes)
    n = 3 * crystal.supercell.n_atoms
    hessian = crystal.force_constants.swapaxes(1, 2).reshape(n, n)
    root_mass = np.sqrt(np.repeat(crystal.supercell.masses, 3))
    dynamical = hessian / np.outer(root_mass, root_mass)
    assert vectors.shape == (n, n)
    assert np.abs(vectors.T @ vectors - np.eye(n)).max() < 1e-12
    eigenvalues = (frequencies / THZ_PER_ROOT_EIGENVALUE) ** 2
    assert np.abs(dynamical @ vectors - vectors * eigenvalues).max() < 1e-9 * eigenvalues.max()


def test_translations_are_recognised_in_an_unstable_crystal():
    crystal = triclinic_crystal()
    lattice, modes = all_modes(crystal)
    soft = modes[0].displacements(np.array([4]), lattice)[0] * lattice.masses[lattice.site][:, None]
    unstable = replace(crystal, force_constants=crystal.force_constants - 0.5 * np.einsum("ia,jb->ijab", soft, soft))
    gamma = normal_modes(unstable, lattice, np.zeros((1, 3), dtype=int))[0]
    assert gamma.frequencies_THz[0] < -1.0
    assert gamma.translation.tolist() == [False, True, True, True, *5 * [False]]
    momentum = np.einsum("mja,j->ma", gamma.eigenvectors, np.sqrt(lattice.masses))
    assert np.abs(momentum[~gamma.translation]).max() < 1e-12


def test_degenerate_modes_have_one_basis_whatever_the_eigensolver_returns(monkeypatch):
    crystal = rock_salt()
    _, modes = all_modes(crystal)
    monkeypatch.setattr(module.np.linalg, "eigh", scrambled_eigh(seed=1))
    _, again = all_modes(crystal)
    assert any(np.diff(m.frequencies_THz).min() < 1e-8 and not m.self_conjugate for m in modes)
    for one, other in zip(modes, again, strict=True):
        assert np.abs(one.eigenvectors - other.eigenvectors).max() < 1e-10


def test_wrapped_atoms_and_other_orders_give_the_same_modes():
    crystal = triclinic_crystal()
    rng = np.random.default_rng(0)
    order = rng.permutation(crystal.supercell.n_atoms)
    images = rng.integers(-2, 3, size=(crystal.supercell.n_atoms, 3))
    supercell = Configurations(
        numbers=crystal.supercell.numbers[order],
        positions=(crystal.supercell.positions[0] + images @ crystal.supercell.cells[0])[order][None],
        cells=crystal.supercell.cells,
    )
    shuffled = replace(crystal, supercell=supercell, force_constants=crystal.force_constants[np.ix_(order, order)])
    every = np.arange(9)
    (lattice, modes), (lattice2, modes2) = all_modes(crystal), all_modes(shuffled)
    for one, other in zip(modes, modes2, strict=True):
        difference = one.displacements(every, lattice)[:, order] - other.displacements(every, lattice2)
        assert np.abs(difference).max() < 1e-9


def test_mismatched_supercell_is_refused():
    crystal = triclinic_crystal()
    with pytest.raises(InvalidStructure, match="copies of their primitive cell"):
        PrimitiveLattice.of(replace(crystal, supercell_matrix=np.diag([2, 1, 1])))


def test_unit_of_frequency():
    assert pytest.approx(15.633302, rel=1e-6) == THZ_PER_ROOT_EIGENVALUE
    assert pytest.approx(np.sqrt(units._e / units._amu) * 1e-2 / (2 * np.pi)) == THZ_PER_ROOT_EIGENVALUE
