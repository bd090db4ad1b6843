"""Further clusters of a size: around many central molecules, balanced over symmetry orbits and distances.

One nested cluster per size shows a model the same few neighbours over and over.  Drawing neighbours at random
would show mostly distant ones, whose number grows with the square of the distance, and mostly clusters of low
symmetry, whose orbits are the largest.  So proposals are drawn first and then chosen one by one, always of what
the choice has least of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.lattice_images import Images
from aiida_mbetrain.science.molecular_crystal import MolecularCrystal
from aiida_mbetrain.science.neighbors import MEASURES, nearest_neighbors, neighbors_within
from aiida_mbetrain.science.orbits import MoleculeSymmetry
from aiida_mbetrain.settings import FiniteSubsystemFilter

PROPOSALS_PER_CENTER = 400
"""Above the 153 trimers and the 18 dimers of the default candidates, which are thus all proposed."""

MAX_CENTERS = 24
"""Central molecules that proposals are made around, for one size."""


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
    centers = _centers(symmetry, rng, rule.clusters_per_size - 1)
    proposals = [
        _proposal(symmetry, members)
        for center in centers
        for members in (
            _subsets(crystal, center, rule, int(size), rng)
            if rule.counts_molecules
            else iter([_around(crystal, center, rule, size)])
        )
    ]
    start = _proposal(symmetry, first)
    return [chosen.members for chosen in _balanced(start, proposals, rule, rng)]


def _proposal(symmetry: MoleculeSymmetry, members: Images) -> Proposal:
    orbit = symmetry.orbit(members.indices, members.translations).id
    return Proposal(members, orbit, float(members.distances.max()))


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
    crystal: MolecularCrystal, center: int, rule: FiniteSubsystemFilter, n_molecules: int, rng: np.random.Generator
) -> Iterator[Images]:
    """The central molecule and n - 1 of its nearest: every choice where there are few, else random ones.

    A random member is drawn by its distance first, evenly between the nearest and the farthest candidate.
    """
    measure = MEASURES.get(rule.selection_rule, "center_of_mass")
    count = max(rule.n_candidates, n_molecules - 1)
    near = nearest_neighbors(crystal, center, count, measure=measure, whole_shells=True)
    if comb(len(near), n_molecules - 1) <= PROPOSALS_PER_CENTER:
        choices = [np.array(choice, dtype=np.int64) for choice in combinations(range(len(near)), n_molecules - 1)]
    else:
        weights = _even_in_distance(near)
        choices = [
            np.sort(rng.choice(len(near), n_molecules - 1, replace=False, p=weights))
            for _ in range(PROPOSALS_PER_CENTER)
        ]
    for choice in choices:
        yield with_center(center, near.select(choice))


def _even_in_distance(images: Images) -> np.ndarray:
    """Probability of each image such that equal ranges of distance are equally likely, (K,)."""
    low, high = images.distances[0], images.distances[-1]
    bins = np.floor(6 * (images.distances - low) / max(high - low, 1e-6) * (1 - 1e-9)).astype(int)
    weights = 1.0 / np.bincount(bins)[bins]
    return np.asarray(weights / weights.sum())


def _balanced(
    start: Proposal, proposals: list[Proposal], rule: FiniteSubsystemFilter, rng: np.random.Generator
) -> Iterator[Proposal]:
    """Choose by turns what was chosen least: by orbit, then range of distances, then central molecule."""
    traits = _Traits.of([start, *proposals], rule.clusters_per_size)
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
            yield proposals[chosen - 1]
        if not allowed.any():
            return
        used = [counts[column] for counts, column in zip(uses, traits.columns, strict=True)]
        order = np.lexsort((luck, *used[::-1], ~allowed))
        chosen = int(order[0])


@dataclass(frozen=True, eq=False)
class _Traits:
    """What proposals are balanced over, as integers: orbit, range of extents, central molecule; and identity."""

    orbits: IntArray
    ranges: IntArray
    centers: IntArray
    identities: IntArray

    @classmethod
    def of(cls, proposals: list[Proposal], n_ranges: int) -> _Traits:
        extents = np.array([proposal.extent for proposal in proposals])
        width = max(np.ptp(extents), 1e-6) / n_ranges
        identities = {identity: i for i, identity in enumerate({p.identity: None for p in proposals})}
        return cls(
            orbits=np.unique([proposal.orbit for proposal in proposals], return_inverse=True)[1],
            # a hair above each edge, so that rounding errors move no shell across it
            ranges=np.minimum(np.floor((extents - extents.min()) / width + 1e-4), n_ranges - 1).astype(np.int64),
            centers=np.array([proposal.members.indices[0] for proposal in proposals]),
            identities=np.array([identities[proposal.identity] for proposal in proposals]),
        )

    @property
    def columns(self) -> tuple[IntArray, IntArray, IntArray]:
        """In the order of their weight."""
        return self.orbits, self.ranges, self.centers


def with_center(molecule: int, images: Images) -> Images:
    """A central molecule of the reference cell, then the images."""
    return Images(
        np.concatenate([[molecule], images.indices]),
        np.concatenate([np.zeros((1, 3), dtype=np.int64), images.translations]),
        np.concatenate([[0.0], images.distances]),
    )
