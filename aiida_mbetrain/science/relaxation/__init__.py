"""Relaxation of crystals and of isolated molecules.

A crystal is symmetrised and relaxed by a preconditioned optimizer and, where that fails, by a second one; an isolated
molecule is relaxed and its vibrations are computed from its Hessian.
"""

from aiida_mbetrain.science.relaxation.crystal import CRYSTAL_NAMES, Relaxation, relax
from aiida_mbetrain.science.relaxation.isolated_molecule import MOLECULE_NAME, IsolatedMolecule, isolated_molecule

__all__ = ["CRYSTAL_NAMES", "MOLECULE_NAME", "IsolatedMolecule", "Relaxation", "isolated_molecule", "relax"]
