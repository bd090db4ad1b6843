"""Selection of a given number of frames, diverse in feature space and balanced over strata.

Feature vectors are per atom; a configuration's is their mean, which compares configurations of different sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_mbetrain.errors import FeaturesMissing, InvalidSettings, NotEnoughFrames
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import BLOCK_BYTES, AnyArray, FeatureArray, FloatArray, IntArray
from aiida_mbetrain.science.io import GrowingArray, join_rows
from aiida_mbetrain.science.subsampling.duplicate_frames import first_occurrences
from aiida_mbetrain.science.subsampling.feature_selection import farthest_points, k_means
from aiida_mbetrain.science.subsampling.stratification import FrameSet, apportion, configurations_of, strata_of_frames
from aiida_mbetrain.settings import Subsampling

VECTORS_AT_ONCE = 1024
CENTER, FARTHEST, K_MEANS, RANDOM = "center", "farthest_point", "k_means", "random"
"""Reasons for a pick: nearest to the stratum's mean, farthest from earlier picks, nearest to a centre, by chance."""


@dataclass(frozen=True, eq=False)
class Picks:
    """n picks in the order of their rank: any first part of them is as balanced over the strata as it can be.

    names: name of the set, (n,).  rows: row within the set, (n,).  strata: what the stratum is, (n,).
    reasons: (n,).  distances: in feature space to the nearest earlier pick of the stratum, (n,); NaN for the first
    and without features.  available: distinct frames in each stratum.  n_repeated: frames left out because they
    repeat another one.
    """

    names: NDArray[np.str_]
    rows: IntArray
    strata: NDArray[np.str_]
    reasons: NDArray[np.str_]
    distances: FloatArray
    available: Mapping[str, int]
    n_repeated: int

    def columns(self) -> dict[str, AnyArray]:
        """One row per pick."""
        return {
            "set": self.names,
            "row": self.rows,
            "stratum": self.strata,
            "reason": self.reasons,
            "feature_distance": self.distances,
        }

    def summary(self) -> dict[str, object]:
        """Numbers of available and picked frames, in all, by stratum and by reason."""
        counts = {str(name): int(n) for name, n in zip(*np.unique(self.strata, return_counts=True), strict=True)}
        reasons = {str(name): int(n) for name, n in zip(*np.unique(self.reasons, return_counts=True), strict=True)}
        return {
            "n_picked": len(self.rows),
            "n_available": sum(self.available.values()),
            "n_repeated": self.n_repeated,
            "reasons": reasons,
            "strata": {
                name: {"available": n, "picked": counts.get(name, 0)} for name, n in sorted(self.available.items())
            },
        }


def subsample(sets: Mapping[str, FrameSet], settings: Subsampling) -> tuple[dict[str, FrameSet], Picks]:
    """Exactly ``n_frames`` distinct frames of the sets, the same for the same seed.

    Returns the sets restricted to their picks in the order of the frames, those without any left out, with
    ``pick_rank`` (from 0) and ``pick_reason`` in their origin; and the picks.
    Raises NotEnoughFrames, FeaturesMissing (not for ``method = "random"``), InvalidSettings for unknown sets.
    """
    picks = pick_frames(sets, settings)
    return {name: kept for name, value in sets.items() if (kept := _restricted(name, value, picks)) is not None}, picks


