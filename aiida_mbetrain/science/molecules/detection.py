"""The molecules of a crystal, found from its bonds.

Molecules are the connected components of the bond graph of the periodic cell.  Walking the graph with image
offsets makes each of them whole; a bond that does not close afterwards shows an infinite network.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase.data import chemical_symbols
from ase.symbols import Symbols
from matscipy.neighbours import neighbour_list

from aiida_mbetrain.errors import InfiniteNetwork, InvalidStructure, UnequalMolecules
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal import distances_to_molecule, nearest_images
from aiida_mbetrain.science.molecules.bond_graph import (
    NETWORK_NAMES,
    find_bonds,
    label_molecules,
    nearest_miss,
    network_dimensions,
    spanning_forest,
    tree_offsets,
)
from aiida_mbetrain.science.molecules.molecular_crystal import MolecularCrystal, centers_of_mass
from aiida_mbetrain.science.molecules.unwrapping import unwrap_molecules

__all__ = ["MolecularCrystal", "check_structure", "detect_molecules", "unwrap_molecules"]

OVERLAP = 0.5
"""Atoms closer than this (Å) are not a structure; the shortest bond, of H2, is 0.74 Å."""

LARGEST_CELL = 1e5
"""Å; a supercell of this length holds more atoms than any computer."""

EMPTIEST = 5e3
"""Volume per atom (Å³) that is no crystal's: solid helium has 35, crystals of molecules about 10."""

HEAVIEST = 96
"""Curium, the last element with a covalent radius: Cordero et al., Dalton Trans. 2008, 2832."""

WRAP_MARGIN = 1e-6
"""Fraction of a cell vector by which a centre of mass may lie below 0 and still count as 0."""


def check_structure(structure: Configurations) -> None:
    """Raise InvalidStructure if the structure is not one periodic frame of a crystal.

    Accepts one periodic frame with finite numbers, a cell of non-zero volume, known elements and no two atoms
    closer than 0.5 Å, periodic images included.
    """
    if structure.cells is None or structure.n_frames != 1:
        raise InvalidStructure(
            f"A crystal is one frame with a cell; this has {structure.n_frames} frame(s) and "
            f"{'a' if structure.periodic else 'no'} cell. Give the periodic structure of the crystal."
        )
    cell, positions = structure.cells[0], structure.positions[0]
    if not (np.isfinite(cell).all() and np.isfinite(positions).all()):
        raise InvalidStructure("Positions or cell contain NaN or infinity; repair the structure file.")
    reach = max(np.abs(cell).max(), np.abs(positions).max())
    if reach > LARGEST_CELL:
        raise InvalidStructure(f"The cell or a position reaches {reach:.3g} Å, above {LARGEST_CELL:g} Å: give Å.")
    if structure.volumes[0] < OVERLAP**3:
        raise InvalidStructure(
            f"The cell has a volume of {structure.volumes[0]:.3g} Å³; give three independent vectors."
        )
    if structure.numbers.min() < 1:
        raise InvalidStructure(f"Atomic number {structure.numbers.min()} is not an element.")
    if structure.numbers.max() > HEAVIEST:
        raise InvalidStructure(
            f"{chemical_symbols[structure.numbers.max()]} has no known covalent radius, by which bonds are found: the "
            f"heaviest element that has is {chemical_symbols[HEAVIEST]}."
        )
    volume = structure.volumes[0] / structure.n_atoms
    if volume > EMPTIEST:
        raise InvalidStructure(
            f"The cell gives {volume:.3g} Å³ to every atom, a crystal far below {EMPTIEST:g} Å³: give its vectors in "
            "Å, and all atoms."
        )
    _refuse_overlap(positions, cell)


def _refuse_overlap(positions: FloatArray, cell: FloatArray) -> None:
    i, j, distance = neighbour_list("ijd", cutoff=OVERLAP, positions=positions, cell=cell, pbc=(True,) * 3)
    if len(i):
        closest = np.argmin(distance)
        raise InvalidStructure(
            f"Atoms {i[closest]} and {j[closest]} (counted from 0), or their images, are {distance[closest]:.3f} Å "
            "apart; remove duplicates and choose one of the alternatives of disordered sites."
        )


