"""Lattice energies from orbits of n-mers, against exact sums over the periodic crystal."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from crystals import ammonia, carbon_dioxide, one_frame, oxalic_acid_dihydrate, two_orientations
from reference_potentials import AxilrodTeller, Pairwise, label

from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.science.reference_labels.lattice_energy import expand_lattice, lattice_energies


def molecules_of(atoms):
    return detect_molecules(one_frame(atoms), assert_identical_composition=False)


def periodic_energy(crystal, backend, n_body):
    """Exact sum over the infinite crystal: energies of each atom of the cell with all its neighbours within the cutoff.

    Each pair or triplet of a finite block is weighted by the share of its atoms that lie in the central cell.
    """
    reach = np.ceil(backend.cutoff * np.linalg.norm(np.linalg.inv(crystal.cell), axis=0) + 1).astype(int)
    shifts = np.array(list(product(*(range(-n, n + 1) for n in reach)))) @ crystal.cell
    positions = (crystal.positions[None] + shifts[:, None]).reshape(-1, 3)
    central = np.arange(len(positions)) // crystal.n_atoms == len(shifts) // 2
    near = np.linalg.norm(positions[:, None] - positions[central][None], axis=-1).min(axis=1) < backend.cutoff
    positions, central = positions[near], central[near]
    energy = 0.0
    for i in np.flatnonzero(central):
        others = np.flatnonzero(np.linalg.norm(positions - positions[i], axis=1) < backend.cutoff)
        others = others[others != i]
        if n_body == 2:
            energy += sum(bare(backend, positions[[i, j]]) for j in others) / 2
        else:
            pairs = ((j, k) for j in others for k in others if j < k)
            energy += sum(bare(backend, positions[[i, j, k]]) for j, k in pairs) / 3
    return energy


def bare(backend, positions):
    """Interaction of atoms without energies of their own."""
    zeros = np.zeros(len(positions), dtype=np.int64)
    return backend.energy_and_forces(Fragment(zeros, positions, zeros.astype(bool)))[0]


def own(crystal):
    """Energies of the atoms in Pairwise."""
    return -0.5 * float(crystal.numbers.sum())


@pytest.mark.parametrize("atoms", [carbon_dioxide, ammonia, two_orientations, oxalic_acid_dihydrate])
def test_a_pairwise_difference_is_exact_at_order_2(atoms):
    crystal, reference, baseline = molecules_of(atoms()), Pairwise(cutoff=4.5), Pairwise(strength=0.4, cutoff=4.5)
    expansion = expand_lattice(crystal, {2: 4.5})
    base_energy = periodic_energy(crystal, baseline, 2) + own(crystal)
    found = lattice_energies(
        expansion, label(expansion.fragments, reference), label(expansion.fragments, baseline), base_energy
    )
    assert found.crystal_energy == pytest.approx(periodic_energy(crystal, reference, 2) + own(crystal), abs=1e-8)


def test_a_three_body_difference_is_exact_at_order_3():
    crystal, reference = molecules_of(ammonia()), AxilrodTeller(cutoff=3.2)
    exact = periodic_energy(crystal, reference, 3)
    energies = {}
    for cutoffs in ({2: 3.2}, {2: 3.2, 3: 3.2}):
        expansion = expand_lattice(crystal, cutoffs)
        nothing = label(expansion.fragments, Pairwise(strength=0.0, cutoff=0.0))
        nothing.energies[:] = 0.0
        found = lattice_energies(expansion, label(expansion.fragments, reference), nothing, 0.0)
        energies[max(cutoffs)] = found.crystal_energy
    assert energies[3] == pytest.approx(exact, rel=1e-8)
    assert abs(energies[2] - exact) > 1e-3


def test_a_supercell_has_the_same_lattice_energy_per_molecule():
    found = []
    for atoms in (carbon_dioxide(), carbon_dioxide() * (2, 1, 1)):
        expansion = expand_lattice(molecules_of(atoms), {2: 4.5, 3: 3.5})
        labels, nothing = (label(expansion.fragments, potential) for potential in (Pairwise(), Pairwise(strength=0.0)))
        found.append(lattice_energies(expansion, labels, nothing, own(molecules_of(atoms))).lattice_energy)
        assert len(expansion.fragments) < 30
    assert found[1] == pytest.approx(found[0], rel=1e-10)


def test_without_difference_the_baseline_stays_and_the_table_is_flat():
    crystal = molecules_of(carbon_dioxide())
    expansion = expand_lattice(crystal, {2: 5.0})
    labels = label(expansion.fragments, Pairwise(cutoff=5.0))
    found = lattice_energies(expansion, labels, labels, -17.0)
    assert found.crystal_energy == -17.0
    np.testing.assert_array_equal(found.convergence["correction_eV"], 0.0)
    np.testing.assert_allclose(found.convergence["lattice_energy_eV"], found.lattice_energy)


def test_convergence_runs_by_order_and_extent_and_ends_at_the_lattice_energy():
    expansion = expand_lattice(molecules_of(ammonia()), {2: 4.0, 3: 3.0})
    labels, nothing = (label(expansion.fragments, potential) for potential in (Pairwise(), Pairwise(strength=0.0)))
    found = lattice_energies(expansion, labels, nothing, 0.0)
    table = found.convergence
    assert list(zip(table["order"], np.round(table["extent_A"], 6), strict=True)) == sorted(
        zip(table["order"], np.round(table["extent_A"], 6), strict=True)
    )
    assert table["lattice_energy_eV"][-1] == found.lattice_energy
    assert table["lattice_energy_kJ_per_mol"][-1] == pytest.approx(found.lattice_energy * 96.4853, rel=1e-5)
    np.testing.assert_allclose(table["n_body_difference_eV"][table["order"] == 3], 0.0, atol=1e-10)


def test_ghosts_belong_to_the_n_mer():
    expansion = expand_lattice(molecules_of(carbon_dioxide()), {2: 3.2}, counterpoise="vmfc")
    assert set(expansion.fragments.ghosts.reshape(-1)) == {False, True}
    dimers = int((expansion.orders == 2).sum())
    assert len(expansion.fragments) == 1 + 3 * dimers


def test_a_missing_fragment_is_named():
    expansion = expand_lattice(molecules_of(carbon_dioxide()), {2: 3.2})
    labels = label(expansion.fragments, Pairwise())
    labels.energies[1] = np.nan
    with pytest.raises(LabelsMissing, match=f"reference lacks 1 of 2 fragments, {labels.ids[1]}"):
        lattice_energies(expansion, labels, label(expansion.fragments, Pairwise()), 0.0)


@pytest.mark.parametrize("cutoffs", [{3: 4.0}, {2: 3.0, 3: 4.0}, {2: 0.0}])
def test_cutoffs_with_a_gap_are_refused(cutoffs):
    with pytest.raises(InvalidSettings, match="cutoffs"):
        expand_lattice(molecules_of(carbon_dioxide()), cutoffs)
