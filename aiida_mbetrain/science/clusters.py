"""Clusters of molecules, chosen on the reference crystal by a rule and cut from every frame.

A cluster is an ordered set of (molecule, lattice translation).  Distances are taken to every periodic image, so
the n closest molecules are the closest of the infinite crystal, however small the supercell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.science.bond_checks import bonds_intact
from aiida_mbetrain.science.configurations import Configurations, IntArray
from aiida_mbetrain.science.errors import BrokenMolecules
from aiida_mbetrain.science.lattice_images import (
    EQUAL_DISTANCE,
    Images,
    atom_distance_bounds,
    images_within,
    nearest_images,
    ranking,
)
from aiida_mbetrain.science.molecular_crystal import MolecularCrystal
from aiida_mbetrain.science.unwrapping import unwrap_molecules
from aiida_mbetrain.settings import FiniteSubsystemFilter

Measure = Literal["center_of_mass", "closest_contact", "farthest_contact"]
"""Distance of two molecules: of centres of mass, smallest interatomic, largest interatomic."""

MEASURES: dict[str, Measure] = {
    "closest_to_central_molecule": "center_of_mass",
    "closest_contact_to_central_molecule": "closest_contact",
    "max_min_distance_to_central_molecule": "closest_contact",
    "max_max_distance_to_central_molecule": "farthest_contact",
}
"""The measure of each rule that has a central molecule."""


@dataclass(frozen=True, eq=False)
class Cluster:
    """K molecules of the infinite crystal, in the order in which their atoms follow one another.

    key: the dataset's name of the group, ``n=3`` or ``r=6.50``.
    molecule_indices: (K,), molecules of the reference crystal; the central one first, then by distance.
    translations: (K, 3), lattice translations relative to the whole reference molecules.
    n_repeated_molecules: members that are a periodic image of an earlier member; above 0 the supercell is too
        small to hold the cluster, and the motion of its molecules is correlated.
    """

    key: str
    molecule_indices: IntArray
    translations: IntArray
    n_repeated_molecules: int

    @property
    def n_molecules(self) -> int:
        """K."""
        return len(self.molecule_indices)

    def to_arrays(self) -> dict[str, NDArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        return {
            "key": np.array(self.key),
            "molecule_indices": self.molecule_indices,
            "translations": self.translations,
            "n_repeated_molecules": np.array(self.n_repeated_molecules),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        return cls(
            key=str(arrays["key"]),
            molecule_indices=np.asarray(arrays["molecule_indices"], dtype=np.int64),
            translations=np.asarray(arrays["translations"], dtype=np.int64),
            n_repeated_molecules=int(arrays["n_repeated_molecules"]),
        )


@dataclass(frozen=True, eq=False)
class ClusterSet:
    """One cluster in every frame: finite configurations of the same molecules in the same order.

    configurations: its ``origin`` has ``frame``, the index of the source frame, ``intact``, False where the
        bond graph of the source frame differs from the reference, and everything the source's origin had.
    """

    cluster: Cluster
    configurations: Configurations

    def to_arrays(self) -> dict[str, NDArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        return self.cluster.to_arrays() | self.configurations.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(cluster=Cluster.from_arrays(arrays), configurations=Configurations.from_arrays(arrays))


@dataclass(frozen=True, eq=False)
class WholeFrames:
    """Frames ready to be cut: whole molecules, and broken frames treated as the settings say.

    frames: whole molecules, periodic; indices: the source frame of each, (F,); intact: (F,).
    """

    frames: Configurations
    indices: IntArray
    intact: NDArray[np.bool_]


def select_clusters(crystal: MolecularCrystal, rule: FiniteSubsystemFilter) -> list[Cluster]:
    """The clusters that a rule picks from the reference crystal, one per number or distance, ascending.

    Rules that count take the molecules with the smallest distance; rules that measure take all molecules with a
    distance strictly below the cutoff.  Distances that agree to 1e-6 Å are equal: they are ordered by molecule
    index, then translation, and one that equals the cutoff is outside.  The central molecule is always the first
    member.  ``closest_to_center_of_mass`` counts from the centre of mass of the reference's whole molecules,
    whose own centres of mass lie inside the cell.
    """
    if rule.counts_molecules:
        assert rule.n_molecules is not None
        images = _closest(crystal, rule.selection_rule, max(rule.n_molecules))
        return [_cluster(f"n={n}", images.select(slice(n))) for n in rule.n_molecules]
    assert rule.distances is not None
    images = neighbors_within(
        crystal, crystal.central_molecule_index, max(rule.distances), measure=MEASURES[rule.selection_rule]
    )
    return [_cluster(f"r={d:.2f}", _with_central(crystal, images, d)) for d in rule.distances]


def neighbors_within(crystal: MolecularCrystal, molecule: int, cutoff: float, *, measure: Measure) -> Images:
    """Every image of every molecule, that one itself left out, at less than ``cutoff`` (Å), nearest first.

    The sphere of centres of mass that is searched is complete for the measure: the smallest interatomic distance
    is at least the distance of centres of mass less both molecules' radii, the largest at least that distance.
    """
    radius = cutoff + (_largest_contact_margin(crystal, molecule) if measure == "closest_contact" else 0.0)
    images = _other_images(crystal, molecule, radius, measure)
    return images.select(images.distances < cutoff - EQUAL_DISTANCE)


def extract_clusters(
    crystal: MolecularCrystal, frames: Configurations, rule: FiniteSubsystemFilter
) -> list[ClusterSet]:
    """Cut the clusters of ``rule``, chosen on the reference, from every frame.

    frames: the crystal's atoms in the crystal's order, wrapped in any way, with any cells.
    Raises InvalidStructure for frames of other atoms, BrokenMolecules when the rule refuses broken frames and
    meets one, or drops them and none is left.
    """
    whole = prepare_frames(crystal, frames, rule)
    return [cut_cluster(crystal, whole, cluster) for cluster in select_clusters(crystal, rule)]


def prepare_frames(crystal: MolecularCrystal, frames: Configurations, rule: FiniteSubsystemFilter) -> WholeFrames:
    """Make molecules whole and drop, keep or refuse broken frames; shared by all clusters of these frames."""
    whole = unwrap_molecules(crystal, _geometry(frames))
    intact = bonds_intact(
        crystal, whole, bond_tolerance=rule.bond_tolerance, bond_check_tolerance=rule.bond_check_tolerance
    )
    _refuse_broken(intact, rule)
    kept = np.flatnonzero(intact | (rule.broken_molecules == "keep"))
    return WholeFrames(whole.select(kept), kept.astype(np.int64), intact[kept])


def cut_cluster(crystal: MolecularCrystal, whole: WholeFrames, cluster: Cluster) -> ClusterSet:
    """One cluster in every prepared frame: molecules moved by their translations in the frame's own cell."""
    frames, members = whole.frames, [crystal.molecules[m] for m in cluster.molecule_indices]
    assert frames.cells is not None
    atoms = np.concatenate(members)
    shifts = np.repeat(cluster.translations, [len(member) for member in members], axis=0) @ frames.cells
    configurations = Configurations(
        numbers=crystal.numbers[atoms],
        positions=frames.positions[:, atoms] + shifts,
        origin=dict(frames.origin) | {"frame": whole.indices, "intact": whole.intact},
    )
    return ClusterSet(cluster=cluster, configurations=configurations)


