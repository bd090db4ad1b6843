"""No relative of a training frame is validated or tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dataset_examples import full_dataset, md_section, molecular_crystal, phonon_section, random_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_mbetrain.datasets.model import Dataset, Molecules, PhononSection
from aiida_mbetrain.datasets.training import Split, entries_of
from aiida_mbetrain.datasets.training.frames import Lineage
from aiida_mbetrain.datasets.training.splits import LEFT_OUT, split_entries, subset_of_units
from aiida_mbetrain.errors import InvalidSettings


def trajectory(n: int, key: str = "md") -> Lineage:
    return Lineage(key, n, np.arange(n), ordered=True)


def modes(n: int) -> Lineage:
    return Lineage("phonons", n, np.arange(n), ordered=False)


def test_fractions_of_a_long_trajectory_are_kept() -> None:
    subsets = subset_of_units(trajectory(1000), Split((0.7, 0.2, 0.1)))
    assert [np.count_nonzero(subsets == i) for i in (1, 2)] == pytest.approx([200, 100], abs=2)
    assert np.count_nonzero(subsets == LEFT_OUT) <= 8  # one frame per seam


def test_fractions_of_modes_are_kept_exactly() -> None:
    assert np.bincount(subset_of_units(modes(50), Split())).tolist() == [40, 5, 5]


@given(
    n=st.integers(1, 200),
    gap=st.integers(0, 6),
    block=st.one_of(st.none(), st.integers(1, 50)),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=200, deadline=None)
def test_neighbours_in_time_are_never_in_two_sets(n: int, gap: int, block: int | None, seed: int) -> None:
    subsets = subset_of_units(trajectory(n), Split((0.6, 0.2, 0.2), seed=seed, block=block, gap=gap))
    assert len(subsets) == n
    for i in range(n):
        for j in range(i + 1, min(n, i + gap + 1)):
            assert LEFT_OUT in (subsets[i], subsets[j]) or subsets[i] == subsets[j]


@given(n=st.integers(3, 100), valid=st.floats(0.01, 0.3), test=st.floats(0.01, 0.3))
@settings(max_examples=100, deadline=None)
def test_every_wanted_set_gets_something(n: int, valid: float, test: float) -> None:
    subsets = subset_of_units(modes(n), Split((1 - valid - test, valid, test)))
    assert set(subsets.tolist()) == {0, 1, 2}


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    first, again, other = (subset_of_units(modes(60), Split(seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_two_trajectories_are_cut_in_different_places() -> None:
    a, b = (subset_of_units(trajectory(500, key), Split()) for key in ("T=100", "T=200"))
    assert not np.array_equal(a, b)


def shares_by_parent(dataset: Dataset, split: Split, **choice: object) -> dict[tuple[str, int], set[int]]:
    entries = entries_of(dataset, **choice)  # type: ignore[arg-type]
    found: dict[tuple[str, int], set[int]] = {}
    for entry, share in zip(entries, split_entries(entries, split), strict=True):
        for parent, subset in zip(entry.parents, share, strict=True):
            found.setdefault((entry.lineage.key, int(parent)), set()).add(int(subset))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_nested_clusters_and_their_crystal_stay_together(seed: int) -> None:
    found = shares_by_parent(full_dataset(), Split(seed=seed, gap=0))
    assert len(found) == 10  # four MD frames, six phonon frames
    assert all(len(subsets) == 1 for subsets in found.values())


def test_frames_of_one_mode_stay_together() -> None:
    entries = entries_of(Dataset((phonon_section(np.random.default_rng(1)),)), sources=["phonons"])
    for share in split_entries(entries, Split((0.34, 0.33, 0.33))):
        assert len(share) == 6
        assert np.array_equal(share[::2], share[1::2])  # two frames of each of three modes
        assert set(share.tolist()) == {0, 1, 2}


def test_the_split_of_a_frame_does_not_depend_on_what_else_is_exported() -> None:
    everything = shares_by_parent(full_dataset(), Split(gap=0))
    split = Split((0.8, 0.1, 0.1), gap=0)
    entries = entries_of(full_dataset(), sources=["md"], sizes=[2])
    for entry, share in zip(entries, split_entries(entries, split), strict=True):
        for parent, subset in zip(entry.parents, share, strict=True):
            assert everything[entry.lineage.key, int(parent)] == {int(subset)}


def test_clusters_without_some_broken_frames_follow_their_parents() -> None:
    """The frame index of a cluster set is that of the source frame, not its own."""
    section = md_section(np.random.default_rng(3))
    assert section.molecules is not None
    kept = [0, 1, 3]
    clusters = tuple(
        replace(item, configurations=item.configurations.select(kept)) for item in section.molecules.clusters
    )
    dataset = Dataset((replace(section, molecules=replace(section.molecules, clusters=clusters)),))
    entries = entries_of(dataset)
    shares = dict(zip((e.path.rpartition("/")[2] for e in entries), split_entries(entries, Split(gap=0)), strict=True))
    assert np.array_equal(shares["n=2"], shares["trajectory"][kept])


def test_the_undisplaced_crystal_of_every_mode_enters_once() -> None:
    rng = np.random.default_rng(0)
    section = phonon_section(rng)
    assert section.molecules is not None
    frames = section.molecules.frames
    positions = frames.positions.copy()
    positions[[1, 3, 5]] = positions[0] + 1.0  # the second frame of each mode is the same crystal
    molecules = Molecules(section.molecules.crystal, frames.with_(positions=positions), section.molecules.clusters)
    entries = entries_of(Dataset((replace(section, molecules=molecules),)))
    shares = split_entries(entries, Split((1.0, 0.0, 0.0)))
    assert [share.tolist() for share in shares] == [[0, 0, 0, LEFT_OUT, 0, LEFT_OUT]] * 2


def test_superposed_frames_are_independent_units() -> None:
    """Their phases are drawn anew in every frame: no neighbours to leave out."""
    rng = np.random.default_rng(0)
    section = phonon_section(rng, molecules=False)
    n = 40
    origin = {"q_index": np.full(n, -1), "mode": np.zeros(n, dtype=int)}
    frames = random_frames(
        rng, molecular_crystal(rng).numbers, n, cells=np.repeat(np.eye(3)[None], n, 0), origin=origin
    )
    changed: PhononSection = replace(section, frames=frames)
    (entry,) = entries_of(Dataset((changed,)), sources=["phonons"])
    assert not entry.lineage.ordered
    assert entry.lineage.n_units == n
    (share,) = split_entries([entry], Split())
    assert not np.any(share == LEFT_OUT)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none_are_refused(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidSettings, match="three fractions"):
        Split(fractions)


def test_an_empty_set_is_refused_with_what_to_do() -> None:
    entries = entries_of(Dataset((md_section(np.random.default_rng(0)),)))
    with pytest.raises(InvalidSettings, match="gap = 0"):
        split_entries(entries, Split((0.5, 0.25, 0.25), gap=3))
