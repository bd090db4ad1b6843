"""Perturbed crystals, clusters and dimers of one rigid-looking molecule: what the training set is made of.

Every function takes a numpy Generator and returns unlabelled ASE atoms; lengths in Å, angles in degrees.
The crystal has one molecule per primitive cell, its centre on the lattice points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.geometry import find_mic
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

REPEATS = (2, 2, 2)
CELLS = np.array(list(np.ndindex(REPEATS)))
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Molecule:
    """The molecule of the relaxed crystal about its centre, with the modes of the isolated molecule.

    positions: (n, 3). modes: vibrations, mass-weighted and normalised, (n_modes, n, 3).
    frequencies: their angular frequencies in ASE units, (n_modes,).
    """

    numbers: NDArray[np.int64]
    positions: Array
    masses: Array
    modes: Array
    frequencies: Array

    def vibrated(self, rng: np.random.Generator, temperature_K: float, count: int) -> Array:
        """Geometries from the classical harmonic distribution of the isolated molecule, (count, n, 3)."""
        sigmas = np.sqrt(units.kB * temperature_K) / self.frequencies
        steps = rng.normal(size=(count, len(sigmas))) * sigmas
        displacements = np.einsum("cm,mix->cix", steps, self.modes) / np.sqrt(self.masses)[:, None]
        return self.positions + displacements


def molecule_of(crystal: Atoms, hessian: Array) -> Molecule:
    """The molecule around the origin of the primitive cell; ``hessian`` (3n, 3n), eV/Å², of the isolated one."""
    positions, _ = find_mic(crystal.positions, crystal.cell, pbc=True)
    masses = crystal.get_masses()
    weights = np.repeat(masses, 3) ** -0.5
    eigenvalues, vectors = np.linalg.eigh(hessian * np.outer(weights, weights))
    vibrations = slice(6, None)
    modes = vectors.T[vibrations].reshape(-1, len(masses), 3)
    return Molecule(crystal.numbers, positions, masses, modes, np.sqrt(eigenvalues[vibrations]))


def assemble(molecule: Molecule, geometries: Array, centres: Array, cell: Array | None = None, **info) -> Atoms:
    """Molecules (M, n, 3) placed at their centres (M, 3); periodic where a cell is given."""
    positions = (geometries + centres[:, None]).reshape(-1, 3)
    numbers = np.tile(molecule.numbers, len(centres))
    atoms = Atoms(numbers, positions, cell=cell, pbc=cell is not None)
    atoms.info.update(info)
    return atoms


def rotated(geometries: Array, vectors: Array) -> Array:
    """Each molecule turned about its centre by its rotation vector (M, 3), degrees."""
    matrices = Rotation.from_rotvec(vectors, degrees=True).as_matrix()
    return np.einsum("mxy,miy->mix", matrices, geometries)


def random_orientations(rng: np.random.Generator, geometries: Array) -> Array:
    """Each molecule in a uniformly random orientation."""
    matrices = Rotation.random(len(geometries), rng=rng).as_matrix()
    return np.einsum("mxy,miy->mix", matrices, geometries)


def random_deformation(rng: np.random.Generator, shear: float, expansion: tuple[float, float]) -> Array:
    """A symmetric deformation gradient: random strain of standard deviation ``shear`` and a linear expansion."""
    strain = rng.normal(scale=shear, size=(3, 3))
    return np.eye(3) * (1 + rng.uniform(*expansion)) + (strain + strain.T) / 2


def perturbed_supercell(molecule: Molecule, cell: Array, rng: np.random.Generator) -> Atoms:
    """Independently translated, rotated and vibrated molecules in a strained 2x2x2 supercell."""
    deformation = random_deformation(rng, rng.uniform(0.0, 0.02), (-0.02, 0.03))
    lattice = cell @ deformation
    centres = CELLS @ lattice + rng.normal(scale=rng.uniform(0.02, 0.15), size=(len(CELLS), 3))
    geometries = molecule.vibrated(rng, rng.uniform(50, 450), len(CELLS))
    angles = rng.normal(scale=rng.uniform(1.0, 6.0), size=(len(CELLS), 3))
    return assemble(molecule, rotated(geometries, angles), centres, lattice * 2, config_type="supercell")


@dataclass(frozen=True)
class Libration:
    """Collective rotation of molecules: angles and their noise (degrees), vibrations (K), strain of the cell.

    at_gamma: which of every four structures turn all molecules in phase.
    """

    largest_angle: float
    noise: float = 0.0
    temperature_K: float = 1.0
    shear: float = 0.001
    expansion: tuple[float, float] = (-0.018, 0.03)
    at_gamma: tuple[int, ...] = (0, 2)


LIBRATIONS = {
    "librations": Libration(11.0, noise=1.5, temperature_K=300.0, shear=0.01, expansion=(-0.015, 0.03)),
    "quiet_librations": Libration(16.0),
    "small_librations": Libration(9.0),
    "soft_librations": Libration(9.0, expansion=(-0.006, 0.022), at_gamma=(1, 2, 3)),
}
"""All but the first have no other motion and hardly any shear, so that the libration's own small torque stands out."""


