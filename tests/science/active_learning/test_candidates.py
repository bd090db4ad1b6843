"""Candidates of a round: who is chosen for which part of the split, at which cost, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_examples import shaken_clusters
from crystals import carbon_dioxide

from aiida_mbetrain.errors import FeaturesMissing, NotEnoughFrames
from aiida_mbetrain.science.active_learning import SUBSET, UNIT, Candidates, choose_clusters
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.reference_labels import cluster_costs
from aiida_mbetrain.science.training import TEST, TRAIN, VALID
from aiida_mbetrain.settings import ActiveLearning, ReferenceLabels

N_FRAMES = 10
SUBSETS = np.array([TRAIN] * 6 + [VALID] * 2 + [TEST] * 2)


@pytest.fixture(scope="module")
def crystal_and_sets() -> tuple:
    crystal, clusters = shaken_clusters(carbon_dioxide(), [1, 2], n_frames=N_FRAMES, amplitude=0.04)
    return crystal, {f"n_{item.cluster.n_molecules}": item for item in clusters}


def with_features(sets: dict[str, ClusterSet]) -> dict[str, ClusterSet]:
    rng = np.random.default_rng(1)
    return {
        name: ClusterSet(
            item.cluster,
            item.configurations.with_(features=rng.normal(size=(N_FRAMES, item.configurations.n_atoms, 4))),
        )
        for name, item in sets.items()
    }


def candidates_of(sets: dict[str, ClusterSet]) -> Candidates:
    costs = {name: np.full(N_FRAMES, float(item.cluster.n_molecules) ** 3) for name, item in sets.items()}
    units = dict.fromkeys(sets, np.arange(N_FRAMES))
    return Candidates.of(sets, costs, units, dict.fromkeys(sets, SUBSETS))


def test_parts_of_the_split_come_from_their_own_frames(crystal_and_sets):
    sets = with_features(crystal_and_sets[1])
    candidates = candidates_of(sets)
    settings = ActiveLearning(clusters_per_round=5, n_validation=2, n_test=3)
    chosen = choose_clusters(candidates, settings, labelled=None, number=0)
    assert [int((chosen.subsets == subset).sum()) for subset in (TRAIN, VALID, TEST)] == [5, 2, 3]
    np.testing.assert_array_equal(SUBSETS[candidates.units[chosen.rows]], chosen.subsets)
    cut = chosen.cut(sets, candidates)
    assert sum(len(item.configurations) for item in cut.values()) == 10
    for name, item in cut.items():
        frames = item.configurations
        np.testing.assert_array_equal(SUBSETS[frames.origin[UNIT]], frames.origin[SUBSET])
        np.testing.assert_array_equal(
            frames.positions, sets[name].configurations.positions[frames.origin[UNIT]]
        )  # of these sets the unit is the row


def test_the_choice_is_the_same_for_the_same_seed_and_round(crystal_and_sets):
    candidates = candidates_of(with_features(crystal_and_sets[1]))
    settings = ActiveLearning(clusters_per_round=5, n_validation=2, n_test=2)
    first, again = (choose_clusters(candidates, settings, labelled=None, number=0) for _ in range(2))
    np.testing.assert_array_equal(first.rows, again.rows)
    other = choose_clusters(candidates, settings.model_copy(update={"rng_seed": 1}), labelled=None, number=0)
    assert first.rows.tolist() != other.rows.tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clusters_per_round": 13}, "clusters_per_round = 13, but round 0 has 12 clusters for it"),
        ({"n_validation": 5}, "n_validation = 5, but round 0 has 4 clusters"),
        ({"n_test": 5}, "n_test = 5, but round 0 has 4 clusters"),
        ({"cost_per_round": 0.5}, "cost_per_round = 0.5 is below the cost of every candidate"),
    ],
)
def test_more_than_there_is_is_refused(crystal_and_sets, changes, message):
    candidates = candidates_of(with_features(crystal_and_sets[1]))
    settings = ActiveLearning(**({"clusters_per_round": 5, "n_validation": 2, "n_test": 2} | changes))
    with pytest.raises(NotEnoughFrames, match=message):
        choose_clusters(candidates, settings, labelled=None, number=0)


def test_clusters_without_features_are_refused(crystal_and_sets):
    with pytest.raises(FeaturesMissing, match="n_1, n_2 have no feature vectors"):
        candidates_of(crystal_and_sets[1])


@pytest.mark.parametrize(("order", "dimer"), [(None, 8.0), (1, 2.0), (2, 2.0 + 8.0)])
def test_cost_is_that_of_the_fragments(crystal_and_sets, order, dimer):
    """Electrons to the third power: a dimer costs eight times its molecule, and in an expansion both of these too."""
    crystal, sets = crystal_and_sets
    costs = cluster_costs(sets, dict.fromkeys(sets, crystal), ReferenceLabels(order=order), 3.0)
    np.testing.assert_allclose(costs["n_1"], 1.0)
    np.testing.assert_allclose(costs["n_2"], dimer)
