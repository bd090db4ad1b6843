"""Symmetry orbits and multiplicities of clusters of the reference crystal.

The group is that of the infinite crystal, however its supercell was chosen: operations that the supercell breaks
count.  A molecule is the pair (primitive molecule, primitive lattice translation); an operation of the space group
acts on such pairs exactly, in integers, so that no distance and no rounding error decides whether two clusters are
equivalent.  Energies or interatomic distances could not: mirror images share both, and beyond dimers so can
clusters that no isometry relates.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.science.clusters.primitive_cell import PrimitiveAtoms, primitive_lattice
from aiida_mbetrain.science.configurations import Configurations, IntArray
from aiida_mbetrain.science.crystal import SpaceGroup
from aiida_mbetrain.science.molecules import MolecularCrystal

ID_LENGTH = 12

GENERIC = 0.0367
"""Offset (fraction of a lattice vector) of the primitive cells to which molecules are assigned by centre of mass.

No special position of any space group lies near this boundary, so that noise moves no molecule across it.
"""


@dataclass(frozen=True)
class Orbit:
    """All clusters that the space group makes of one.

    id: 12 hexadecimal digits; equal for two clusters of a reference crystal if and only if they are equivalent.
        It follows from the description of that crystal (cell, order of atoms) and means nothing in another one.
    multiplicity: clusters of the orbit that contain a given molecule, namely the first one of the cluster asked
        about; in a crystal of inequivalent molecules another member may have another multiplicity.
    per_primitive_cell: clusters of the orbit per primitive cell, the weight in a many-body expansion.
    """

    id: str
    multiplicity: int
    per_primitive_cell: int


@dataclass(frozen=True, eq=False)
class MoleculeSymmetry:
    """The space group of a crystal of M molecules, acting on the P molecules of its primitive cell.

    kinds: (M,), the primitive molecule that each molecule of the crystal is a translate of.
    translations: (M, 3), by which primitive lattice translation.
    supercell: (3, 3) integers, rows are the crystal's cell vectors in the primitive basis.
    rotations: (G, 3, 3), operations modulo lattice translations, acting on columns of primitive translations.
    images: (G, P), the primitive molecule that each operation makes of each primitive molecule.
    offsets: (G, P, 3), and in which primitive cell.
    """

    kinds: IntArray
    translations: IntArray
    supercell: IntArray
    rotations: IntArray
    images: IntArray
    offsets: IntArray

    @classmethod
    def of(cls, crystal: MolecularCrystal, *, symprec: float = 1e-2) -> MoleculeSymmetry:
        """The group of the reference crystal within a tolerance (Å).

        Isotopes of an element count as equal: the energy of a cluster does not depend on them.
        Operations that would tear molecules apart, possible where a bond is on the verge of being one, are left out.
        Raises InvalidStructure where spglib finds no consistent group.
        """
        lattice, kinds_of_atoms = primitive_lattice(crystal.reference.with_(isotope_masses=None), symprec)
        basis = lattice @ crystal.cell
        atoms = PrimitiveAtoms.of(crystal, basis, kinds_of_atoms)
        structure = Configurations(atoms.numbers, atoms.positions[None], cells=basis[None])
        group = SpaceGroup.of(structure, symprec=symprec)
        images, offsets, whole = atoms.molecules_under(group)
        primitive, first, kinds = np.unique(atoms.anchors, return_index=True, return_inverse=True)
        rank = np.full(len(atoms.numbers), -1, dtype=np.int64)
        rank[primitive] = np.arange(len(primitive))
        images, rotations = rank[images[whole][:, primitive]], group.rotations[whole]
        centers = np.floor(crystal.centers_of_mass[first] @ np.linalg.inv(basis) + GENERIC).astype(np.int64)
        origins = centers - atoms.anchor_translations[first]
        return cls(
            kinds=kinds.astype(np.int64),
            translations=atoms.anchor_translations + origins[kinds],
            supercell=np.rint(np.linalg.inv(lattice)).astype(np.int64),
            rotations=rotations,
            images=images,
            offsets=offsets[whole][:, primitive] + origins[images] - np.einsum("gab,pb->gpa", rotations, origins),
        )

    @property
    def classes(self) -> IntArray:
        """The symmetry class of each molecule of the crystal, (M,): its smallest equivalent primitive molecule."""
        return self._class_of[self.kinds]

    @property
    def _class_of(self) -> IntArray:
        return np.asarray(self.images.min(axis=0))

    def orbit(self, molecules: IntArray, translations: IntArray) -> Orbit:
        """The orbit of a cluster: molecules (K,) of the crystal with lattice translations (K, 3) of its cell."""
        return self.orbits(molecules[None], translations[None])[0]

    def orbits(self, molecules: IntArray, translations: IntArray) -> list[Orbit]:
        """The orbits of B clusters of one size: molecules (B, K) with lattice translations (B, K, 3)."""
        kinds = self.kinds[molecules]
        codes, members = self._images_of(kinds, self.translations[molecules] + translations @ self.supercell)
        first = _lexicographic_minima(codes)
        stabilisers = first.sum(axis=1)
        canonical = members[np.arange(len(members)), first.argmax(axis=1)].astype("<i8")
        n_equivalent = np.array([len(np.unique(column)) for column in self.images.T])[kinds[:, 0]]
        n_members = (self._class_of[kinds] == self._class_of[kinds[:, :1]]).sum(axis=1)
        n_clusters = codes.shape[1] // stabilisers
        return [
            Orbit(hashlib.sha256(form.tobytes()).hexdigest()[:ID_LENGTH], int(multiplicity), int(count))
            for form, multiplicity, count in zip(
                canonical, n_clusters * n_members // n_equivalent, n_clusters, strict=True
            )
        ]

    def _images_of(self, kinds: IntArray, cells: IntArray) -> tuple[IntArray, IntArray]:
        """Clusters under every operation, as sorted codes (B, G, K) and what they stand for (B, G, K, 4).

        Translations count from their smallest components, which makes clusters equal that differ by one alone.
        """
        moved = self.offsets[:, kinds].swapaxes(0, 1) + np.einsum("gac,bkc->bgka", self.rotations, cells)
        moved -= moved.min(axis=2, keepdims=True)
        members = np.concatenate([self.images[:, kinds].swapaxes(0, 1)[..., None], moved], axis=-1)
        base = moved.max() + 1
        codes = members @ np.array([base**3, base**2, base, 1])
        order = np.argsort(codes, axis=-1)
        return np.take_along_axis(codes, order, axis=-1), np.take_along_axis(members, order[..., None], axis=-2)


def _lexicographic_minima(codes: IntArray) -> NDArray[np.bool_]:
    """Mask of the lexicographically smallest of the G rows of each block (B, G, K), ties included, (B, G)."""
    first = np.ones(codes.shape[:2], dtype=bool)
    for column in np.moveaxis(codes, -1, 0):
        smallest = np.where(first, column, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
        first &= column == smallest
    return first
