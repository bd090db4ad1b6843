"""Orbits of all clusters of a crystal up to a cutoff, counted, or with one representative of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from aiida_mbetrain.science.clusters.neighbours import Measure, neighbors_within
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry, Orbit
from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.molecules import MolecularCrystal

CLUSTERS_AT_ONCE = 512
"""Clusters to which all operations of the group are applied together: a few MB."""


def census(
    crystal: MolecularCrystal,
    n_molecules: int,
    cutoff: float,
    *,
    measure: Measure = "closest_contact",
    symprec: float = 1e-2,
) -> dict[Orbit, int]:
    """Every orbit of n-mers around the central molecule whose pairs all lie below ``cutoff`` (Å).

    Returns, by orbit, how many such clusters contain the central molecule, counted one by one.
    """
    symmetry = MoleculeSymmetry.of(crystal, symprec=symprec)
    near = _neighbourhoods(crystal, cutoff, measure)
    counts: dict[Orbit, int] = {}
    for clique in _cliques(near, [(crystal.central_molecule_index, 0, 0, 0)], n_molecules):
        members = np.array(clique)
        orbit = symmetry.orbit(members[:, 0], members[:, 1:])
        counts[orbit] = counts.get(orbit, 0) + 1
    return counts


@dataclass(frozen=True, eq=False)
class Representative:
    """One cluster of an orbit.

    molecules: (K,), with lattice translations (K, 3).
    extent: largest distance of two members, Å; 0 for a single molecule.
    """

    orbit: Orbit
    molecules: IntArray
    translations: IntArray
    extent: float


def orbit_representatives(
    crystal: MolecularCrystal,
    symmetry: MoleculeSymmetry,
    n_molecules: int,
    cutoff: float,
    *,
    measure: Measure = "closest_contact",
) -> list[Representative]:
    """One cluster of every orbit of n-mers whose pairs all lie below ``cutoff`` (Å), by extent.

    Every orbit has a cluster that contains the first molecule of one of the symmetry classes, so that the clusters
    around these are complete.
    """
    near = _neighbourhoods(crystal, cutoff, measure)
    found: dict[str, Representative] = {}
    for molecule in np.unique(symmetry.classes, return_index=True)[1].tolist():
        cliques = list(_cliques(near, [(molecule, 0, 0, 0)], n_molecules))
        for start in range(0, len(cliques), CLUSTERS_AT_ONCE):
            members = np.array(cliques[start : start + CLUSTERS_AT_ONCE])
            orbits = symmetry.orbits(members[..., 0], members[..., 1:])
            for clique, cluster, orbit in zip(cliques[start:], members, orbits, strict=False):
                if orbit.id not in found:
                    extent = max((near[a[0]][_shifted(b, a)] for a, b in combinations(clique, 2)), default=0.0)
                    found[orbit.id] = Representative(orbit, cluster[:, 0], cluster[:, 1:], extent)
    return sorted(found.values(), key=lambda cluster: (round(cluster.extent, 6), cluster.orbit.id))


_Member = tuple[int, ...]


def _neighbourhoods(crystal: MolecularCrystal, cutoff: float, measure: Measure) -> list[dict[_Member, float]]:
    """Neighbours of each molecule with their distances (Å)."""
    around = [neighbors_within(crystal, m, cutoff, measure=measure) for m in range(crystal.n_molecules)]
    return [
        {
            (int(m), *map(int, t)): float(d)
            for m, t, d in zip(images.indices, images.translations, images.distances, strict=True)
        }
        for images in around
    ]


def _cliques(near: list[dict[_Member, float]], clique: list[_Member], size: int) -> Iterator[list[_Member]]:
    """All extensions of a clique by later members of the first one's neighbourhood, each set once."""
    if len(clique) == size:
        yield clique
        return
    latest = clique[-1] if len(clique) > 1 else None
    for member in sorted(near[clique[0][0]]):
        if latest is not None and member <= latest:
            continue
        if all(_shifted(member, other) in near[other[0]] for other in clique):
            yield from _cliques(near, [*clique, member], size)


def _shifted(member: _Member, origin: _Member) -> _Member:
    """The member as seen from another one's cell."""
    return (member[0], *(a - b for a, b in zip(member[1:], origin[1:], strict=True)))
