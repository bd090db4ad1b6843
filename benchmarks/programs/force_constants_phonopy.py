"""``python -m benchmarks.programs.force_constants_phonopy MODEL CRYSTAL.xyz N``: with phonopy and MACECalculator."""

from __future__ import annotations

import sys

import numpy as np
from ase import Atoms
from ase.io import read
from mace.calculators import MACECalculator
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

model, crystal, n = sys.argv[1:]
atoms = read(crystal)
calculator = MACECalculator(model_paths=model, device="cpu", default_dtype="float64")
unit = PhonopyAtoms(
    symbols=atoms.get_chemical_symbols(), cell=atoms.cell, scaled_positions=atoms.get_scaled_positions()
)
phonon = Phonopy(unit, supercell_matrix=int(n) * np.eye(3, dtype=int), primitive_matrix=np.eye(3))
phonon.generate_displacements(distance=0.01)
forces = []
for supercell in phonon.supercells_with_displacements:
    displaced = Atoms(supercell.symbols, supercell.positions, cell=supercell.cell, pbc=True)
    displaced.calc = calculator
    forces.append(displaced.get_forces())
phonon.forces = forces
phonon.produce_force_constants()
phonon.symmetrize_force_constants()
print(abs(phonon.force_constants).max())
