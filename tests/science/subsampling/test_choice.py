"""Subsampling: brute-force farthest points, exact counts, strata, reasons, seeds, and what is refused."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mbetrain.errors import FeaturesMissing, InvalidSettings, NotEnoughFrames
from aiida_mbetrain.science import configurations
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import growing_array
from aiida_mbetrain.science.subsampling import choice, feature_selection, subsample
from aiida_mbetrain.science.subsampling.choice import mean_features, pick_frames
from aiida_mbetrain.science.subsampling.feature_selection import farthest_points, k_means
from aiida_mbetrain.science.subsampling.stratification import apportion
from aiida_mbetrain.settings import Subsampling

FEATURES = 4


def frames(seed: int, n_frames: int = 12, n_atoms: int = 3, *, origin: str = "md_step", **extra) -> Configurations:
    """Random periodic frames with features."""
    rng = np.random.default_rng(seed)
    return Configurations(
        numbers=np.full(n_atoms, 18),
        positions=rng.normal(size=(n_frames, n_atoms, 3)),
        cells=np.repeat(9 * np.eye(3)[None], n_frames, axis=0),
        energies=rng.normal(size=n_frames),
        features=rng.normal(size=(n_frames, n_atoms, FEATURES)),
        origin={origin: np.arange(n_frames), **extra},
    )


def clusters(
    seed: int, n_molecules: int, *, orbit: str | None = None, n_frames: int = 12, origin: str = "md_step"
) -> ClusterSet:
    """Random clusters of argon with features."""
    finite = frames(seed, n_frames, n_molecules, origin=origin).with_(cells=None)
    members = np.arange(n_molecules)
    return ClusterSet(Cluster(f"n={n_molecules}", members, np.zeros((n_molecules, 3), int), 0, orbit, 1), finite)


def mixed() -> dict[str, Configurations | ClusterSet]:
    """Molecular dynamics and phonons, crystal and clusters, two orbits of dimers."""
    return {
        "md_frames": frames(1),
        "md_n_2": clusters(2, 2, orbit="aa"),
        "md_n_2_c_2": clusters(3, 2, orbit="bb", n_frames=5),
        "phonon_n_2": clusters(4, 2, orbit="aa", origin="mode"),
        "phonon_n_3": clusters(5, 3, orbit="cc", origin="mode", n_frames=30),
    }


def wanted(n_frames: int, **changes) -> Subsampling:
    return Subsampling(n_frames=n_frames, **changes)


# Selection in feature space


def farthest_by_brute_force(points: np.ndarray, count: int) -> list[int]:
    """From the one nearest to the mean: always the point whose nearest picked point is farthest."""
    center = points.mean(axis=0)
    picked = [min(range(len(points)), key=lambda i: float(np.linalg.norm(points[i] - center)))]
    while len(picked) < count:
        reach = {
            i: min(float(np.linalg.norm(points[i] - points[j])) for j in picked)
            for i in range(len(points))
            if i not in picked
        }
        picked.append(max(reach, key=lambda i: reach[i]))
    return picked


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, *range(3, 31)]), data=st.data())  # 2 are equally far
def test_farthest_points_equal_brute_force(seed, n, data):
    count = data.draw(st.integers(1, n))
    points = np.random.default_rng(seed).normal(size=(n, 3))
    found = farthest_points(points, count)
    assert [point for point, _ in found] == farthest_by_brute_force(points, count)
    for i, (point, distance) in enumerate(found[1:], start=1):
        earlier = points[[p for p, _ in found[:i]]]
        assert distance == pytest.approx(np.linalg.norm(earlier - points[point], axis=1).min())
    assert np.isnan(found[0][1])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_farthest_points_do_not_depend_on_the_order_of_the_points(seed):
    rng = np.random.default_rng(seed)
    points, order = rng.normal(size=(25, 3)), rng.permutation(25)
    first = [point for point, _ in farthest_points(points, 8)]
    second = [int(order[point]) for point, _ in farthest_points(points[order], 8)]
    assert first == second


def test_farthest_points_of_equal_vectors_are_distinct():
    assert sorted(point for point, _ in farthest_points(np.zeros((5, 2)), 5)) == [0, 1, 2, 3, 4]


def test_farthest_points_continue_from_earlier_ones():
    points = np.array([[0.0], [1.0], [5.0], [9.0]])
    assert farthest_points(points, 2, [0]) == [(3, 9.0), (2, 4.0)]


def test_farthest_points_cover_better_than_chance():
    """Two-approximation of the k-centre problem (Gonzalez): no random choice covers better than half its radius."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 3))

    def radius(chosen) -> float:
        return float(np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(axis=1).max())

    own = radius([point for point, _ in farthest_points(points, 10)])
    by_chance = [radius(rng.choice(200, 10, replace=False)) for _ in range(200)]
    assert own <= 2 * min(by_chance)
    assert own < np.median(by_chance)