def detect_molecules(
    structure: Configurations, *, bond_tolerance: float = 1.25, assert_identical_composition: bool = True
) -> MolecularCrystal:
    """The molecules of an undistorted crystal.

    structure: one periodic frame, wrapped in any way.
    bond_tolerance: atoms closer than this times the sum of their covalent radii are bonded.
    Raises InvalidStructure, InfiniteNetwork (bonds connect an atom with its own image) and, when asserted,
    UnequalMolecules.
    """
    check_structure(structure)
    assert structure.cells is not None
    numbers, cell = structure.numbers, structure.cells[0]
    bonds, bond_offsets = find_bonds(numbers, structure.positions[0], cell, bond_tolerance)
    owner = label_molecules(len(numbers), bonds)
    offsets = tree_offsets(spanning_forest(owner, bonds), bonds, bond_offsets)
    _refuse_network(numbers, owner, bonds, offsets[bonds[:, 0]] + bond_offsets - offsets[bonds[:, 1]], bond_tolerance)
    index_map = _index_map(owner)
    offsets = offsets + _into_cell(structure.masses, structure.positions[0] + offsets @ cell, owner, cell)[owner]
    crystal = _describe(structure, offsets, index_map, bonds, bond_offsets)
    if assert_identical_composition and not crystal.identical_composition:
        formulas = Counter(crystal.composition_of(m) for m in range(crystal.n_molecules))
        raise UnequalMolecules(
            f"The molecules differ: {', '.join(f'{n} x {formula}' for formula, n in sorted(formulas.items()))}. "
            "For a co-crystal or solvate set assert_identical_composition = False."
            + _miss(structure, owner, bond_tolerance)
        )
    return crystal


def _miss(structure: Configurations, owner: IntArray, bond_tolerance: float) -> str:
    """Sentence on the pair that a bond may have been missed between; empty where there is none."""
    assert structure.cells is not None
    miss = nearest_miss(structure.numbers, structure.positions[0], structure.cells[0], owner, bond_tolerance)
    if miss is None:
        return ""
    first, second = (f"{chemical_symbols[structure.numbers[atom]]} {atom}" for atom in (miss.first, miss.second))
    return (
        f" The nearest miss of bond_tolerance = {bond_tolerance} is {first} to {second} (counted from 0): "
        f"{miss.distance:.3f} Å, {miss.ratio:.3f} times the sum of their covalent radii. If that is a stretched bond, "
        f"bond_tolerance = {miss.bridging_tolerance:.2f} bridges it."
    )


def _refuse_network(
    numbers: IntArray, owner: IntArray, bonds: IntArray, open_offsets: IntArray, bond_tolerance: float
) -> None:
    dimensions = network_dimensions(owner, bonds, open_offsets)
    if not dimensions:
        return
    molecule = max(dimensions, key=lambda m: dimensions[m])
    formula = Symbols(numbers[owner == molecule]).get_chemical_formula()
    raise InfiniteNetwork(
        f"Bonds connect {formula} with its own periodic images: {NETWORK_NAMES[dimensions[molecule]]}, not a molecule. "
        "No molecular clusters can be cut from it; if these bonds are contacts, lower "
        f"bond_tolerance = {bond_tolerance}."
    )


def _index_map(owner: IntArray) -> IntArray:
    """Atoms of each molecule in ascending order, rows padded with -1."""
    sizes = np.bincount(owner)
    index_map = np.full((len(sizes), sizes.max()), -1, dtype=np.int64)
    atoms = np.argsort(owner, kind="stable")
    starts = np.cumsum(sizes) - sizes
    index_map[owner[atoms], np.arange(len(owner)) - np.repeat(starts, sizes)] = atoms
    return index_map


def _into_cell(masses: FloatArray, positions: FloatArray, owner: IntArray, cell: FloatArray) -> IntArray:
    """Lattice translation of each molecule that brings its centre of mass into the cell, (M, 3).

    A centre of mass on a face belongs to the lower face, whichever side rounding errors put it on.
    """
    fractional = centers_of_mass(masses, positions, owner) @ np.linalg.inv(cell)
    return -np.floor(fractional + WRAP_MARGIN).astype(np.int64)


def _describe(
    structure: Configurations,
    offsets: IntArray,
    index_map: IntArray,
    bonds: IntArray,
    bond_offsets: IntArray,
) -> MolecularCrystal:
    """The MolecularCrystal of whole molecules."""
    assert structure.cells is not None
    numbers, masses, cell = structure.numbers, structure.masses, structure.cells[0]
    positions = structure.positions[0] + offsets @ cell
    molecules = [row[row >= 0] for row in index_map]
    centers = np.array([masses[m] @ positions[m] / masses[m].sum() for m in molecules])
    central = int(nearest_images(cell, centers, masses @ positions / masses.sum(), 1).indices[0])
    smallest, largest = distances_to_molecule(positions, molecules, centers, central, cell)
    compositions = np.sort(np.where(index_map >= 0, numbers[index_map], 0), axis=1)
    return MolecularCrystal(
        numbers=numbers, positions=positions, cell=cell, image_offsets=offsets, index_map=index_map, bonds=bonds,
        bond_offsets=bond_offsets, centers_of_mass=centers, central_molecule_index=central,
        min_distances_to_central_molecule=smallest, max_distances_to_central_molecule=largest,
        identical_composition=bool((compositions == compositions[0]).all()), isotope_masses=structure.isotope_masses,
    )  # fmt: skip
