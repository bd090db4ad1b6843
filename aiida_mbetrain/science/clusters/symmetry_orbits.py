"""Symmetry orbits and multiplicities of clusters of the reference crystal.

The group is that of the infinite crystal, however its supercell was chosen: operations that the supercell breaks
count.  A molecule is the pair (primitive molecule, primitive lattice translation); an operation of the space group
acts on such pairs exactly, in integers, so that no distance and no rounding error decides whether two clusters are
equivalent.  Energies or interatomic distances could not: mirror images share both, and beyond dimers so can
clusters that no isometry relates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.clusters.neighbours import Measure, neighbors_within
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal import SpaceGroup, find_symmetry
from aiida_mbetrain.science.molecules import MolecularCrystal

ID_LENGTH = 12

CLUSTERS_AT_ONCE = 512
"""Clusters to which all operations of the group are applied together: a few MB."""

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
        lattice, kinds_of_atoms = _primitive_lattice(crystal.reference.with_(isotope_masses=None), symprec)
        basis = lattice @ crystal.cell
        atoms = _PrimitiveAtoms.of(crystal, basis, kinds_of_atoms)
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


@dataclass(frozen=True, eq=False)
class _PrimitiveAtoms:
    """The atoms of the primitive cell, and the molecule that each belongs to, named by its first atom: the anchor.

    numbers: (p,).  positions: (p, 3), fractional coordinates times basis, Å.  fractional: (p, 3).
    anchors: (M,), anchor of each molecule of the crystal.  anchor_translations: (M, 3).
    owners: (p,), anchor of each primitive atom's molecule.  owner_offsets: (p, 3), its translation.
    """

    numbers: IntArray
    positions: FloatArray
    fractional: FloatArray
    anchors: IntArray
    anchor_translations: IntArray
    owners: IntArray
    owner_offsets: IntArray

    @classmethod
    def of(cls, crystal: MolecularCrystal, basis: FloatArray, kinds: IntArray) -> _PrimitiveAtoms:
        _, first, kinds = np.unique(kinds, return_index=True, return_inverse=True)
        # ranks in the order of first appearance: the same whatever numbers the classes had
        rank = np.argsort(np.argsort(first))
        kinds, first = rank[kinds], np.sort(first)
        fractional = crystal.positions @ np.linalg.inv(basis)
        cells = np.rint(fractional - fractional[first][kinds]).astype(np.int64)
        anchor_atoms = np.array([atoms[np.argmin(kinds[atoms])] for atoms in crystal.molecules])
        owners = anchor_atoms[crystal.molecule_of_atom[first]]
        return cls(
            numbers=crystal.numbers[first],
            positions=crystal.positions[first],
            fractional=fractional[first],
            anchors=kinds[anchor_atoms],
            anchor_translations=cells[anchor_atoms],
            owners=kinds[owners],
            owner_offsets=cells[owners],
        )

    def molecules_under(self, group: SpaceGroup) -> tuple[IntArray, IntArray, IntArray]:
        """Images of the molecule of each primitive atom under the G operations.

        Returns its image's anchor (G, p), that one's translation (G, p, 3), and the operations that keep every
        molecule whole, as indices.
        """
        moved = np.einsum("gab,pb->gpa", group.rotations, self.fractional) + group.translations[:, None]
        cells = np.rint(moved - self.fractional[group.images]).astype(np.int64)
        owners, offsets = self.owners[group.images], cells + self.owner_offsets[group.images]
        # by way of the atom, and by way of its molecule's anchor
        turned = np.einsum("gab,pb->gpa", group.rotations, self.owner_offsets)
        same = (owners == owners[:, self.owners]) & (offsets == offsets[:, self.owners] + turned).all(axis=-1)
        return owners, offsets, np.flatnonzero(same.all(axis=1))


def _primitive_lattice(structure: Configurations, symprec: float) -> tuple[FloatArray, IntArray]:
    """Primitive lattice vectors in units of the cell's, (3, 3), and the translational class of each atom, (N,).

    The basis is the Hermite normal form of the lattice, so that it depends on the lattice alone; spglib's own
    reduced basis may change with rounding errors where vectors are equally long.
    """
    assert structure.cells is not None
    dataset = find_symmetry(structure, symprec=symprec)
    pure = (np.asarray(dataset.rotations) == np.eye(3, dtype=int)).all(axis=(1, 2))
    translations = np.asarray(dataset.translations)[pure]
    n = len(translations)
    for denominator in (d for d in range(1, n + 1) if n % d == 0):
        numerators = np.rint(translations * denominator).astype(np.int64)
        error = np.linalg.norm((translations - numerators / denominator) @ structure.cells[0], axis=1).max()
        basis = _hermite_basis(np.concatenate([denominator * np.eye(3, dtype=np.int64), numerators]))
        kinds = np.asarray(dataset.mapping_to_primitive, dtype=np.int64)
        whole = len(kinds) == n * len(np.unique(kinds))
        if error <= symprec and round(np.linalg.det(basis)) * n == denominator**3 and whole:
            return basis / denominator, kinds
    raise InvalidStructure(
        f"The {n} lattice translations that spglib finds within symmetry_tolerance = {symprec} Å form no lattice: "
        "lower the tolerance or symmetrise the structure."
    )


def _hermite_basis(vectors: IntArray) -> IntArray:
    """The upper triangular basis of the lattice that integer vectors (n, 3) of full rank generate."""
    rows = np.array(vectors, dtype=np.int64)
    for k in range(3):
        while np.count_nonzero(rows[k:, k]) > 1:
            below = k + np.flatnonzero(rows[k:, k])
            pivot = below[np.argmin(np.abs(rows[below, k]))]
            rows[[k, pivot]] = rows[[pivot, k]]
            rows[k + 1 :] -= (rows[k + 1 :, k] // rows[k, k])[:, None] * rows[k]
        pivot = k + np.flatnonzero(rows[k:, k])[0]
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] *= np.sign(rows[k, k])
        rows[:k] -= (rows[:k, k] // rows[k, k])[:, None] * rows[k]
    return rows[:3]
