"""Molecules of a crystal: detection, unwrapping and bond checks.

Bonds come from a neighbour list of the periodic cell and covalent radii.  Molecules are the connected components of the
bond graph, made whole by its lattice offsets, and mapped to every frame by atom order.
"""

from aiida_mbetrain.science.molecules.bond_checks import bonds_intact
from aiida_mbetrain.science.molecules.detection import check_structure, detect_molecules
from aiida_mbetrain.science.molecules.molecular_crystal import MolecularCrystal
from aiida_mbetrain.science.molecules.unwrapping import unwrap_molecules

__all__ = ["MolecularCrystal", "bonds_intact", "check_structure", "detect_molecules", "unwrap_molecules"]
