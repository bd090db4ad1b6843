"""Conversion between configurations and the cells of phonopy."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from phonopy import Phonopy
from phonopy.harmonic.force_constants import compact_fc_to_full_fc
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import get_primitive, guess_primitive_matrix

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal import SpaceGroup

SYMPREC = 1e-5
"""Phonopy's tolerance for symmetry, Å."""


def primitive_cell(structure: Configurations, *, symprec: float = SYMPREC) -> Configurations:
    """The primitive cell of the first frame, not rotated; the structure itself where it is primitive already.

    Right-handed: phonopy takes no other.  Raises InvalidStructure.
    """
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no primitive cell: give a periodic crystal.")
    SpaceGroup.of(structure, symprec=symprec)  # refuses what spglib cannot treat
    structure = right_handed(structure)
    unit = to_phonopy_atoms(structure)
    matrix = guess_primitive_matrix(unit, symprec=symprec, **_isotopes(structure))
    if np.linalg.det(matrix) > 0.99:
        return structure
    return from_phonopy_atoms(get_primitive(unit, matrix, symprec=symprec))


def right_handed(structure: Configurations) -> Configurations:
    """The first frame with the same atoms and lattice, its vectors reversed where they are left-handed."""
    assert structure.cells is not None
    cell = structure.cells[0]
    return Configurations(
        structure.numbers,
        structure.positions[:1],
        np.sign(np.linalg.det(cell)) * cell[None],
        isotope_masses=structure.isotope_masses,
    )


def relative_to(primitive: Configurations, matrix: IntArray, structure: Configurations) -> IntArray:
    """A supercell matrix (rows) that refers to the structure's cell, as one that refers to its primitive cell."""
    assert primitive.cells is not None
    assert structure.cells is not None
    relative: IntArray = np.rint(matrix @ structure.cells[0] @ np.linalg.inv(primitive.cells[0])).astype(np.int64)
    return relative


def build_phonopy(primitive: Configurations, matrix: IntArray, *, symprec: float = SYMPREC) -> Phonopy:
    """A Phonopy whose unit cell is the primitive one; matrix in phonopy's convention.

    Where the supercell keeps a part of the point group, its meshes are reduced by operations that the force constants
    do not have: take ``ForceConstants.kept_operations`` or no reduction.
    """
    with warnings.catch_warnings():
        # It says only that some operations are lost; how many are is a fact of the ForceConstants, which is stored.
        warnings.filterwarnings("ignore", message=".*symmetries of supercell and primitive.*")
        return Phonopy(
            to_phonopy_atoms(primitive),
            supercell_matrix=matrix,
            primitive_matrix=np.eye(3),
            symprec=symprec,
            **_isotopes(primitive),
        )


def _isotopes(structure: Configurations) -> dict[str, Any]:
    """Options with which phonopy's symmetry tells isotopes apart; none without isotopes."""
    if structure.isotope_masses is None:
        return {}
    if "distinguish_symbol_index" not in inspect.signature(Phonopy).parameters:
        raise InvalidStructure("This version of phonopy does not tell isotopes apart: install version 4.10 or later.")
    return {"distinguish_symbol_index": True}


def to_phonopy_atoms(structure: Configurations) -> PhonopyAtoms:
    """The first frame as PhonopyAtoms."""
    assert structure.cells is not None
    cell = structure.cells[0]
    # phonopy knows isotopes by a number behind the symbol: H1, H2
    kinds = zip(structure.numbers, structure.kinds, strict=True)
    isotopes = [f"{chemical_symbols[number]}{kind}" for number, kind in kinds]
    return PhonopyAtoms(
        symbols=[chemical_symbols[z] for z in structure.numbers] if structure.isotope_masses is None else isotopes,
        masses=structure.masses,  # phonopy's own differ in the fifth digit
        cell=cell,
        scaled_positions=structure.positions[0] @ np.linalg.inv(cell),
    )


def from_phonopy_atoms(atoms: PhonopyAtoms) -> Configurations:
    """PhonopyAtoms as one frame."""
    return Configurations(
        np.asarray(atoms.numbers),
        atoms.positions[None],
        np.asarray(atoms.cell)[None],
        isotope_masses=None if atoms.masses is None else np.asarray(atoms.masses),
    )


def matching_order(wanted: PhonopyAtoms, given: PhonopyAtoms) -> IntArray:
    """For every atom of one supercell the same atom of the other, (Ns,); InvalidStructure where one is missing."""
    there = given.positions @ np.linalg.inv(wanted.cell)
    away = wanted.scaled_positions[:, None] - there
    away -= np.rint(away)
    distances = np.linalg.norm(away @ wanted.cell, axis=-1)
    distances[wanted.numbers[:, None] != given.numbers] = np.inf
    order: IntArray = distances.argmin(axis=1)
    if len(wanted) != len(given) or distances.min(axis=1).max() > 1e-3 or len(set(order)) != len(order):
        raise InvalidStructure("The supercell is not that of its primitive cell and supercell matrix.")
    return order


def full_force_constants(phonon: Phonopy) -> FloatArray:
    """(Ns, Ns, 3, 3), also where phonopy holds the rows of the primitive cell alone."""
    constants = np.asarray(phonon.force_constants)
    if constants.shape[0] == constants.shape[1]:
        return constants
    return compact_fc_to_full_fc(phonon.primitive, constants)
