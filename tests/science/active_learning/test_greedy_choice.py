"""Greedy choice against refits with each point added, costs, budgets and duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_mbetrain.science.active_learning import FeatureUncertainty, choose_greedily
from aiida_mbetrain.science.active_learning.greedy_choice import with_label

RNG = np.random.default_rng(0)
LABELLED, CANDIDATES = RNG.normal(size=(8, 5)), RNG.normal(size=(12, 5))
SIZES = RNG.integers(1, 4, size=12)


def vectors() -> np.ndarray:
    return FeatureUncertainty.of_labelled(LABELLED, 1e-2).vectors(CANDIDATES)


def refitted(rows: list[int]) -> np.ndarray:
    """Covariance of the candidates from all labelled points, the chosen ones among them, by one explicit inverse."""
    scales = np.sqrt(np.mean(LABELLED**2, axis=0))
    scaled = LABELLED / scales
    prior = 1e-2 * np.linalg.eigvalsh(scaled.T @ scaled)[-1] * np.eye(5)
    points = CANDIDATES / scales
    everything = np.vstack([scaled, points[rows]])
    return points @ np.linalg.inv(everything.T @ everything + prior) @ points.T


def chosen(**options) -> np.ndarray:
    given = {"costs": np.ones(12), "n_molecules": SIZES, "count": 5, "rng": np.random.default_rng(1)} | options
    return choose_greedily(vectors(), **given).rows


def test_a_label_more_is_a_refit_with_the_point_added():
    current, rows = vectors(), []
    for row in (3, 7, 3):
        current = with_label(current, current[row])
        rows.append(row)
        np.testing.assert_allclose(current @ current.T, refitted(rows), atol=1e-12)


@pytest.mark.parametrize("criterion", ["variance_reduction", "uncertainty"])
def test_every_choice_is_the_best_of_all_refits(criterion):
    rows: list[int] = []
    costs = RNG.uniform(1, 3, size=12)
    for _ in range(5):
        now = refitted(rows)
        if criterion == "uncertainty":
            score = np.sqrt(np.diag(now)) / SIZES
        else:
            score = np.array([np.sum((np.diag(now) - np.diag(refitted([*rows, row]))) / SIZES**2) for row in range(12)])
        score[rows] = -1
        rows.append(int(np.argmax(score / costs)))
    assert chosen(criterion=criterion, costs=costs).tolist() == rows


def test_variances_are_those_at_the_time_of_the_choice():
    choice = choose_greedily(vectors(), np.ones(12), SIZES, 3, rng=np.random.default_rng(0))
    rows = choice.rows.tolist()
    expected = [refitted(rows[:turn])[row, row] for turn, row in enumerate(rows)]
    np.testing.assert_allclose(choice.variances, expected)


@pytest.mark.parametrize("criterion", ["variance_reduction", "uncertainty"])
def test_a_near_duplicate_of_a_chosen_cluster_is_not_chosen(criterion):
    points = np.array([[3.0, 0.0], [3.0, 1e-6], [0.0, 2.0], [1.0, 1.0]])
    choice = choose_greedily(10 * points, np.ones(4), np.ones(4), 2, criterion=criterion, rng=np.random.default_rng(0))
    assert len({0, 1} & set(choice.rows.tolist())) == 1


def test_dear_clusters_are_chosen_only_where_they_tell_more():
    equal = np.eye(4)
    costs = np.array([8.0, 1.0, 27.0, 2.0])
    choice = choose_greedily(equal, costs, np.ones(4), 2, rng=np.random.default_rng(0))
    assert choice.rows.tolist() == [1, 3]
    equal[2] *= 1000
    choice = choose_greedily(equal, costs, np.ones(4), 1, criterion="uncertainty", rng=np.random.default_rng(0))
    assert choice.rows.tolist() == [2]


@pytest.mark.parametrize("criterion", ["variance_reduction", "uncertainty", "random"])
def test_costs_stay_within_the_budget(criterion):
    costs = np.array([5.0, 1.0, 1.0, 3.0])
    choice = choose_greedily(
        np.eye(4), costs, np.ones(4), 4, budget=5.0, criterion=criterion, rng=np.random.default_rng(2)
    )
    assert 0 < choice.costs.sum() <= 5.0
    assert len(choice.rows) < 4


def test_choice_by_chance_depends_on_the_seed_alone():
    first, second = chosen(criterion="random"), chosen(criterion="random", costs=np.arange(1.0, 13.0))
    assert first.tolist() == second.tolist()
    assert first.tolist() != chosen(criterion="random", rng=np.random.default_rng(8)).tolist()


def test_all_candidates_are_chosen_where_there_are_no_more():
    assert sorted(chosen(count=100)) == list(range(12))
