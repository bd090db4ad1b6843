"""Cost of calculations from a few that are timed."""

from __future__ import annotations

import numpy as np
import pytest
from reference_potentials import Pairwise

from aiida_mbetrain.science.reference_labels import Evaluation, Fragment, Fragments, cost, estimate_cost


class Timed(Pairwise):
    """A program whose time is a power of the number of atoms, on a clock of its own."""

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent, self.now = exponent, 0.0

    def evaluate(self, fragment: Fragment) -> Evaluation:
        self.n_evaluated += 1
        self.now += 0.01 * len(fragment.numbers) ** self.exponent
        return Evaluation(0.0, None)


@pytest.fixture
def timed(monkeypatch):
    """Programs on whose clock the estimate looks."""

    def make(exponent):
        backend = Timed(exponent)
        monkeypatch.setattr(cost, "perf_counter", lambda: backend.now)
        return backend

    return make


def fragments_of(sizes) -> Fragments:
    rng = np.random.default_rng(1)
    return Fragments.of(Fragment(np.full(n, 6), rng.uniform(0, 9, (n, 3)), np.zeros(n, bool)) for n in sizes)


@pytest.mark.parametrize("exponent", [1.5, 3.0, 5.0])
def test_a_power_law_is_extrapolated_exactly(exponent, timed):
    sizes, backend = [2, 2, 4, 4, 4, 8, 64], timed(exponent)
    estimate = estimate_cost(fragments_of(sizes), backend, budget_s=300.0)
    assert estimate.fitted
    assert estimate.exponent == pytest.approx(exponent)
    assert estimate.total_s == pytest.approx(sum(0.01 * n**exponent for n in sizes))
    assert estimate.largest_s == pytest.approx(0.01 * 64**exponent)


def test_measurements_stay_within_the_budget(timed):
    backend = timed(3.0)
    estimate = estimate_cost(fragments_of([1, 2, 4, 8, 16]), backend, budget_s=1.0)
    assert estimate.n_measured == 3
    assert backend.now < 1.1
    assert estimate.total_s == pytest.approx(0.01 * sum(n**3 for n in (1, 2, 4, 8, 16)))


def test_one_size_tells_no_exponent(timed):
    backend = timed(2.0)
    estimate = estimate_cost(fragments_of([5, 5, 5]), backend)
    assert not estimate.fitted
    assert estimate.total_s == pytest.approx(3 * 0.25)
    assert backend.n_evaluated == 2
