"""MACE models: reading their files, neighbour graphs, batched evaluation and faster kernels.

Importing this package imports PyTorch and MACE.  A model is read from its file, checked, given the kernels that suit
the device, and evaluated on batches of neighbour graphs whose pair lists outlive a step of dynamics.
"""

# model_files is first: it imports mace before anything imports e3nn, which fails otherwise
from aiida_mbetrain.science.potentials.mace.model_files import atomic_energies, inspect_model  # isort: skip
from aiida_mbetrain.science.potentials.mace.model_files import rewrite_atomic_energies  # isort: skip
from aiida_mbetrain.science.potentials.mace.heads import select_head, write_foundation
from aiida_mbetrain.science.potentials.mace.model import MacePotential

__all__ = [
    "MacePotential",
    "atomic_energies",
    "inspect_model",
    "rewrite_atomic_energies",
    "select_head",
    "write_foundation",
]
