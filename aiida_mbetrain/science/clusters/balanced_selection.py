"""Further clusters of a size: around many central molecules, balanced over symmetry orbits and distances.

One nested cluster per size always contains the same few neighbours.  Neighbours drawn at random would be mostly
distant ones, whose number grows with the square of the distance, and the clusters mostly of low symmetry, whose
orbits are the largest.  Proposals are therefore drawn first and then chosen one by one, always from the orbit, the
range of distances and the central molecule that have been chosen least.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from aiida_mbetrain.science.clusters.neighbours import MEASURES, nearest_neighbors, neighbors_within
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry
from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.science.crystal import EQUAL_DISTANCE, Images
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.settings import FiniteSubsystemFilter

ALL_PROPOSALS, SOME_PROPOSALS = 400, 60
"""Numbers of proposals around the first central molecule of each symmetry class and around any further one.

400 is above the 18 dimers and 153 trimers of the default candidates, so that all of their orbits are found.
"""

DISTANCE_RANGES = 6
"""Number of equally likely ranges of distance between the nearest and the farthest candidate."""

MAX_CENTERS = 24
"""Number of central molecules for the proposals of one size."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """A cluster that may be chosen.

    members: the central molecule first, then by distance.  orbit: its id.  extent: distance of the farthest
    member, Å.
    """

    members: Images
    orbit: str
    extent: float

    @property
    def identity(self) -> tuple[tuple[int, ...], ...]:
        """Equal for two clusters of the same molecules up to a lattice translation: they hold the same frames."""
        rows = np.column_stack([self.members.indices, self.members.translations])
        rows[:, 1:] -= rows[:, 1:].min(axis=0)
        return tuple(sorted(map(tuple, rows.tolist())))


def further_clusters(
    crystal: MolecularCrystal, symmetry: MoleculeSymmetry, rule: FiniteSubsystemFilter, size: float, first: Images
) -> list[Images]:
    """Up to ``clusters_per_size - 1`` clusters of a number of molecules or a distance, all different from ``first``.

    size: the number of molecules, or the cutoff (Å) of a rule that measures.  Deterministic by ``rng_seed``.
    Fewer than asked for where the crystal has no more: molecules of the supercell for monomers and for distances,
    orbits with ``unique_only``.
    """
    if rule.clusters_per_size == 1:
        return []
    rng = np.random.default_rng([rule.rng_seed, round(1e6 * size)])
    proposals = _proposals(symmetry, [first])
    n_classes = len(np.unique(symmetry.classes))
    for turn, center in enumerate(_centers(symmetry, rng, rule.clusters_per_size - 1)):
        if rule.counts_molecules:
            count = ALL_PROPOSALS if turn < n_classes else SOME_PROPOSALS
            proposals += _proposals(symmetry, _subsets(crystal, center, rule, int(size), count, rng))
        else:
            proposals += _proposals(symmetry, [_around(crystal, center, rule, size)])
    return [chosen.members for chosen in _balanced(proposals, rule, rng)]


def _proposals(symmetry: MoleculeSymmetry, clusters: list[Images]) -> list[Proposal]:
    """Clusters of one size with their orbits."""
    orbits = symmetry.orbits(
        np.array([members.indices for members in clusters]), np.array([members.translations for members in clusters])
    )
    return [
        Proposal(members, orbit.id, float(members.distances.max()))
        for members, orbit in zip(clusters, orbits, strict=True)
    ]


def _centers(symmetry: MoleculeSymmetry, rng: np.random.Generator, count: int) -> IntArray:
    """Central molecules in random order, the symmetry classes by turns; no molecule twice."""
    classes = symmetry.classes
    shuffled = rng.permutation(len(classes))
    turn = np.empty(len(classes), dtype=np.int64)
    for kind in np.unique(classes):
        own = shuffled[classes[shuffled] == kind]
        turn[own] = np.arange(len(own))
    by_turns = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.asarray(by_turns[: max(min(count + 1, MAX_CENTERS), len(np.unique(classes)))])


def _around(crystal: MolecularCrystal, center: int, rule: FiniteSubsystemFilter, cutoff: float) -> Images:
    """All molecules within the cutoff of a central one."""
    return with_center(center, neighbors_within(crystal, center, cutoff, measure=MEASURES[rule.selection_rule]))


def _subsets(
    crystal: MolecularCrystal,
    center: int,
    rule: FiniteSubsystemFilter,
    n_molecules: int,
    count: int,
    rng: np.random.Generator,
) -> list[Images]:
    """The central molecule and n - 1 of its nearest: every choice where there are up to ``count``, else random ones.

    A random member is drawn by its distance first, evenly between the nearest and the farthest candidate.
    """
    measure = MEASURES.get(rule.selection_rule, "center_of_mass")
    n_others = n_molecules - 1
    near = nearest_neighbors(crystal, center, max(rule.n_candidates, n_others), measure=measure, whole_shells=True)
    if comb(len(near), n_others) <= count:
        choices = [np.array(choice, dtype=np.int64) for choice in combinations(range(len(near)), n_others)]
    else:
        weights = _even_in_distance(near)
        choices = [np.sort(rng.choice(len(near), n_others, replace=False, p=weights)) for _ in range(count)]
    return [with_center(center, near.select(choice)) for choice in choices]


def _even_in_distance(images: Images) -> FloatArray:
    """Probability of each image such that equal ranges of distance are equally likely, (K,)."""
    weights = 1.0 / np.bincount(ranges := _ranges(images.distances, DISTANCE_RANGES))[ranges]
    return np.asarray(weights / weights.sum())


def _balanced(proposals: list[Proposal], rule: FiniteSubsystemFilter, rng: np.random.Generator) -> Iterator[Proposal]:
    """After the first choose by turns what was chosen least: by orbit, range of distances, central molecule."""
    traits = _Traits.of(proposals, rule.clusters_per_size)
    luck = rng.permutation(len(traits.orbits))
    uses = [np.zeros(column.max() + 1, dtype=np.int64) for column in traits.columns]
    allowed = np.ones(len(luck), dtype=bool)
    chosen = 0
    for _ in range(rule.clusters_per_size):
        for counts, column in zip(uses, traits.columns, strict=True):
            counts[column[chosen]] += 1
        allowed &= traits.identities != traits.identities[chosen]
        if rule.unique_only:
            allowed &= traits.orbits != traits.orbits[chosen]
        if chosen:
            yield proposals[chosen]
        if not allowed.any():
            return
        used = [counts[column] for counts, column in zip(uses, traits.columns, strict=True)]
        order = np.lexsort((luck, *used[::-1], ~allowed))
        chosen = int(order[0])


@dataclass(frozen=True, eq=False)
class _Traits:
    """Balanced properties of proposals, as integers: orbit, range of extents, central molecule; and identity."""

    orbits: IntArray
    ranges: IntArray
    centers: IntArray
    identities: IntArray

    @classmethod
    def of(cls, proposals: list[Proposal], n_ranges: int) -> _Traits:
        identities = {identity: i for i, identity in enumerate({p.identity: None for p in proposals})}
        return cls(
            orbits=np.unique([proposal.orbit for proposal in proposals], return_inverse=True)[1],
            ranges=_ranges(np.array([proposal.extent for proposal in proposals]), n_ranges),
            centers=np.array([proposal.members.indices[0] for proposal in proposals]),
            identities=np.array([identities[proposal.identity] for proposal in proposals]),
        )

    @property
    def columns(self) -> tuple[IntArray, IntArray, IntArray]:
        """In the order of their weight."""
        return self.orbits, self.ranges, self.centers


def _ranges(distances: FloatArray, count: int) -> IntArray:
    """The one of ``count`` equal ranges between the smallest and the largest that each distance lies in, (K,)."""
    width = max(float(np.ptp(distances)), EQUAL_DISTANCE) / count
    # a hair above each edge, so that rounding errors move no shell across it
    ranges: IntArray = np.minimum(np.floor((distances - distances.min()) / width + 1e-4), count - 1).astype(np.int64)
    return ranges


def with_center(molecule: int, images: Images) -> Images:
    """A central molecule of the reference cell, then the images."""
    return Images(
        np.concatenate([[molecule], images.indices]),
        np.concatenate([np.zeros((1, 3), dtype=np.int64), images.translations]),
        np.concatenate([[0.0], images.distances]),
    )
