"""``python -m benchmarks.programs.force_constants MODEL CRYSTAL.xyz N``: of an N x N x N supercell."""

from __future__ import annotations

import sys

import numpy as np
from ase.io import read

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import calculate_force_constants
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import FreeEnergy

model, crystal, n = sys.argv[1:]
settings = FreeEnergy(thermal_expansion=False, supercell_matrix=(int(n) * np.eye(3, dtype=int)).tolist())
constants = calculate_force_constants(Configurations.from_atoms(read(crystal)), load_mace(model), settings)
print(abs(constants.force_constants).max())
