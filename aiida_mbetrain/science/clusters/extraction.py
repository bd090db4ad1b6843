"""Clusters of molecules, chosen on the reference crystal by a rule and cut from every frame.

A cluster is an ordered set of (molecule, lattice translation).  Distances are taken to every periodic image, so
the n closest molecules are the closest of the infinite crystal, however small the supercell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import BrokenMolecules
from aiida_mbetrain.science.clusters.balanced_selection import further_clusters, with_center
from aiida_mbetrain.science.clusters.neighbours import MEASURES, nearest_neighbors, neighbors_within
from aiida_mbetrain.science.clusters.symmetry_orbits import MoleculeSymmetry
from aiida_mbetrain.science.configurations import AnyArray, Configurations, IntArray
from aiida_mbetrain.science.crystal import EQUAL_DISTANCE, Images, nearest_images
from aiida_mbetrain.science.io import join_rows
from aiida_mbetrain.science.molecules import MolecularCrystal, bonds_intact, unwrap_molecules
from aiida_mbetrain.settings import FiniteSubsystemFilter


@dataclass(frozen=True, eq=False)
class Cluster:
    """K molecules of the infinite crystal, in the order in which their atoms follow one another.

    key: the dataset's name of the group, ``n=3`` or ``r=6.50``; further clusters of a size are ``n=3,c=2``, ...
    molecule_indices: (K,), molecules of the reference crystal; the central one first, then by distance.
    translations: (K, 3), lattice translations relative to the whole reference molecules.
    n_repeated_molecules: members that are a periodic image of an earlier member; above 0 the supercell is too
        small to hold the cluster, and the motion of its molecules is correlated.
    orbit: names the symmetry orbit of the reference's cluster, see ``symmetry_orbits.Orbit``.
    multiplicity: clusters of this orbit that contain the first molecule.
        Both are None for clusters that were made before there were orbits.
    """

    key: str
    molecule_indices: IntArray
    translations: IntArray
    n_repeated_molecules: int
    orbit: str | None = None
    multiplicity: int | None = None

    @property
    def n_molecules(self) -> int:
        """K."""
        return len(self.molecule_indices)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        arrays = {
            "key": np.array(self.key),
            "molecule_indices": self.molecule_indices,
            "translations": self.translations,
            "n_repeated_molecules": np.array(self.n_repeated_molecules),
        }
        symmetry = {"orbit": self.orbit, "multiplicity": self.multiplicity}
        return arrays | {name: np.array(value) for name, value in symmetry.items() if value is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        return cls(
            key=str(arrays["key"]),
            molecule_indices=np.asarray(arrays["molecule_indices"], dtype=np.int64),
            translations=np.asarray(arrays["translations"], dtype=np.int64),
            n_repeated_molecules=int(arrays["n_repeated_molecules"]),
            orbit=str(arrays["orbit"]) if "orbit" in arrays else None,
            multiplicity=int(arrays["multiplicity"]) if "multiplicity" in arrays else None,
        )


@dataclass(frozen=True, eq=False)
class ClusterSet:
    """One cluster in every frame: finite configurations of the same molecules in the same order.

    configurations: its ``origin`` has ``frame``, the index of the source frame, ``intact``, False where the
        bond graph of the source frame differs from the reference, and everything the source's origin had.
    """

    cluster: Cluster
    configurations: Configurations

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        return self.cluster.to_arrays() | self.configurations.to_arrays()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        return cls(cluster=Cluster.from_arrays(arrays), configurations=Configurations.from_arrays(arrays))


@dataclass(frozen=True, eq=False)
class WholeFrames:
    """Frames with whole molecules, from which clusters are cut; broken frames are treated as set.

    frames: all source frames, with whole molecules, periodic.  indices: the F frames that are cut, ascending, (F,).
    intact: whether their bonds are those of the reference, (F,).
    """

    frames: Configurations
    indices: IntArray
    intact: NDArray[np.bool_]


def select_clusters(crystal: MolecularCrystal, rule: FiniteSubsystemFilter) -> list[Cluster]:
    """The clusters that a rule picks from the reference crystal, ascending in number or distance.

    Rules that count take the molecules with the smallest distance; rules that measure take all molecules with a
    distance strictly below the cutoff.  Distances that agree to 1e-6 Å are equal: they are ordered by molecule
    index, then translation, and one that equals the cutoff is outside.  The central molecule is always the first
    member.  ``closest_to_center_of_mass`` counts from the centre of mass of the reference's whole molecules,
    whose own centres of mass lie inside the cell.  With ``clusters_per_size`` above 1 each of these clusters is
    followed by others of its size, see ``balanced_selection.further_clusters``.
    """
    symmetry = MoleculeSymmetry.of(crystal, symprec=rule.symmetry_tolerance)
    selected = []
    for base, size, first in _first_clusters(crystal, rule):
        members = [first, *further_clusters(crystal, symmetry, rule, size, first)]
        selected += [_cluster(cluster_key(base, i), images, symmetry) for i, images in enumerate(members, start=1)]
    return selected


def cluster_key(base: str, index: int) -> str:
    """``n=3`` for the first cluster of a size, ``n=3,c=2`` for the second."""
    return base if index == 1 else f"{base},c={index}"


def _first_clusters(crystal: MolecularCrystal, rule: FiniteSubsystemFilter) -> list[tuple[str, float, Images]]:
    """Key, number or distance, and members of the rule's own clusters."""
    if rule.counts_molecules:
        assert rule.n_molecules is not None
        images = _closest(crystal, rule.selection_rule, max(rule.n_molecules))
        return [(f"n={n}", n, images.select(slice(n))) for n in rule.n_molecules]
    assert rule.distances is not None
    central, measure = crystal.central_molecule_index, MEASURES[rule.selection_rule]
    images = neighbors_within(crystal, central, max(rule.distances), measure=measure)
    within = {d: images.select(images.distances < d - EQUAL_DISTANCE) for d in rule.distances}
    return [(f"r={d:.2f}", d, with_center(central, inside)) for d, inside in within.items()]


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
    whole = unwrap_molecules(crystal, _geometry(frames))  # in a file where there are many
    intact = bonds_intact(
        crystal, whole, bond_tolerance=rule.bond_tolerance, bond_check_tolerance=rule.bond_check_tolerance
    )
    _refuse_broken(intact, rule)
    kept = np.flatnonzero(intact | (rule.broken_molecules == "keep"))
    return WholeFrames(whole, kept.astype(np.int64), intact[kept])