def test_k_means_finds_separated_groups():
    """One point of each of five tight groups, and the one in their middle."""
    rng = np.random.default_rng(1)
    centers = np.array([[0, 0], [10, 0], [0, 10], [10, 10], [5, 20]], dtype=float)
    points = np.concatenate([center + rng.uniform(-1, 1, (20, 2)) for center in centers])
    found = k_means(points, 5, np.random.default_rng(3))
    assert sorted(point // 20 for point in found) == [0, 1, 2, 3, 4]
    for point in found:
        group = points[point // 20 * 20 : point // 20 * 20 + 20]
        assert point % 20 == np.linalg.norm(group - group.mean(axis=0), axis=1).argmin()


def test_k_means_of_fewer_distinct_vectors_than_clusters_gives_what_there_is():
    points = np.repeat([[0.0], [1.0]], 4, axis=0)
    assert len(k_means(points, 5, np.random.default_rng(0))) == 2
    sets = {"frames": frames(1, 8).with_(features=np.repeat(points[:, None], 3, axis=1))}
    assert len(pick_frames(sets, wanted(5, method="k_means", random_share=0.0)).rows) == 5


# Shares of strata


@settings(max_examples=200, deadline=None)
@given(capacities=st.lists(st.integers(0, 20), min_size=1, max_size=8), equal=st.booleans(), data=st.data())
def test_apportioned_shares_add_up_and_fit(capacities, equal, data):
    total = data.draw(st.integers(0, sum(capacities)))
    sizes = np.array(capacities)
    shares = apportion(total, np.ones(len(sizes)) if equal else np.maximum(sizes, 1e-9), sizes)
    assert shares.sum() == total
    assert (shares >= 0).all()
    assert (shares <= sizes).all()
    if equal:
        below = shares < sizes
        # whoever is not used up has as many as any other, but for the remainder
        assert not below.any() or shares.max() - shares[below].min() <= 1
    else:
        assert np.abs(shares - total * sizes / max(sizes.sum(), 1)).max() < 1 + 1e-9


def test_equal_shares_of_unequal_strata():
    assert apportion(20, np.ones(3), np.array([3, 100, 50])).tolist() == [3, 9, 8]
    assert apportion(2, np.ones(3), np.array([3, 100, 50])).tolist() == [0, 1, 1]


# Picks


METHODS = ("farthest_point", "k_means", "random")


@settings(max_examples=60, deadline=None)
@given(
    n_frames=st.integers(1, 71),
    method=st.sampled_from(METHODS),
    share=st.floats(0, 1),
    allocation=st.sampled_from(["equal", "proportional"]),
    seed=st.integers(0, 9),
)
def test_exactly_as_many_distinct_frames_as_asked_for(n_frames, method, share, allocation, seed):
    sets = mixed()
    asked = wanted(n_frames, method=method, random_share=share, allocation=allocation, rng_seed=seed)
    kept, picks = subsample(sets, asked)
    assert len(picks.rows) == n_frames
    assert len(set(zip(picks.names.tolist(), picks.rows.tolist(), strict=True))) == n_frames
    ranks = []
    for name, value in kept.items():
        configurations = value.configurations if isinstance(value, ClusterSet) else value
        source = sets[name].configurations if isinstance(value, ClusterSet) else sets[name]
        rows = picks.rows[configurations.origin["pick_rank"]]
        np.testing.assert_array_equal(configurations.positions, source.positions[rows])
        np.testing.assert_array_equal(configurations.features, source.features[rows])
        np.testing.assert_array_equal(configurations.origin["pick_reason"], picks.reasons[picks.names == name][
            np.argsort(picks.rows[picks.names == name])
        ])  # fmt: skip
        ranks += configurations.origin["pick_rank"].tolist()
    assert sorted(ranks) == list(range(n_frames))
    n_random = n_frames if method == "random" else round(share * n_frames)
    assert (picks.reasons == "random").sum() == n_random


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_picks(method):
    asked = wanted(30, method=method, random_share=0.3, rng_seed=5)
    first, second = pick_frames(mixed(), asked), pick_frames(mixed(), asked)
    np.testing.assert_array_equal(first.names, second.names)
    np.testing.assert_array_equal(first.rows, second.rows)
    other = pick_frames(mixed(), asked.model_copy(update={"rng_seed": 6}))
    assert first.rows.tolist() != other.rows.tolist()


def test_strata_get_equal_shares_as_far_as_they_reach():
    """Five strata: crystal of MD, two orbits of MD dimers of which one has five frames, phonon dimers and trimers."""
    picks = pick_frames(mixed(), wanted(41))
    assert Counter(picks.names.tolist()) == {
        "md_frames": 9, "md_n_2": 9, "md_n_2_c_2": 5, "phonon_n_2": 9, "phonon_n_3": 9
    }  # fmt: skip
    assert picks.available == {
        "molecular dynamics, crystal": 12,
        "molecular dynamics, 2 molecules, orbit aa": 12,
        "molecular dynamics, 2 molecules, orbit bb": 5,
        "phonons, 2 molecules, orbit aa": 12,
        "phonons, 3 molecules, orbit cc": 30,
    }


def test_strata_get_proportional_shares():
    counts = Counter(pick_frames(mixed(), wanted(71 - 36, allocation="proportional")).names.tolist())
    available = {"md_frames": 12, "md_n_2": 12, "md_n_2_c_2": 5, "phonon_n_2": 12, "phonon_n_3": 30}
    assert all(abs(counts[name] - 35 * n / 71) <= 1 for name, n in available.items())


@pytest.mark.parametrize(
    ("traits", "n_strata"),
    [((), 1), (("source",), 2), (("size",), 3), (("orbit",), 4), (("source", "orbit"), 5), (("temperature",), 1)],
)
def test_strata_differ_in_what_was_asked_for(traits, n_strata):
    assert len(pick_frames(mixed(), wanted(20, stratify_by=traits)).available) == n_strata


def test_temperatures_come_from_the_settings_or_from_the_frames():
    hot = frames(7, temperature_K=np.full(12, 300.0))
    sets = {"a": frames(1), "b": frames(2), "c": frames(3), "d": hot}
    asked = wanted(16, stratify_by=["temperature"], temperatures_K={"a": 100.0, "b": 300.0})
    assert pick_frames(sets, asked).available == {"all": 12, "T = 100.00 K": 12, "T = 300.00 K": 24}


def test_any_first_part_of_the_ranks_is_balanced():
    picks = pick_frames(mixed(), wanted(25, random_share=0.0))
    for n in (5, 10, 15, 20, 25):
        counts = Counter(picks.strata[:n].tolist())
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_pick_has_its_reason_and_its_distance():
    """Farthest points first, each with its distance to those before; then chance."""
    sets = {"frames": frames(1, 20)}
    picks = pick_frames(sets, wanted(10, random_share=0.2))
    assert picks.reasons.tolist() == ["center"] + ["farthest_point"] * 7 + ["random"] * 2
    vectors = mean_features(sets)
    for i in range(1, 10):
        earlier = np.linalg.norm(vectors[picks.rows[:i]] - vectors[picks.rows[i]], axis=1).min()
        assert picks.distances[i] == pytest.approx(earlier)
    assert np.isnan(picks.distances[0])
    assert picks.rows[:8].tolist() == farthest_by_brute_force(vectors, 8)


def test_vectors_are_means_over_atoms():
    sets = {"a": frames(1, n_atoms=3), "b": clusters(2, 2)}
    by_hand = [f.mean(axis=0) for f in sets["a"].features] + [f.mean(axis=0) for f in sets["b"].configurations.features]
    np.testing.assert_allclose(mean_features(sets), by_hand)


def test_repeated_frames_count_once():
    """A trajectory along a mode that comes back to where it was, and a set given under two names."""
    once = frames(1, 10)
    again = once.with_(positions=once.positions + 1e-12)
    twice = Configurations.concatenate([once, again])
    picks = pick_frames({"a": twice, "b": once}, wanted(10))
    assert (picks.n_repeated, sum(picks.available.values())) == (20, 10)
    assert sorted(zip(picks.names.tolist(), picks.rows.tolist(), strict=True)) == [("a", row) for row in range(10)]
    with pytest.raises(NotEnoughFrames, match=r"n_frames = 11, but the 2 sets hold 10 distinct .*20 more repeat"):
        pick_frames({"a": twice, "b": once}, wanted(11))


@pytest.mark.parametrize("method", METHODS)
def test_frames_in_blocks_and_vectors_in_files_give_the_same_picks(method, monkeypatch):
    sets = mixed() | {"again": frames(1, 5)}
    expected = pick_frames(sets, wanted(20, method=method))
    monkeypatch.setattr(configurations, "BLOCK_BYTES", 200)
    monkeypatch.setattr(choice, "BLOCK_BYTES", 200)
    monkeypatch.setattr(choice, "VECTORS_AT_ONCE", 3)
    monkeypatch.setattr(feature_selection, "POINTS_AT_ONCE", 3)
    monkeypatch.setattr(growing_array, "LARGE_BYTES", 100)
    found = pick_frames(sets, wanted(20, method=method))
    for name, values in expected.columns().items():
        np.testing.assert_array_equal(found.columns()[name], values)
    assert found.n_repeated == expected.n_repeated


def test_frames_a_little_apart_are_distinct():
    once = frames(1, 10)
    moved = once.positions.copy()
    moved[:, 0, 0] += 1e-5
    cells = once.cells * (1 + 1e-6)
    sets = {"a": once, "b": once.with_(positions=moved), "c": once.with_(cells=cells), "d": clusters(1, 3, n_frames=10)}
    assert sum(pick_frames(sets, wanted(1)).available.values()) == 40


def test_more_frames_than_there_are_is_refused():
    with pytest.raises(NotEnoughFrames, match="n_frames = 72, but the 5 sets hold 71 distinct frames: ask for fewer"):
        subsample(mixed(), wanted(72))
    assert len(subsample(mixed(), wanted(71))[1].rows) == 71
    with pytest.raises(NotEnoughFrames):
        subsample({}, wanted(1))


def test_frames_without_features_are_refused_by_name_and_remedy():
    sets = mixed() | {"bare": frames(9).with_(features=None)}
    with pytest.raises(FeaturesMissing, match=r"bare have no feature vectors: label .*Inference.features = 'all'"):
        subsample(sets, wanted(5))
    assert len(subsample(sets, wanted(5, method="random"))[1].rows) == 5


def test_features_of_two_models_are_refused():
    other = frames(9)
    sets = {"a": frames(1), "b": other.with_(features=other.features[..., :2])}
    with pytest.raises(FeaturesMissing, match="different lengths \\(a: 4, b: 2\\)"):
        subsample(sets, wanted(5))


def test_features_that_are_no_numbers_are_refused():
    broken = frames(9)
    broken.features[3, 1, 2] = np.nan
    with pytest.raises(FeaturesMissing, match="b hold NaN"):
        subsample({"a": frames(1), "b": broken}, wanted(5))


def test_temperatures_of_unknown_sets_are_refused():
    with pytest.raises(InvalidSettings, match=r"temperatures_K names md, the sets are a"):
        subsample({"a": frames(1)}, wanted(5, temperatures_K={"md": 300.0}))


def test_sets_without_picks_are_left_out():
    kept, _ = subsample({"a": frames(1, 30), "b": frames(2, 1)}, wanted(1, stratify_by=[], random_share=0.0))
    assert len(kept) == 1


def test_summary_says_what_was_there_and_what_was_picked():
    summary = pick_frames(mixed(), wanted(10, random_share=0.2)).summary()
    assert (summary["n_picked"], summary["n_available"], summary["n_repeated"]) == (10, 71, 0)
    assert summary["reasons"] == {"center": 5, "farthest_point": 3, "random": 2}
    assert summary["strata"]["phonons, 3 molecules, orbit cc"] == {"available": 30, "picked": 2}


def test_farthest_points_are_found_without_an_array_of_all_differences():
    features = np.random.default_rng(0).normal(size=(10_000, 200))
    tracemalloc.start()
    picked = farthest_points(features, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.4 * features.nbytes
    [first, second, third] = [point for point, _ in picked]
    assert first == np.linalg.norm(features - features.mean(axis=0), axis=1).argmin()
    nearest = np.linalg.norm(features - features[first], axis=1)
    assert second == nearest.argmax()
    assert third == np.minimum(nearest, np.linalg.norm(features - features[second], axis=1)).argmax()
