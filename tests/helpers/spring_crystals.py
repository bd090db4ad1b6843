"""Harmonic crystals of springs: exact force constants that need no potential."""

from __future__ import annotations

import numpy as np
from ase.neighborlist import neighbor_list
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import ForceConstants

TRICLINIC_MATRIX = ((3, 0, 0), (1, 2, 0), (0, 0, 1))
"""Phonopy's convention; six cells, with q-points that differ from their opposites and no diagonal form."""


def spring_force_constants(supercell: Configurations, cutoff: float, stiffness: float = 2.0) -> np.ndarray:
    """Φ of springs between all atoms within the cutoff (Å), (Ns, Ns, 3, 3), eV/Å²; stable, exact sum rule.

    Each spring resists stretching by k and bending by k/5, with k falling with distance and growing with the
    atomic numbers, so that the modes are not degenerate by accident.
    """
    atoms = supercell.to_atoms()[0]
    i, j, vectors, distances = neighbor_list("ijDd", atoms, cutoff)
    directions = vectors / distances[:, None]
    k = stiffness * np.exp(-distances) * np.sqrt(atoms.numbers[i] * atoms.numbers[j])
    along = directions[:, :, None] * directions[:, None, :]
    springs = k[:, None, None] * (0.8 * along + 0.2 * np.eye(3))
    phi = np.zeros((len(atoms), len(atoms), 3, 3))
    np.add.at(phi, (i, j), -springs)
    np.add.at(phi, (i, i), springs)
    return phi


def crystal_of_springs(numbers, scaled_positions, cell, matrix, *, cutoff: float) -> ForceConstants:
    """Force constants of a spring crystal in phonopy's supercell."""
    unit = PhonopyAtoms(numbers=numbers, scaled_positions=scaled_positions, cell=cell)
    phonon = Phonopy(unit, supercell_matrix=matrix, primitive_matrix=np.eye(3), is_symmetry=False)
    primitive, supercell = (
        Configurations(numbers=part.numbers, positions=part.positions[None], cells=part.cell[None])
        for part in (phonon.primitive, phonon.supercell)
    )
    return ForceConstants(
        primitive=primitive,
        supercell=supercell,
        supercell_matrix=np.array(matrix),
        force_constants=spring_force_constants(supercell, cutoff),
        space_group="P1",
        acoustic_sum_rule_violation=0.0,
        permutation_asymmetry=0.0,
        n_displacements=0,
        min_frequency_gamma_THz=0.0,
    )


def triclinic_crystal(matrix=TRICLINIC_MATRIX) -> ForceConstants:
    """Three atoms of three elements in a triclinic cell: no symmetry, no degenerate modes at Γ."""
    cell = [[4.1, 0.0, 0.0], [0.7, 3.9, 0.0], [0.4, -0.5, 4.4]]
    positions = [[0.0, 0.0, 0.0], [0.45, 0.55, 0.35], [0.2, 0.8, 0.7]]
    return crystal_of_springs([6, 7, 8], positions, cell, matrix, cutoff=4.5)


def rock_salt() -> ForceConstants:
    """NaCl, 64 atoms as 2x2x2 conventional cells, relative to the primitive cell."""
    a = 5.64
    cell = a / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    matrix = 2 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    return crystal_of_springs([11, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], cell, matrix, cutoff=4.2)


def monatomic_chain_crystal() -> ForceConstants:
    """One atom per primitive cell: no optical modes at Γ."""
    return crystal_of_springs([18], [[0, 0, 0]], 3.7 * np.eye(3), np.diag([4, 2, 1]), cutoff=5.5)


def as_phonopy(crystal: ForceConstants) -> Phonopy:
    """The same crystal and masses in phonopy."""
    unit = PhonopyAtoms(
        numbers=crystal.primitive.numbers,
        positions=crystal.primitive.positions[0],
        cell=crystal.primitive.cells[0],
        masses=crystal.primitive.masses,
    )
    phonon = Phonopy(unit, supercell_matrix=crystal.supercell_matrix, primitive_matrix=np.eye(3), is_symmetry=False)
    phonon.force_constants = crystal.force_constants
    return phonon


def scrambled_eigh(seed: int):
    """Another eigensolver as good as LAPACK's: rounding noise, another basis of each subspace, other phases."""
    rng = np.random.default_rng(seed)
    original = np.linalg.eigh

    def random_like(matrix, shape):
        noise = rng.normal(size=shape)
        return noise + 1j * rng.normal(size=shape) if np.iscomplexobj(matrix) else noise

    def scrambled(matrix):
        noise = 1e-15 * np.abs(matrix).max() * random_like(matrix, matrix.shape)
        values, vectors = original(matrix + noise + noise.conj().T)
        for group in np.split(np.arange(len(values)), np.flatnonzero(np.diff(values) > 1e-8) + 1):
            mixture = random_like(matrix, (len(group), len(group)))
            vectors[:, group] = vectors[:, group] @ np.linalg.qr(mixture)[0]
        return values, vectors

    return scrambled