def pick_frames(sets: Mapping[str, FrameSet], settings: Subsampling) -> Picks:
    """The picks alone; see :func:`subsample`."""
    unknown = sorted(set(settings.temperatures_K) - set(sets))
    if unknown:
        raise InvalidSettings(
            f"Subsampling.temperatures_K names {', '.join(unknown)}, the sets are {', '.join(sets) or 'none'}."
        )
    candidates = _candidates(sets, settings)
    strata, members = candidates.strata, candidates.members
    sizes = np.bincount(members)
    quotas, by_chance = _quotas(sizes, settings)
    rng = np.random.default_rng(settings.rng_seed)
    chosen: list[tuple[int, int, int, str, float]] = []
    for stratum in range(len(strata)):
        own = np.flatnonzero(members == stratum)
        vectors = None if candidates.features is None else _rows(candidates.features, candidates.places[own])
        n_random = int(by_chance[stratum])
        picked = _pick(vectors, len(own), int(quotas[stratum]) - n_random, n_random, settings, rng)
        chosen += [(turn, stratum, int(own[i]), reason, d) for turn, (i, reason, d) in enumerate(picked)]
    chosen.sort()
    frames = np.array([frame for _, _, frame, _, _ in chosen])
    return Picks(
        names=np.array(list(sets))[candidates.sets[frames]],
        rows=candidates.rows[frames],
        strata=strata[members[frames]],
        reasons=np.array([reason for *_, reason, _ in chosen]),
        distances=np.array([distance for *_, distance in chosen]),
        available={str(name): int(n) for name, n in zip(strata, sizes, strict=True)},
        n_repeated=candidates.n_repeated,
    )


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The distinct frames of all sets.

    sets: number of the set, (n,).  rows: row within the set, (n,).  strata: names.  members: stratum by number, (n,).
    places: of each among the frames of all sets, (n,).  features: a vector for each of those, None where not needed.
    """

    sets: IntArray
    rows: IntArray
    strata: NDArray[np.str_]
    members: IntArray
    places: IntArray
    features: FloatArray | None
    n_repeated: int


def _candidates(sets: Mapping[str, FrameSet], settings: Subsampling) -> _Candidates:
    counts = [configurations_of(value).n_frames for value in sets.values()]
    first = first_occurrences([configurations_of(value) for value in sets.values()])
    repeated = sum(counts) - len(first)
    if settings.n_frames > len(first):
        raise NotEnoughFrames(
            f"n_frames = {settings.n_frames}, but the {len(sets)} sets hold {len(first)} distinct frames"
            + (f" ({repeated} more repeat others)" if repeated else "")
            + ": ask for fewer or give more sets."
        )
    names, members = strata_of_frames(sets, settings)
    present, members = np.unique(members[first], return_inverse=True)
    return _Candidates(
        sets=np.repeat(np.arange(len(counts)), counts)[first],
        rows=np.concatenate([np.arange(n, dtype=np.int64) for n in counts])[first],
        strata=names[present],
        members=members,
        places=first,
        features=None if settings.method == RANDOM else mean_features(sets),
        n_repeated=repeated,
    )


def mean_features(sets: Mapping[str, FrameSet]) -> FloatArray:
    """One vector per frame of all sets one after another, the mean over atoms, (F, D).

    Many of them lie in a file, and are read-only.  Raises FeaturesMissing.
    """
    found_in = {name: configurations_of(value).features for name, value in sets.items()}
    parts = {name: part for name, part in found_in.items() if part is not None}
    missing = [name for name in found_in if name not in parts]
    if missing:
        raise FeaturesMissing(
            f"{', '.join(missing)} have no feature vectors: label them with a MACE model and Inference.features = "
            "'all' (periodic frames and clusters) or 'clusters', or take method = 'random'."
        )
    lengths = {name: np.shape(part)[-1] for name, part in parts.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise FeaturesMissing(f"The feature vectors have different lengths ({shown}): label all sets with one model.")
    found, broken = GrowingArray(), set()
    for name, part in parts.items():
        for block in _blocks(part):
            vectors = block.mean(axis=1, dtype=np.float64)
            found.append(vectors)
            broken |= set() if np.isfinite(vectors).all() else {name}
    if broken:
        shown = ", ".join(name for name in parts if name in broken)
        raise FeaturesMissing(f"The feature vectors of {shown} hold NaN or infinity: label them again.")
    return found.array()


def _rows(vectors: FloatArray, rows: IntArray) -> FloatArray:
    """Some of the vectors; many of them lie in a file."""
    starts = range(0, max(1, len(rows)), VECTORS_AT_ONCE)
    return join_rows(vectors[rows[start : start + VECTORS_AT_ONCE]] for start in starts)


def _blocks(features: FeatureArray) -> Iterator[FeatureArray]:
    """Features of some frames each, (f, N, D)."""
    step = max(1, BLOCK_BYTES // max(1, features[:1].nbytes))
    for start in range(0, max(1, len(features)), step):
        yield features[start : start + step]


def _quotas(sizes: AnyArray, settings: Subsampling) -> tuple[IntArray, IntArray]:
    """Picks of each stratum, and how many of them are random."""
    weights = np.ones(len(sizes)) if settings.allocation == "equal" else sizes
    quotas = apportion(settings.n_frames, weights, sizes)
    share = 1.0 if settings.method == RANDOM else settings.random_share
    return quotas, apportion(round(share * settings.n_frames), np.maximum(quotas, 1e-9), quotas)


def _pick(
    features: FloatArray | None,
    n_points: int,
    n_chosen: int,
    n_random: int,
    settings: Subsampling,
    rng: np.random.Generator,
) -> list[tuple[int, str, float]]:
    """Points of one stratum with reason and distance: first by the method, then by chance."""
    picked: list[tuple[int, str, float]] = []
    if features is not None and n_chosen:
        if settings.method == K_MEANS:
            picked += _with_distances(k_means(features, n_chosen, rng), K_MEANS, features, [])
        further = farthest_points(features, n_chosen - len(picked), [point for point, *_ in picked])
        picked += [(point, CENTER if np.isnan(distance) else FARTHEST, distance) for point, distance in further]
    left = np.setdiff1d(np.arange(n_points), [point for point, *_ in picked])
    drawn = [int(point) for point in rng.choice(left, n_random, replace=False)]
    return picked + _with_distances(drawn, RANDOM, features, [point for point, *_ in picked])


def _with_distances(
    points: list[int], reason: str, features: FloatArray | None, before: list[int]
) -> list[tuple[int, str, float]]:
    """The points with their distances to those before them."""
    if features is None:
        return [(point, reason, np.nan) for point in points]
    earlier = [*before, *points]
    reach = [
        cdist(features[[point]], features[earlier[: len(before) + i]]).min() if before or i else np.nan
        for i, point in enumerate(points)
    ]
    return [(point, reason, float(distance)) for point, distance in zip(points, reach, strict=True)]


def _restricted(name: str, value: FrameSet, picks: Picks) -> FrameSet | None:
    ranks = np.flatnonzero(picks.names == name)
    if not len(ranks):
        return None
    ranks = ranks[np.argsort(picks.rows[ranks])]
    kept = configurations_of(value).select(picks.rows[ranks])
    kept = kept.with_(origin={**kept.origin, "pick_rank": ranks, "pick_reason": picks.reasons[ranks]})
    return replace(value, configurations=kept) if isinstance(value, ClusterSet) else kept
