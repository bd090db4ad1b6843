"""Molecules followed from the reference crystal through distorted, wrapped and drifting frames."""

from __future__ import annotations

import numpy as np
from ase.geometry import minkowski_reduce

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.io import join_rows
from aiida_mbetrain.science.molecules.bond_graph import sum_to_roots
from aiida_mbetrain.science.molecules.molecular_crystal import MolecularCrystal, centers_of_mass


def unwrap_molecules(crystal: MolecularCrystal, frames: Configurations) -> Configurations:
    """The frames with every molecule whole and in the lattice image of its reference.

    frames: the crystal's atoms in the crystal's order, wrapped in any way, with any cells.
    Along each bond of the walk the shortest periodic image is taken, which for a molecule that is intact is the
    bonded one.  A molecule as a whole is then moved by the lattice translation that brings its centre of mass,
    in fractional coordinates and after removing the drift common to all molecules, nearest to the reference;
    one that diffuses by more than half a cell is followed to the image nearest to where it began.
    Many positions lie in a file, and are read-only.
    Raises InvalidStructure for frames of other atoms or without cells.
    """
    check_frames(crystal, frames)
    blocks = (geometry_of(frames, block) for block in frames.blocks())
    return frames.with_(positions=join_rows(_whole_positions(crystal, block) for block in blocks))


def geometry_of(frames: Configurations, block: slice) -> Configurations:
    """Some frames with nothing but their atoms, positions and cells."""
    return Configurations(
        numbers=frames.numbers,
        positions=frames.positions[block],
        cells=None if frames.cells is None else frames.cells[block],
        isotope_masses=frames.isotope_masses,
    )


def _whole_positions(crystal: MolecularCrystal, frames: Configurations) -> FloatArray:
    assert frames.cells is not None
    fractional = frames.positions @ np.linalg.inv(frames.cells)
    steps = np.zeros(frames.positions.shape)
    children = np.flatnonzero(crystal.parents != np.arange(crystal.n_atoms))
    reference = crystal.positions @ np.linalg.inv(crystal.cell)
    steps[:, children] = _shortest_images(
        _steps(fractional, crystal.parents, children),
        _steps(reference, crystal.parents, children),
        crystal.cell,
        frames.cells,
    )
    shifts = sum_to_roots(crystal.parents, steps)
    masses, owner = frames.masses, crystal.molecule_of_atom
    moved = centers_of_mass(masses, fractional + shifts, owner) - centers_of_mass(masses, reference, owner)
    shifts -= np.rint(moved - _common_drift(moved, owner, masses))[:, owner]
    whole: FloatArray = frames.positions + shifts @ frames.cells
    return whole


def check_frames(crystal: MolecularCrystal, frames: Configurations) -> None:
    """Raise InvalidStructure unless the frames are periodic and of the crystal's atoms in the same order."""
    if frames.cells is None:
        raise InvalidStructure("The frames have no cells; molecules are followed through periodic frames.")
    if not np.array_equal(frames.numbers, crystal.numbers):
        raise InvalidStructure(
            f"The frames ({frames.n_atoms} atoms) and the crystal ({crystal.n_atoms} atoms) differ in their atoms or "
            "in their order; detect the molecules on the supercell that the frames were made from."
        )


def _steps(fractional: FloatArray, parents: IntArray, children: IntArray) -> FloatArray:
    return fractional[..., children, :] - fractional[..., parents[children], :]


def _shortest_images(vectors: FloatArray, reference: FloatArray, cell: FloatArray, cells: FloatArray) -> FloatArray:
    """Integers (F, K, 3) that make ``vectors`` (F, K, 3), fractional in ``cells`` (F, 3, 3), as short as possible.

    First the image nearest to the reference bond (K, 3); it is the shortest beyond doubt when shorter than half
    the shortest lattice vector.  The few others are searched among the neighbours in a reduced basis.
    """
    images = -np.rint(vectors - reference)
    reduced = minkowski_reduce(cell)[1]
    neighbours = np.stack(np.meshgrid(*[np.arange(-2.0, 3.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    others = (neighbours @ reduced)[neighbours.any(axis=1)]
    shortest = np.linalg.norm(others @ cells, axis=-1).min(axis=-1)
    doubtful = np.linalg.norm((vectors + images) @ cells, axis=-1) >= 0.5 * shortest[:, None]
    if doubtful.any():
        frame, _ = np.nonzero(doubtful)
        in_reduced = (vectors[doubtful]) @ np.linalg.inv(reduced)
        candidates = (neighbours - np.rint(in_reduced)[:, None]) @ reduced
        lengths = np.linalg.norm((vectors[doubtful][:, None] + candidates) @ cells[frame], axis=-1)
        images[doubtful] = np.rint(candidates[np.arange(len(frame)), lengths.argmin(axis=1)])
    return images


def _common_drift(moved: FloatArray, owner: IntArray, masses: FloatArray) -> FloatArray:
    """Displacement common to all molecules, fractional, in [-0.5, 0.5], (F, 1, 3).

    moved: (F, M, 3), known up to lattice translations of each molecule; hence a mean on the circle.
    """
    weights = np.bincount(owner, masses)[:, None]
    mean = (weights * np.exp(2j * np.pi * moved)).sum(axis=1, keepdims=True)
    return np.asarray(np.angle(mean) / (2 * np.pi), dtype=np.float64)