def cut_cluster(crystal: MolecularCrystal, whole: WholeFrames, cluster: Cluster) -> ClusterSet:
    """One cluster in every prepared frame: molecules moved by their translations in the frame's own cell."""
    frames, members = whole.frames, [crystal.molecules[m] for m in cluster.molecule_indices]
    assert frames.cells is not None
    atoms = np.concatenate(members)
    translations = np.repeat(cluster.translations, [len(member) for member in members], axis=0)
    edges = (np.searchsorted(whole.indices, [block.start, block.stop]) for block in frames.blocks())
    blocks = (whole.indices[start:stop] for start, stop in edges)
    positions = (frames.positions[rows[:, None], atoms] + translations @ frames.cells[rows] for rows in blocks)
    configurations = Configurations(
        numbers=crystal.numbers[atoms],
        positions=join_rows(positions),
        isotope_masses=None if frames.isotope_masses is None else frames.masses[atoms],
        origin={name: values[whole.indices] for name, values in frames.origin.items()}
        | {"frame": whole.indices, "intact": whole.intact},
    )
    return ClusterSet(cluster=cluster, configurations=configurations)


def _geometry(frames: Configurations) -> Configurations:
    """The frames without labels, which need not be copied."""
    return Configurations(
        numbers=frames.numbers,
        positions=frames.positions,
        cells=frames.cells,
        origin=frames.origin,
        isotope_masses=frames.isotope_masses,
    )


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
    central = crystal.central_molecule_index
    return with_center(central, nearest_neighbors(crystal, central, count - 1, measure=MEASURES[rule]))


def _cluster(key: str, images: Images, symmetry: MoleculeSymmetry) -> Cluster:
    repeated = len(images) - len(np.unique(images.indices))
    orbit = symmetry.orbit(images.indices, images.translations)
    return Cluster(key, images.indices, images.translations, repeated, orbit.id, orbit.multiplicity)
