"""Further clusters of a size: distinct, on many molecules, balanced over orbits and distances, by seed."""

from collections import Counter

import crystals
import numpy as np
import pytest
from crystals import MOLECULAR, one_frame

from aiida_mbetrain.science.clusters import Cluster, extract_clusters, select_clusters
from aiida_mbetrain.science.clusters.neighbours import nearest_neighbors
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.settings import DISTANCE_RULES, NUMBER_RULES, FiniteSubsystemFilter

RULES = (*NUMBER_RULES, *DISTANCE_RULES)


def crystal_of(name: str, repeat: tuple[int, int, int] = (2, 2, 2)) -> MolecularCrystal:
    atoms = MOLECULAR[name]().repeat(repeat)
    return detect_molecules(one_frame(atoms), assert_identical_composition=False)


def rule_for(name: str, **changes) -> FiniteSubsystemFilter:
    sizes = {"n_molecules": (1, 2, 3, 5)} if name in NUMBER_RULES else {"n_molecules": None, "distances": (2.7, 6.5)}
    return FiniteSubsystemFilter(**({"selection_rule": name, "assert_identical_composition": False} | sizes | changes))


def frames_identity(cluster: Cluster) -> frozenset:
    """The molecules up to a translation of the supercell: equal sets are cut from a frame as the same atoms."""
    translations = cluster.translations - cluster.translations.min(axis=0)
    return frozenset((int(m), *map(int, t)) for m, t in zip(cluster.molecule_indices, translations, strict=True))


def by_size(clusters: list[Cluster]) -> dict[str, list[Cluster]]:
    found: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        found.setdefault(cluster.key.partition(",")[0], []).append(cluster)
    return found


@pytest.mark.parametrize("rule", RULES)
def test_first_clusters_of_each_size_are_those_of_the_rule_alone(rule):
    crystal = crystal_of("urea")
    alone = select_clusters(crystal, rule_for(rule))
    many = by_size(select_clusters(crystal, rule_for(rule, clusters_per_size=4)))
    for cluster in alone:
        first, *others = many[cluster.key]
        assert first.key == cluster.key
        np.testing.assert_array_equal(first.molecule_indices, cluster.molecule_indices)
        np.testing.assert_array_equal(first.translations, cluster.translations)
        assert [other.key for other in others] == [f"{cluster.key},c={i}" for i in (2, 3, 4)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["urea", "oxalic_acid_dihydrate", "two_orientations"])
def test_clusters_of_a_size_differ_and_start_on_many_molecules(name, rule):
    crystal = crystal_of(name)
    for clusters in by_size(select_clusters(crystal, rule_for(rule, clusters_per_size=6))).values():
        assert len(clusters) == 6
        assert len({frames_identity(cluster) for cluster in clusters}) == 6
        assert len({int(cluster.molecule_indices[0]) for cluster in clusters}) >= 5


def test_no_more_clusters_than_the_crystal_has():
    """Four molecules in the cell: four monomers, and four neighbourhoods within a distance."""
    crystal = crystal_of("carbon_dioxide", (1, 1, 1))
    assert len(select_clusters(crystal, rule_for(NUMBER_RULES[1], n_molecules=1, clusters_per_size=9))) == 4
    assert len(select_clusters(crystal, rule_for(DISTANCE_RULES[0], distances=3.2, clusters_per_size=9))) == 4


def test_dimers_are_balanced_over_orbits_not_over_their_multiplicities():
    """Dry ice: the second shell has half the molecules of the first, and gets as many clusters."""
    crystal = crystal_of("carbon_dioxide", (3, 3, 3))
    rule = rule_for(NUMBER_RULES[1], n_molecules=2, clusters_per_size=12, n_candidates=18)
    counts = Counter((c.orbit, c.multiplicity) for c in select_clusters(crystal, rule))
    assert {multiplicity: count for (_, multiplicity), count in counts.items()} == {12: 6, 6: 6}


def test_larger_clusters_reach_as_often_far_as_near():
    """Argon tetramers: extents spread over shells, where a random choice would mostly reach the last one."""
    crystal = crystal_of("argon", (3, 3, 3))
    rule = rule_for(NUMBER_RULES[1], n_molecules=4, clusters_per_size=24, n_candidates=54)
    extents = []
    for cluster in select_clusters(crystal, rule):
        places = crystal.centers_of_mass[cluster.molecule_indices] + cluster.translations @ crystal.cell
        extents.append(round(float(np.linalg.norm(places - places[0], axis=1).max() / 5.311), 3))
    shells = Counter(extents)
    assert set(shells) == {0.707, 1.0, 1.225, 1.414}
    assert min(shells.values()) >= 3


def test_symmetry_classes_of_central_molecules_take_turns():
    crystal = crystal_of("oxalic_acid_dihydrate")
    kinds = MoleculeSymmetry.of(crystal).classes
    clusters = select_clusters(crystal, rule_for(DISTANCE_RULES[0], distances=2.7, clusters_per_size=9))
    counts = Counter(int(kinds[cluster.molecule_indices[0]]) for cluster in clusters)
    assert sorted(counts.values()) == [4, 5]


@pytest.mark.parametrize("name", ["carbon_dioxide", "ammonia", "oxalic_acid_dihydrate", "two_orientations"])
def test_unique_only_gives_one_cluster_of_every_orbit_of_dimers(name):
    """All orbits of pairs among the candidates of all molecules, found by going through them one by one."""
    crystal = crystal_of(name, (1, 1, 1))
    symmetry = MoleculeSymmetry.of(crystal)
    expected = set()
    for molecule in range(crystal.n_molecules):
        near = nearest_neighbors(crystal, molecule, 12, measure="closest_contact", whole_shells=True)
        for m, t in zip(near.indices, near.translations, strict=True):
            expected.add(symmetry.orbit(np.array([molecule, m]), np.array([[0, 0, 0], t])).id)
    rule = rule_for(NUMBER_RULES[2], n_molecules=2, clusters_per_size=500, n_candidates=12, unique_only=True)
    orbits = [cluster.orbit for cluster in select_clusters(crystal, rule)]
    assert len(orbits) == len(set(orbits))
    assert set(orbits) == expected


def test_same_seed_same_clusters_and_another_seed_others():
    crystal = crystal_of("benzene")
    chosen = [
        [
            (c.key, frames_identity(c))
            for c in select_clusters(crystal, rule_for(NUMBER_RULES[1], clusters_per_size=5, rng_seed=seed))
        ]
        for seed in (1, 1, 2)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_further_clusters_are_cut_whole_from_frames():
    """Every molecule of every further cluster has its reference's shape, and its neighbours' distances."""
    crystal = crystal_of("ammonia")
    sets = extract_clusters(crystal, crystal.reference, rule_for(NUMBER_RULES[1], clusters_per_size=4))
    for found in sets:
        places = found.configurations.positions[0]
        members = [crystal.molecules[m] for m in found.cluster.molecule_indices]
        expected = np.concatenate(
            [crystal.positions[m] + t @ crystal.cell for m, t in zip(members, found.cluster.translations, strict=True)]
        )
        np.testing.assert_allclose(places - places[0], expected - expected[0], atol=1e-9)


def test_argon_trimers_cover_shapes_that_the_nested_cluster_lacks():
    crystal = detect_molecules(one_frame(crystals.argon().repeat(2)))
    nested, *others = select_clusters(crystal, rule_for(NUMBER_RULES[1], n_molecules=3, clusters_per_size=8))
    assert len({cluster.orbit for cluster in others} - {nested.orbit}) >= 6