def _geometry(frames: Configurations) -> Configurations:
    """The frames without labels, which would be copied for nothing."""
    return Configurations(numbers=frames.numbers, positions=frames.positions, cells=frames.cells, origin=frames.origin)


def _refuse_broken(intact: NDArray[np.bool_], rule: FiniteSubsystemFilter) -> None:
    broken = np.flatnonzero(~intact)
    shown = ", ".join(map(str, broken[:10])) + (", ..." if len(broken) > 10 else "")
    if len(broken) and rule.broken_molecules == "refuse":
        raise BrokenMolecules(
            f"{len(broken)} of {len(intact)} frames have other bonds than the reference (frames {shown}, counted from "
            "0), and broken_molecules = 'refuse'. Lower the temperature, check the model, or set it to 'drop'."
        )
    if len(broken) == len(intact) and rule.broken_molecules == "drop":
        raise BrokenMolecules(
            f"None of the {len(intact)} frames has the bonds of the reference. Check the model's stability, widen "
            f"bond_check_tolerance = {rule.bond_check_tolerance}, or set broken_molecules = 'keep'."
        )


def _closest(crystal: MolecularCrystal, rule: str, count: int) -> Images:
    """The ``count`` first members of a rule that counts molecules."""
    if rule == "closest_to_center_of_mass":
        masses = crystal.reference.masses
        center = masses @ crystal.positions / masses.sum()
        return nearest_images(crystal.cell, crystal.centers_of_mass, center, count).select(slice(count))
    central, measure = crystal.central_molecule_index, MEASURES[rule]
    margin = _largest_contact_margin(crystal, central) if measure == "closest_contact" else 0.0
    # A first guess from the density, grown until the members lie inside by more than the margin: then no image
    # outside the sphere can be closer.
    radius = (0.75 / np.pi * crystal.volume_per_molecule * count) ** (1 / 3)
    while True:
        images = _other_images(crystal, central, radius, measure)
        if np.count_nonzero(images.distances < radius - margin - 2 * EQUAL_DISTANCE) >= count - 1:
            return _prepend(central, images.select(slice(count - 1)))
        radius *= 1.3


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


def _with_central(crystal: MolecularCrystal, images: Images, cutoff: float) -> Images:
    return _prepend(crystal.central_molecule_index, images.select(images.distances < cutoff - EQUAL_DISTANCE))


def _prepend(molecule: int, images: Images) -> Images:
    return Images(
        np.concatenate([[molecule], images.indices]),
        np.concatenate([np.zeros((1, 3), dtype=np.int64), images.translations]),
        np.concatenate([[0.0], images.distances]),
    )


def _cluster(key: str, images: Images) -> Cluster:
    repeated = len(images) - len(np.unique(images.indices))
    return Cluster(key, images.indices, images.translations, n_repeated_molecules=repeated)
