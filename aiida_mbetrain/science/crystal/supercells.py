"""Supercells: the smallest for molecular dynamics, the cheapest for finite displacements.

A supercell is an integer matrix M of positive determinant whose rows are the new cell vectors: M @ cell.  It
reaches a radius R when no atom has a periodic image nearer than R: the shortest non-zero vector of the
supercell's lattice is at least R.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, product
from math import ceil, inf

import numpy as np

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure, SupercellTooLarge
from aiida_mbetrain.science.configurations import BoolArray, Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal.displacement_count import DisplacementCounter, keep_sublattices
from aiida_mbetrain.science.crystal.lattices import (
    LENGTH_TOLERANCE,
    aligned,
    minimum_lengths,
    reduced_basis,
    short_vectors,
    shortest_vector,
    sublattices_avoiding,
)
from aiida_mbetrain.science.crystal.symmetry import SpaceGroup
from aiida_mbetrain.settings import ClassicalMD, FreeEnergy

__all__ = [
    "choose_supercell",
    "choose_supercell_for_phonons",
    "make_supercell",
    "md_supercell_matrix",
    "phonon_supercell_matrix",
    "shortest_vector",
]


def choose_supercell(cell: FloatArray, radius: float, *, diagonal: bool = False, max_cells: float = inf) -> IntArray:
    """The supercell of smallest volume that reaches the radius; among equals the one with the farthest images.

    cell: (3, 3), Å, rows.  radius: Å.  diagonal: only multiples of the cell's own vectors.
    Returns (3, 3) integers, rows are the new vectors, reduced; the lattice it spans does not depend on the
    basis of the input (unless diagonal).  Raises SupercellTooLarge beyond max_cells cells.
    """
    if diagonal:
        return _smallest_diagonal(cell, radius, max_cells)
    basis = reduced_basis(cell)
    index = _fewest_cells(basis, radius)
    forms = np.zeros((0, 3, 3), dtype=np.int64)
    # All sublattices of rising index, enumerated by Hermite normal forms (Hart and Forcade, Phys. Rev. B 77, 224115
    # (2008)); the first index with any that avoids all short vectors is the smallest volume.
    # Large enough multiples reach any radius, so this ends.
    while not len(forms):
        if index > max_cells:
            raise _too_large(radius, index)
        forms = sublattices_avoiding(short_vectors(basis, radius), index)
        index += 1
    return _representative(_most_compact(forms, basis) @ basis, cell)


def _fewest_cells(basis: FloatArray, radius: float) -> int:
    """Lower bound on the number of cells: no lattice of shortest vector R has less volume than R³/√2 (fcc)."""
    return max(1, ceil(float(radius**3 / np.sqrt(2) / abs(np.linalg.det(basis)) - 1e-6)))


def _too_large(radius: float, n_cells: int) -> SupercellTooLarge:
    return SupercellTooLarge(f"supercell_radius = {radius} Å needs at least {n_cells} unit cells.")


def _most_compact(forms: IntArray, basis: FloatArray) -> IntArray:
    """Of sublattices of one index, the one with the longest shortest vector, then the shortest reduced basis."""
    lengths = minimum_lengths(forms, basis)
    best = forms[lengths > lengths.max() - LENGTH_TOLERANCE]
    sizes = [float(np.sum(reduced_basis(form @ basis) ** 2)) for form in best]
    form: IntArray = best[int(np.argmin(np.round(sizes, 4)))]
    return form


def _representative(supercell: FloatArray, cell: FloatArray) -> IntArray:
    matrix = np.rint(reduced_basis(supercell) @ np.linalg.inv(cell)).astype(np.int64)
    return aligned(matrix, np.asarray(cell, dtype=float))


def _smallest_diagonal(cell: FloatArray, radius: float, max_cells: float) -> IntArray:
    """Multiples between R / length (necessary) and R / height (sufficient) along each axis."""
    return np.diag(_diagonals(cell, radius, max_cells)[0])


def _diagonals(cell: FloatArray, radius: float, max_cells: float) -> IntArray:
    """All diagonals (n, 3) worth trying that reach the radius, by number of cells, then by shape."""
    basis = np.asarray(cell, dtype=float)
    # n_i a_i must itself be long enough, and n_i times the distance of the lattice planes always suffices.
    lengths, heights = np.linalg.norm(basis, axis=1), 1 / np.linalg.norm(np.linalg.inv(basis), axis=0)
    low, high = (np.ceil((radius - LENGTH_TOLERANCE) / size).astype(int) for size in (lengths, heights))
    fewest = max(_fewest_cells(basis, radius), int(np.prod(low)))
    if fewest > max_cells:
        raise _too_large(radius, fewest)
    candidates: IntArray = np.array(
        list(product(*(range(max(1, a), max(1, b) + 1) for a, b in zip(low, high, strict=True))))
    )
    candidates = candidates[np.argsort(candidates.prod(axis=1), kind="stable")]
    forbidden = short_vectors(basis, radius)
    reach = np.array([not (forbidden % diagonal == 0).all(axis=1).any() for diagonal in candidates])
    candidates = candidates[reach]
    if candidates[0].prod() > max_cells:
        raise _too_large(radius, int(candidates[0].prod()))
    affordable: IntArray = candidates[candidates.prod(axis=1) <= max_cells]
    return affordable


def choose_supercell_for_phonons(
    structure: Configurations,
    radius: float,
    *,
    diagonal: bool = False,
    max_cells: float = inf,
    keep_point_group: bool = False,
    symprec: float = 1e-5,
) -> IntArray:
    """The supercell that reaches the radius with the smallest number of displacements times number of atoms.

    Small cells break the crystal's point group and need many displacements; the search goes on to larger ones
    until even the full point group could not pay for them.  Of equally cheap ones of one size that with the most
    symmetry is taken.
    keep_point_group: only supercells whose lattice has the crystal's whole point group.
    Returns (3, 3) integers relative to the structure's own cell; SupercellTooLarge beyond max_cells cells.
    """
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no supercell: give a periodic crystal.")
    cell = structure.cells[0]
    displacements = DisplacementCounter(SpaceGroup.of(structure, symprec=symprec))
    best = _Cheapest(displacements, cell)
    if diagonal:
        for numbers in _diagonals(cell, radius, max_cells):
            kept = displacements.kept_by(np.diag(numbers))
            if kept.all() or not keep_point_group:
                best.offer(np.diag(numbers), kept)
        if best.matrix is None:
            raise InvalidSettings(
                f"keep_point_group = True with supercell_diagonal = True: no diagonal supercell of {radius} Å within "
                "max_atoms keeps the crystal's point group. Set supercell_diagonal to False or raise max_atoms."
            )
    else:
        _search_sublattices(best, radius, max_cells, keep_point_group)
    assert best.matrix is not None
    return best.matrix


@dataclass
class _Cheapest:
    """The best matrix so far."""

    displacements: DisplacementCounter
    cell: FloatArray
    matrix: IntArray | None = None
    cost: float = inf
    n_kept: int = 0

    def offer(self, matrix: IntArray, kept: BoolArray) -> None:
        cost = self.displacements.number(kept, matrix) * round(float(np.linalg.det(matrix)))
        # At equal cost the more symmetric one: its force constants keep more of the crystal's degeneracies.
        if (cost, -kept.sum()) < (self.cost, -self.n_kept):
            self.cost, self.n_kept, self.matrix = cost, int(kept.sum()), matrix


def _search_sublattices(best: _Cheapest, radius: float, max_cells: float, keep_point_group: bool) -> None:
    displacements, cell = best.displacements, best.cell
    basis = reduced_basis(cell)
    to_basis = np.rint(basis @ np.linalg.inv(cell)).astype(np.int64)
    # The same operations, acting on coefficients of the reduced basis.
    rotations = np.rint(np.linalg.inv(to_basis).T @ displacements.group.rotations @ to_basis.T).astype(np.int64)
    every = np.ones(len(rotations), dtype=bool)
    # The full point group needs the fewest displacements: it bounds the cost of every larger supercell from below.
    fewest = displacements.number(every, to_basis)
    n_atoms = displacements.group.images.shape[1]
    start = _fewest_cells(basis, radius)
    if start > max_cells:
        raise _too_large(radius, start)
    forbidden = short_vectors(basis, radius)
    for index in count(start):
        if index * fewest >= best.cost or (index > max_cells and best.matrix is not None):
            return
        if index > max_cells:
            raise _too_large(radius, index)
        forms = sublattices_avoiding(forbidden, index)
        kept = keep_sublattices(forms, rotations)
        # Each operation turns one displacement into one more, and 3 N of them are needed.
        hopeful = kept.sum(axis=1) * best.cost >= 3 * n_atoms * index
        if keep_point_group:
            hopeful &= kept.all(axis=1)
        forms, kept = forms[hopeful], kept[hopeful]
        # Sublattices that keep the same operations cost the same; of each such set the most compact one is taken.
        for mask in np.unique(kept, axis=0):
            if displacements.number(mask, to_basis) * index <= best.cost:
                form = _most_compact(forms[(kept == mask).all(axis=1)], basis)
                best.offer(_representative(form @ basis, cell), mask)


def md_supercell_matrix(structure: Configurations, settings: ClassicalMD) -> IntArray:
    """The supercell of a molecular dynamics run; raises SupercellTooLarge above ``max_atoms``."""

    def choose(*, diagonal: bool, max_cells: float) -> IntArray:
        assert structure.cells is not None
        return choose_supercell(structure.cells[0], settings.supercell_radius, diagonal=diagonal, max_cells=max_cells)

    return _checked(structure, settings, choose)


def phonon_supercell_matrix(structure: Configurations, settings: FreeEnergy) -> IntArray:
    """The supercell of the force constants, relative to the structure's cell; SupercellTooLarge likewise.

    Give the primitive cell, as ``plan_displacements`` does, unless the matrix or the
    diagonal is meant for another one: fewer cells reach the radius from it.
    """

    def choose(*, diagonal: bool, max_cells: float) -> IntArray:
        tolerance = settings.symmetry_tolerance_strict
        return choose_supercell_for_phonons(
            structure,
            settings.supercell_radius,
            symprec=tolerance,
            diagonal=diagonal,
            max_cells=max_cells,
            keep_point_group=settings.keep_point_group,
        )

    matrix = _checked(structure, settings, choose)
    if settings.keep_point_group and settings.supercell_matrix is not None:
        rotations = np.unique(SpaceGroup.of(structure, symprec=settings.symmetry_tolerance_strict).rotations, axis=0)
        kept = keep_sublattices(matrix[None], rotations)[0]
        if not kept.all():
            raise InvalidSettings(
                f"supercell_matrix = {matrix.tolist()} keeps {kept.sum()} of the {len(kept)} operations of the point "
                "group, keep_point_group = True asks for all: take another matrix, None, or keep_point_group = False."
            )
    return matrix


def _checked(
    structure: Configurations, settings: ClassicalMD | FreeEnergy, choose: Callable[..., IntArray]
) -> IntArray:
    """The matrix that the settings give or the one chosen; SupercellTooLarge names atoms, limit and field."""
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no supercell: give a periodic crystal.")
    n_atoms, limit = structure.n_atoms, settings.max_atoms
    if settings.supercell_matrix is not None:
        matrix = np.array(settings.supercell_matrix, dtype=np.int64)
        total = n_atoms * round(float(np.linalg.det(matrix)))
        if total > limit:
            raise SupercellTooLarge(
                f"supercell_matrix = {matrix.tolist()} makes {total} atoms, max_atoms = {limit}: "
                "take a smaller matrix or raise max_atoms."
            )
        return matrix
    try:
        return choose(diagonal=settings.supercell_diagonal, max_cells=limit // n_atoms)
    except SupercellTooLarge as error:
        raise SupercellTooLarge(
            f"{error} With {n_atoms} atoms each that is more than max_atoms = {limit}: lower supercell_radius"
            f"{', set keep_point_group to False' if getattr(settings, 'keep_point_group', False) else ''} or raise "
            "max_atoms."
        ) from None


def make_supercell(structure: Configurations, matrix: IntArray) -> Configurations:
    """The supercell M @ cell of the first frame; unit cell after unit cell, each in the structure's atom order.

    Atoms keep their place relative to their unit cell, so molecules that are whole stay whole.
    Raises InvalidStructure for finite structures.
    """
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no supercell: give a periodic crystal.")
    matrix = np.asarray(matrix, dtype=np.int64)
    cell, translations = structure.cells[0], _translations(matrix)
    positions = (translations @ cell)[:, None] + structure.positions[0]
    return Configurations(
        numbers=np.tile(structure.numbers, len(translations)),
        positions=positions.reshape(1, -1, 3),
        cells=(matrix @ cell)[None],
        isotope_masses=None if structure.isotope_masses is None else np.tile(structure.masses, len(translations)),
    )


def _translations(matrix: IntArray) -> IntArray:
    """The lattice points inside the supercell, (det, 3), in exact integer arithmetic."""
    det = round(float(np.linalg.det(matrix)))
    # Coordinates in the supercell times det are integers, so that points on its faces are decided exactly.
    adjugate = np.rint(np.linalg.inv(matrix) * det).astype(np.int64)
    corners = np.array(list(product((0, 1), repeat=3))) @ matrix
    axes = [np.arange(low, high + 1) for low, high in zip(corners.min(axis=0), corners.max(axis=0), strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = points @ adjugate * np.sign(det)
    translations: IntArray = points[((inside >= 0) & (inside < abs(det))).all(axis=1)]
    return translations
