"""Symmetry orbits of clusters: known censuses, counting by brute force, and changes of description."""

from itertools import combinations, product

import crystals
import numpy as np
import pytest
from ase import Atoms
from crystals import MOLECULAR, MOLECULES_PER_CELL, one_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mbetrain.science.clusters import select_clusters
from aiida_mbetrain.science.clusters.neighbours import nearest_neighbors
from aiida_mbetrain.science.clusters.orbit_census import census
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry
from aiida_mbetrain.science.crystal import SpaceGroup
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.settings import FiniteSubsystemFilter


def detect(atoms: Atoms) -> MolecularCrystal:
    return detect_molecules(one_frame(atoms), assert_identical_composition=False)


def skewed(atoms: Atoms) -> Atoms:
    """A supercell that has neither the shape nor the symmetry of the cell."""
    from ase.build import make_supercell

    return make_supercell(atoms, [[2, 1, 0], [0, 1, 0], [1, 0, 1]])


DESCRIPTIONS = {
    "conventional": lambda atoms: atoms,
    "doubled": lambda atoms: atoms.repeat((1, 2, 1)),
    "eightfold": lambda atoms: atoms.repeat(2),
    "skewed": skewed,
}


@pytest.mark.parametrize("description", DESCRIPTIONS)
@pytest.mark.parametrize(
    ("name", "cutoff", "dimers", "trimers"),
    [("ammonia", 2.6, [6, 6], [3, 3, 9, 9]), ("carbon_dioxide", 3.2, [12], [6, 18])],
)
def test_census_of_cubic_crystals(name, cutoff, dimers, trimers, description):
    """P2_13 and Pa-3, closest contacts: replicas per molecule as published, whatever the supercell."""
    crystal = detect(DESCRIPTIONS[description](MOLECULAR[name]()))
    for n_molecules, expected in [(1, [1]), (2, dimers), (3, trimers)]:
        counts = census(crystal, n_molecules, cutoff)
        assert sorted(counts.values()) == expected
        assert [orbit.multiplicity for orbit in counts] == list(counts.values())


def repulsion(crystal: MolecularCrystal, members: list[tuple[int, ...]]) -> float:
    """Nuclear repulsion energy of a cluster, in e²/Å."""
    places = np.concatenate([crystal.positions[crystal.molecules[m]] + t @ crystal.cell for m, *t in members])
    charges = np.concatenate([crystal.numbers[crystal.molecules[m]] for m, *_ in members])
    i, j = np.triu_indices(len(charges), 1)
    return float((charges[i] * charges[j] / np.linalg.norm(places[i] - places[j], axis=1)).sum())


def test_trimers_that_nuclear_repulsion_cannot_tell_apart():
    """Dry ice: repulsion is a sum over pairs, and all pairs of both kinds of trimers are alike."""
    crystal = detect(crystals.carbon_dioxide())
    symmetry = MoleculeSymmetry.of(crystal)
    near = {}
    for m in range(4):
        images = nearest_neighbors(crystal, m, 12, measure="closest_contact")
        near[m] = {(int(k), *map(int, t)) for k, t in zip(images.indices, images.translations, strict=True)}
    orbits: dict[str, list[float]] = {}
    for a, b in combinations(sorted(near[0]), 2):
        if (b[0], *(np.array(b[1:]) - a[1:]).tolist()) in near[a[0]]:
            members = np.array([(0, 0, 0, 0), a, b])
            found = orbits.setdefault(symmetry.orbit(members[:, 0], members[:, 1:]).id, [])
            found.append(repulsion(crystal, [(0, 0, 0, 0), a, b]))
    assert sorted(map(len, orbits.values())) == [6, 18]
    assert np.ptp(np.concatenate(list(orbits.values()))) < 1e-9 * repulsion(crystal, [(0, 0, 0, 0)])


def operations(crystal: MolecularCrystal) -> tuple[np.ndarray, np.ndarray]:
    """Cartesian rotations (columns) and translations of the crystal's own cell."""
    group = SpaceGroup.of(crystal.reference, symprec=1e-2)
    rotations = crystal.cell.T @ group.rotations @ np.linalg.inv(crystal.cell.T)
    return rotations, group.translations @ crystal.cell


