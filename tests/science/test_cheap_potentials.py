"""The tests' own potentials are right, or nothing tested with them is."""

import numpy as np
import pytest
from ase.build import make_supercell
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
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


def _distorted(atoms, matrix=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    rng = np.random.default_rng(3)
    atoms = make_supercell(atoms, np.array(matrix))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
    return atoms


SKEW = ((1, 1, 0), (0, 1, 1), (1, 0, 1))


@pytest.mark.parametrize(
    ("atoms", "potential"),
    [
        (_distorted(argon(), SKEW), LennardJones()),
        (_distorted(nitrogen()), nitrogen_potential()),
        (_distorted(carbon_dioxide()), carbon_dioxide_potential()),
        (_distorted(sodium_chloride(), SKEW), HarmonicCrystal(sodium_chloride(), cutoff=4.5)),
    ],
    ids=["argon", "nitrogen", "carbon dioxide", "harmonic"],
)
def test_forces_and_stress_are_derivatives_of_the_energy(atoms, potential):
    atoms.calc = potential.calculator()
    assert np.allclose(atoms.get_forces(), calculate_numerical_forces(atoms), atol=1e-7)
    numerical = calculate_numerical_stress(atoms, force_consistent=False)
    assert np.allclose(atoms.get_stress(), numerical, atol=1e-8)


def test_harmonic_crystal_is_exactly_quadratic_in_any_supercell_and_atom_order():
    reference = sodium_chloride()
    potential = HarmonicCrystal(reference, cutoff=4.5)
    rng = np.random.default_rng(0)
    supercell = make_supercell(reference, [[-1, 1, 1], [1, -1, 1], [1, 1, -2]])
    supercell = supercell[rng.permutation(len(supercell))]
    supercell.wrap()
    u = 0.1 * rng.normal(size=(len(supercell), 3))
    energy, _, _ = potential.frame(supercell.numbers, supercell.positions + u, supercell.cell.array)
    assert energy == pytest.approx(0.5 * np.einsum("ia,ijab,jb", u, potential.hessian(supercell), u), abs=1e-12)
