"""Lattices, periodic images, space groups and supercells.

Everything here is geometry of the periodic crystal: no potential is evaluated.  A supercell is chosen by the length of
its shortest lattice vector, for dynamics by its size and for force constants by the number of displacements.
"""

from aiida_mbetrain.science.crystal.displacement_count import count_displacements, keep_sublattices
from aiida_mbetrain.science.crystal.periodic_images import (
    EQUAL_DISTANCE,
    Images,
    atom_distance_bounds,
    distances_to_molecule,
    images_within,
    nearest_images,
    ranking,
)
from aiida_mbetrain.science.crystal.supercells import (
    choose_supercell,
    choose_supercell_for_phonons,
    make_supercell,
    md_supercell_matrix,
    phonon_supercell_matrix,
)
from aiida_mbetrain.science.crystal.symmetry import SpaceGroup, find_symmetry

__all__ = [
    "EQUAL_DISTANCE",
    "Images",
    "SpaceGroup",
    "atom_distance_bounds",
    "choose_supercell",
    "choose_supercell_for_phonons",
    "count_displacements",
    "distances_to_molecule",
    "find_symmetry",
    "images_within",
    "keep_sublattices",
    "make_supercell",
    "md_supercell_matrix",
    "nearest_images",
    "phonon_supercell_matrix",
    "ranking",
]