def same_up_to_a_lattice_vector(first: np.ndarray, second: np.ndarray, numbers: np.ndarray, cell: np.ndarray) -> bool:
    """Whether two sets of atoms coincide after some translation of the lattice, order aside."""
    shift = np.rint((first.mean(axis=0) - second.mean(axis=0)) @ np.linalg.inv(cell)) @ cell
    distances = np.linalg.norm(first[:, None] - second - shift, axis=-1) + 10.0 * (numbers[:, None] != numbers)
    nearest = distances.argmin(axis=1)
    return bool(distances.min(axis=1).max() < 1e-2 and len(set(nearest)) == len(nearest))


def equivalent_by_brute_force(crystal: MolecularCrystal, first: list, second: list) -> bool:
    """Whether an operation of the cell's own group puts the atoms of one cluster on those of the other."""
    atoms = [np.concatenate([crystal.molecules[m] for m, _ in cluster]) for cluster in (first, second)]
    if sorted(crystal.numbers[atoms[0]]) != sorted(crystal.numbers[atoms[1]]):
        return False
    order = [np.argsort(crystal.numbers[chosen], kind="stable") for chosen in atoms]
    places = [
        np.concatenate([crystal.positions[crystal.molecules[m]] + t @ crystal.cell for m, t in cluster])
        for cluster in (first, second)
    ]
    a, b = (place[index] for place, index in zip(places, order, strict=True))
    numbers = crystal.numbers[atoms[0]][order[0]]
    return any(
        same_up_to_a_lattice_vector(a @ rotation.T + shift, b, numbers, crystal.cell)
        for rotation, shift in zip(*operations(crystal), strict=True)
    )


@pytest.mark.parametrize("name", ["urea", "benzene", "ammonia", "oxalic_acid_dihydrate", "two_orientations"])
def test_equal_ids_mean_that_an_operation_maps_the_atoms(name):
    """Clusters of two and three near molecules around every molecule of the cell, all pairs of clusters."""
    crystal = detect(MOLECULAR[name]())
    symmetry = MoleculeSymmetry.of(crystal)
    clusters = []
    for center in range(crystal.n_molecules):
        near = nearest_neighbors(crystal, center, 3, measure="closest_contact")
        members = [(center, np.zeros(3, dtype=int)), *zip(near.indices, near.translations, strict=True)]
        clusters += [[members[0], members[1]], [members[0], members[3]], members[:3]]
    ids = [symmetry.orbit(np.array([m for m, _ in c]), np.array([t for _, t in c])).id for c in clusters]
    for i, j in combinations(range(len(clusters)), 2):
        same = len(clusters[i]) == len(clusters[j]) and equivalent_by_brute_force(crystal, clusters[i], clusters[j])
        assert (ids[i] == ids[j]) == same


@pytest.mark.parametrize("name", MOLECULAR)
def test_multiplicity_is_the_number_of_clusters_counted_one_by_one(name):
    """All dimers and trimers within the first shells: inequivalent molecules and co-crystals included."""
    crystal = detect(MOLECULAR[name]())
    cutoff = nearest_neighbors(crystal, crystal.central_molecule_index, 4, measure="closest_contact").distances[-1]
    for n_molecules in (2, 3):
        counts = census(crystal, n_molecules, cutoff + 1e-3)
        assert {orbit.id: orbit.multiplicity for orbit in counts} == {o.id: count for o, count in counts.items()}