def concerted_libration(
    molecule: Molecule, cell: Array, rng: np.random.Generator, kind: Libration, *, gamma: bool
) -> Atoms:
    """All molecules turned about one axis, in phase (Γ) or with the phases ±1 of a commensurate q-point.

    Independently rotated molecules spread over all librations alike and hardly show the soft one.
    """
    q = np.zeros(3) if gamma else CELLS[rng.integers(1, len(CELLS))]
    phases = np.where(CELLS @ q % 2 == 0, 1.0, -1.0)
    axis = rng.normal(size=3)
    vectors = np.outer(phases, axis / np.linalg.norm(axis) * rng.uniform(1.5, kind.largest_angle))
    vectors += rng.normal(scale=rng.uniform(0.0, kind.noise), size=vectors.shape)
    lattice = cell @ random_deformation(rng, rng.uniform(0.0, kind.shear), kind.expansion)
    geometries = molecule.vibrated(rng, rng.uniform(0.0, kind.temperature_K), len(CELLS))
    return assemble(molecule, rotated(geometries, vectors), CELLS @ lattice, lattice * 2, config_type="libration")


def without_rotation(molecule: Molecule, displacements: Array) -> tuple[Array, Array, Array]:
    """Displacements (M, n, 3) as translations (M, 3), rotation vectors (M, 3) in radians and internal parts."""
    masses, positions = molecule.masses, molecule.positions
    translations = np.einsum("i,mix->mx", masses, displacements) / masses.sum()
    inertia = np.einsum("i,ixy->xy", masses, _cross_square(positions))
    momenta = np.einsum("i,mix->mx", masses, np.cross(positions, displacements - translations[:, None]))
    rotations = np.linalg.solve(inertia, momenta.T).T
    internal = displacements - translations[:, None] - np.cross(rotations[:, None], positions)
    return translations, rotations, internal


def _cross_square(r: Array) -> Array:
    return np.einsum("ix,ix->i", r, r)[:, None, None] * np.eye(3) - np.einsum("ix,iy->ixy", r, r)


def thermal_supercell(
    molecule: Molecule, cell: Array, rng: np.random.Generator, frequencies: Array, modes: Array
) -> Atoms:
    """The classical harmonic distribution of the reference crystal, in a slightly expanded cell.

    The soft librations reach 20 degrees, where straight displacements would tear the molecules: their rotational
    part is carried out as a rotation.  frequencies (m,) in ASE units, modes (m, N, 3) as prepare.py writes them.
    """
    sigmas = np.sqrt(units.kB * rng.uniform(20, 300)) / frequencies
    masses = np.tile(molecule.masses, len(CELLS))
    displacements = np.einsum("m,mix->ix", rng.normal(size=len(sigmas)) * sigmas, modes) / np.sqrt(masses)[:, None]
    translations, rotations, internal = without_rotation(molecule, displacements.reshape(len(CELLS), -1, 3))
    geometries = rotated(molecule.positions + internal, np.degrees(rotations))
    lattice = cell @ random_deformation(rng, rng.uniform(0.0, 0.006), (-0.012, 0.03))
    return assemble(molecule, geometries, CELLS @ lattice + translations, lattice * 2, config_type="thermal")


def crystal_cluster(molecule: Molecule, cell: Array, rng: np.random.Generator, size: int) -> Atoms:
    """A molecule and its neighbours in a random order of distance, squeezed or pulled apart, perturbed."""
    points = (np.array(list(np.ndindex(5, 5, 5))) - 2) @ cell
    distances = np.linalg.norm(points, axis=1) + rng.uniform(0, 1.5, len(points)) * (np.abs(points).sum(axis=1) > 0)
    centres = points[np.argsort(distances)[:size]] * rng.uniform(0.85, 1.8 if rng.random() < 0.3 else 1.15)
    centres = centres + rng.normal(scale=0.12, size=centres.shape)
    geometries = molecule.vibrated(rng, rng.uniform(50, 450), size)
    angles = rng.normal(scale=rng.uniform(1.0, 15.0), size=(size, 3))
    return assemble(molecule, rotated(geometries, angles), centres, config_type=f"cluster_{size}")


def random_dimer(
    molecule: Molecule, rng: np.random.Generator, contact: float, *, temperature_K: float | None = None
) -> Atoms:
    """Two molecules in random orientations whose shortest distance between atoms is ``contact``.

    temperature_K: of the molecules' vibrations; None draws it.
    """
    temperature_K = rng.uniform(20, 350) if temperature_K is None else temperature_K
    geometries = random_orientations(rng, molecule.vibrated(rng, temperature_K, 2))
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    low, high = 0.0, 20.0
    while high - low > 1e-6:  # bisection on the last separation at which the molecules still touch
        middle = (low + high) / 2
        touching = cdist(geometries[0], geometries[1] + middle * direction).min() < contact
        low, high = (middle, high) if touching else (low, middle)
    centres = np.array([np.zeros(3), high * direction])
    return assemble(molecule, geometries, centres, config_type="dimer")
