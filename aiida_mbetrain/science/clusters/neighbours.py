"""The molecules around a molecule of the infinite crystal, by any of three measures of distance."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mbetrain.science.crystal import EQUAL_DISTANCE, Images, atom_distance_bounds, images_within, ranking
from aiida_mbetrain.science.molecules import MolecularCrystal

Measure = Literal["center_of_mass", "closest_contact", "farthest_contact"]
"""Distance of two molecules: of centres of mass, smallest interatomic, largest interatomic."""

MEASURES: dict[str, Measure] = {
    "closest_to_central_molecule": "center_of_mass",
    "closest_contact_to_central_molecule": "closest_contact",
    "max_min_distance_to_central_molecule": "closest_contact",
    "max_max_distance_to_central_molecule": "farthest_contact",
}
"""The measure of each rule that has a central molecule."""


def neighbors_within(crystal: MolecularCrystal, molecule: int, cutoff: float, *, measure: Measure) -> Images:
    """Every image of every molecule, that one itself left out, at less than ``cutoff`` (Å), nearest first.

    The sphere of centres of mass that is searched is complete for the measure: the smallest interatomic distance
    is at least the distance of centres of mass less both molecules' radii, the largest at least that distance.
    """
    radius = cutoff + (_largest_contact_margin(crystal, molecule) if measure == "closest_contact" else 0.0)
    images = _other_images(crystal, molecule, radius, measure)
    return images.select(images.distances < cutoff - EQUAL_DISTANCE)


def nearest_neighbors(
    crystal: MolecularCrystal, molecule: int, count: int, *, measure: Measure, whole_shells: bool = False
) -> Images:
    """The ``count`` images nearest to a molecule, itself left out, nearest first.

    whole_shells: also those that are as far as the last one.
    """
    margin = _largest_contact_margin(crystal, molecule) if measure == "closest_contact" else 0.0
    # A first guess from the density, grown until the members lie inside by more than the margin: then no image
    # outside the sphere can be closer.
    radius = (0.75 / np.pi * crystal.volume_per_molecule * (count + 1)) ** (1 / 3)
    while True:
        images = _other_images(crystal, molecule, radius, measure)
        if np.count_nonzero(images.distances < radius - margin - 2 * EQUAL_DISTANCE) >= count:
            break
        radius *= 1.3
    if whole_shells and count:
        return images.select(images.distances <= images.distances[count - 1] + EQUAL_DISTANCE)
    return images.select(slice(count))


def _other_images(crystal: MolecularCrystal, molecule: int, radius: float, measure: Measure) -> Images:
    """Images with centres of mass within ``radius`` of the molecule's, itself left out, ordered by the measure."""
    centers = crystal.centers_of_mass
    images = images_within(crystal.cell, centers, centers[molecule], radius)
    images = images.select((images.indices != molecule) | images.translations.any(axis=1))
    if measure != "center_of_mass":
        bounds = atom_distance_bounds(
            crystal.positions, crystal.molecules, crystal.molecules[molecule], images, crystal.cell
        )
        images = Images(images.indices, images.translations, bounds[0 if measure == "closest_contact" else 1])
    return images.select(ranking(images))


def _largest_contact_margin(crystal: MolecularCrystal, molecule: int) -> float:
    """Most by which the smallest interatomic distance to a molecule can fall below that of centres of mass, Å."""
    return float(crystal.radii[molecule] + crystal.radii.max())