def test_clusters_of_all_central_molecules_add_up_to_those_of_the_cell():
    """Two molecules per dimer: multiplicities of all molecules sum to twice the dimers per cell."""
    crystal = detect(crystals.oxalic_acid_dihydrate())
    symmetry = MoleculeSymmetry.of(crystal)
    total: dict[str, int] = {}
    per_cell = {}
    for molecule in range(crystal.n_molecules):
        near = nearest_neighbors(crystal, molecule, 12, measure="center_of_mass", whole_shells=True)
        found = {}
        for m, t in zip(near.indices, near.translations, strict=True):
            orbit = symmetry.orbit(np.array([molecule, m]), np.array([[0, 0, 0], t]))
            found[orbit.id] = orbit.multiplicity
            per_cell[orbit.id] = orbit.per_primitive_cell
        for key, multiplicity in found.items():
            total[key] = total.get(key, 0) + multiplicity
    nearest = {key for key in total if total[key] == 2 * per_cell[key]}
    assert len(nearest) >= 5
    assert all(total[key] <= 2 * per_cell[key] for key in total)


def test_symmetry_classes_of_molecules():
    """Acid and water of the dihydrate, four unrelated molecules, and one kind everywhere else."""
    kinds = {name: len(set(MoleculeSymmetry.of(detect(atoms())).classes)) for name, atoms in MOLECULAR.items()}
    expected = dict.fromkeys(MOLECULAR, 1) | {"oxalic_acid_dihydrate": 2, "two_orientations": 4}
    assert kinds == expected


@pytest.mark.parametrize("name", MOLECULAR)
def test_primitive_molecules_do_not_depend_on_the_supercell(name):
    small, large = (MoleculeSymmetry.of(detect(MOLECULAR[name]().repeat(n))) for n in [(1, 1, 1), (2, 1, 3)])
    assert small.images.shape == large.images.shape
    n_primitive = small.images.shape[1]
    assert MOLECULES_PER_CELL[name] % n_primitive == 0
    assert len(large.kinds) == 6 * MOLECULES_PER_CELL[name]
    assert set(np.bincount(large.kinds)) == {len(large.kinds) // n_primitive}


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(MOLECULAR)), seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([1e-9, 1e-4]))
def test_rounding_errors_and_wrapping_change_no_id(name, seed, noise):
    rng = np.random.default_rng(seed)
    atoms = MOLECULAR[name]()
    moved = atoms.copy()
    moved.positions += rng.uniform(-noise, noise, atoms.positions.shape)
    moved.positions += rng.integers(-2, 3, (len(atoms), 3)) @ atoms.cell.array
    rule = FiniteSubsystemFilter(n_molecules=(1, 2, 3, 5), assert_identical_composition=False)
    first = select_clusters(detect(atoms), rule)
    crystal = detect(moved)
    symmetry = MoleculeSymmetry.of(crystal)
    # noise may carry a centre of mass on a face to the opposite one: the same molecule of another cell
    faces = np.rint((detect(atoms).centers_of_mass - crystal.centers_of_mass) @ np.linalg.inv(crystal.cell)).astype(int)
    again = [symmetry.orbit(c.molecule_indices, c.translations + faces[c.molecule_indices]) for c in first]
    assert [(c.orbit, c.multiplicity) for c in first] == [(o.id, o.multiplicity) for o in again]


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(MOLECULAR)), seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6))
def test_order_of_members_and_lattice_translations_change_no_id(name, seed, size):
    rng = np.random.default_rng(seed)
    crystal = detect(MOLECULAR[name]())
    symmetry = MoleculeSymmetry.of(crystal)
    molecules = rng.integers(0, crystal.n_molecules, size)
    translations = np.array(list(product(range(2), repeat=3)))[rng.permutation(8)[:size]]
    order, shift = rng.permutation(size), rng.integers(-5, 6, 3)
    first = symmetry.orbit(molecules, translations)
    second = symmetry.orbit(molecules[order], translations[order] + shift)
    assert (first.id, first.per_primitive_cell) == (second.id, second.per_primitive_cell)


def test_every_cluster_of_a_rule_carries_its_orbit():
    crystal = detect(crystals.carbon_dioxide())
    clusters = select_clusters(crystal, FiniteSubsystemFilter(n_molecules=(1, 2, 3)))
    assert [cluster.multiplicity for cluster in clusters[:2]] == [1, 12]
    assert len({cluster.orbit for cluster in clusters}) == 3
