"""Periodic images of points and molecules: complete within a radius, ordered without regard to rounding errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aiida_mbetrain.science.configurations import AnyArray, FloatArray, IntArray

EQUAL_DISTANCE = 1e-6
"""Distances (Å) that differ by less count as equal: far above rounding errors, far below physics."""

PAIRS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Images:
    """K periodic images: which point or molecule, its lattice translation (K, 3), its distance (K,) in Å."""

    indices: IntArray
    translations: IntArray
    distances: FloatArray

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, chosen: AnyArray | slice) -> Images:
        """The images of an index array, a mask or a slice, in that order."""
        return Images(self.indices[chosen], self.translations[chosen], self.distances[chosen])


def images_within(cell: FloatArray, points: FloatArray, center: FloatArray, radius: float) -> Images:
    """Every image of every point within ``radius`` of ``center``.

    points: (M, 3) Å; center: (3,) Å.  Complete: a vector of length r has a component along the k-th lattice
    vector of at most r / d_k, d_k the spacing of the planes of the other two, so translations outside the
    enumerated box leave the sphere.
    """
    inverse = np.linalg.inv(cell)
    reach = radius * np.linalg.norm(inverse, axis=0)
    wanted = (center - points) @ inverse
    low = np.ceil((wanted - reach).min(axis=0)).astype(int)
    high = np.floor((wanted + reach).max(axis=0)).astype(int)
    box = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    translations = box.reshape(-1, 3)
    distances = cdist(translations @ cell, center - points)
    which, index = np.nonzero(distances <= radius)
    return Images(index.astype(np.int64), translations[which].astype(np.int64), distances[which, index])


def ranking(images: Images) -> NDArray[np.intp]:
    """Order by distance; equal distances by index, then by translation.

    Distances are equal when no gap of :data:`EQUAL_DISTANCE` parts them; rounded to decimals, a distance next to
    a rounding boundary could still be flipped by noise.
    """
    by_distance = np.argsort(images.distances, kind="stable")
    gaps = np.diff(images.distances[by_distance], prepend=images.distances[by_distance[:1]])
    shell = np.empty(len(images), dtype=np.int64)
    shell[by_distance] = np.cumsum(gaps > EQUAL_DISTANCE)
    return np.lexsort((*images.translations.T[::-1], images.indices, shell))


def nearest_images(cell: FloatArray, points: FloatArray, center: FloatArray, count: int) -> Images:
    """The ``count`` images closest to ``center`` and all further ones that were met on the way, in order.

    The sphere grows until more than ``count`` distances lie inside by a clear margin, so none is missed.
    """
    radius = (2.0 * (count + 1) * abs(np.linalg.det(cell)) / (len(points) * 4.0)) ** (1 / 3)
    while True:
        images = images_within(cell, points, center, radius)
        if np.count_nonzero(images.distances < radius - 2 * EQUAL_DISTANCE) >= count:
            return images.select(ranking(images))
        radius *= 1.3


def atom_distance_bounds(
    positions: FloatArray, molecules: list[IntArray], center: IntArray, images: Images, cell: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest interatomic distance between one molecule and each image of others, (K,) and (K,), Å.

    positions: (N, 3) Å of whole molecules; molecules: atom indices of each; center: atom indices of the one.
    """
    smallest, largest = np.empty(len(images)), np.empty(len(images))
    sizes = np.array([len(atoms) for atoms in molecules])[images.indices]
    # Blocks of images, so that memory stays bounded for large molecules.
    block = np.cumsum(sizes) * len(center) // PAIRS_AT_ONCE
    for b in np.unique(block):
        chosen = np.flatnonzero(block == b)
        atoms = np.concatenate([molecules[m] for m in images.indices[chosen]])
        shifts = np.repeat(images.translations[chosen] @ cell, sizes[chosen], axis=0)
        distances = cdist(positions[atoms] + shifts, positions[center])
        starts = np.cumsum(sizes[chosen]) - sizes[chosen]
        smallest[chosen] = np.minimum.reduceat(distances.min(axis=1), starts)
        largest[chosen] = np.maximum.reduceat(distances.max(axis=1), starts)
    return smallest, largest


def distances_to_molecule(
    positions: FloatArray, molecules: list[IntArray], centers: FloatArray, central: int, cell: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest interatomic distance from each molecule to the central one, (M,) and (M,), Å.

    Both are the smallest over the periodic images of the molecule.  With D the distance of centres of mass and
    r the radii around them, an image's distances lie in [D - r - r', D + r + r'] and its largest is at least D;
    images farther than the nearest one by 2 (r + r') therefore decide neither.
    """
    radii = np.array([np.linalg.norm(positions[m] - c, axis=1).max() for m, c in zip(molecules, centers, strict=True)])
    slack = 2.0 * (radii + radii[central]) + EQUAL_DISTANCE
    # Some image of every point lies within half the sum of the lattice vectors' lengths.
    covering = 0.5 * np.linalg.norm(minkowski_reduce(cell)[0], axis=1).sum()
    images = images_within(cell, centers, centers[central], covering + slack.max())
    nearest = np.full(len(centers), np.inf)
    np.minimum.at(nearest, images.indices, images.distances)
    images = images.select(images.distances <= (nearest + slack)[images.indices])
    bounds = atom_distance_bounds(positions, molecules, molecules[central], images, cell)
    smallest, largest = np.full(len(centers), np.inf), np.full(len(centers), np.inf)
    np.minimum.at(smallest, images.indices, bounds[0])
    np.minimum.at(largest, images.indices, bounds[1])
    return smallest, largest
