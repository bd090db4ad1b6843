"""Space groups in the setting of the input."""

import numpy as np
import pytest
from ase import Atoms
from cheap_potentials import carbon_dioxide, nitrogen, sodium_chloride
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import SpaceGroup


def structure_of(atoms):
    return Configurations.from_atoms(atoms)


def noisy(atoms, seed, amplitude=2e-3):
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.rotate(rng.uniform(0, 180), rng.normal(size=3), rotate_cell=True)
    atoms.set_cell(atoms.cell.array + amplitude * rng.normal(size=(3, 3)), scale_atoms=True)
    atoms.positions += amplitude * rng.normal(size=(len(atoms), 3)) + rng.normal(size=3)
    return structure_of(atoms)


@pytest.mark.parametrize(
    ("make", "number", "order"), [(nitrogen, 205, 24), (carbon_dioxide, 205, 24), (sodium_chloride, 225, 48)]
)
def test_number_and_operations(make, number, order):
    group = SpaceGroup.of(structure_of(make()))
    assert group.number == number
    assert len(group.rotations) == order
    structure = structure_of(make())
    fractional = structure.positions[0] @ np.linalg.inv(structure.cells[0])
    for rotation, translation, images in zip(group.rotations, group.translations, group.images, strict=True):
        away = fractional @ rotation.T + translation - fractional[images]
        assert np.allclose(away, np.rint(away), atol=1e-8)
        assert np.array_equal(structure.numbers[images], structure.numbers)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_symmetrised_structure_is_exact_near_and_not_rotated(seed):
    structure = noisy(carbon_dioxide(), seed)
    assert SpaceGroup.of(structure, symprec=1e-7).number == 1
    group = SpaceGroup.of(structure, symprec=0.05)
    result = group.symmetrized(structure)
    assert group.number == SpaceGroup.of(result, symprec=1e-8).number == 205
    assert np.abs(result.positions - structure.positions).max() < 0.05
    stretch = np.linalg.inv(structure.cells[0]) @ result.cells[0]
    assert np.allclose(stretch, stretch.T, atol=1e-12)
    again = group.symmetrized(result)
    assert np.allclose(again.positions, result.positions, atol=1e-10)
    assert np.allclose(again.cells, result.cells, atol=1e-10)


def test_invariant_parts_of_vectors_and_tensors():
    structure = noisy(nitrogen(), 4, amplitude=0)
    group, cell = SpaceGroup.of(structure), structure.cells[0]
    rng = np.random.default_rng(0)
    vectors, tensor = rng.normal(size=(8, 3)), rng.normal(size=(3, 3))
    invariant = group.symmetrized_vectors(vectors, cell)
    assert np.allclose(group.symmetrized_vectors(invariant, cell), invariant)
    # On a threefold axis with inversion between the two atoms, one number is left: along the bond.
    bonds = structure.positions[0][:, None] - structure.positions[0]
    bonds -= np.rint(bonds @ np.linalg.inv(cell)) @ cell
    lengths = np.linalg.norm(bonds, axis=-1) + 10 * np.eye(8)
    along = bonds[np.arange(8), lengths.argmin(axis=1)]
    assert np.allclose(np.cross(invariant, along), 0, atol=1e-10)
    assert np.allclose(np.linalg.norm(invariant, axis=1), np.linalg.norm(invariant[0]))
    # A cubic crystal leaves the trace of a tensor.
    assert np.allclose(group.symmetrized_tensor(tensor, cell), np.eye(3) * np.trace(tensor) / 3)


def test_finite_structures_and_overlapping_atoms_are_refused():
    with pytest.raises(InvalidStructure):
        SpaceGroup.of(structure_of(Atoms("N2", [(0, 0, 0), (0, 0, 1.1)])))
    overlapping = Atoms("Ar2", [(0, 0, 0), (0, 0, 0)], cell=[4, 5, 6], pbc=True)
    with pytest.raises(InvalidStructure):
        SpaceGroup.of(structure_of(overlapping))
