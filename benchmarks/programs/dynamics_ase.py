"""``python -m benchmarks.programs.dynamics_ase MODEL CRYSTAL.xyz STEPS``: NVT dynamics at 300 K with ASE and MACE."""

from __future__ import annotations

import os
import sys

from ase import units
from ase.io import Trajectory, read
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from mace.calculators import MACECalculator

model, crystal, steps = sys.argv[1:]
atoms = read(crystal)
atoms.calc = MACECalculator(model_paths=model, device="cpu", default_dtype="float64")
print(atoms.get_potential_energy())
MaxwellBoltzmannDistribution(atoms, temperature_K=300.0)
dynamics = Bussi(atoms, timestep=0.5 * units.fs, temperature_K=300.0, taut=100.0 * units.fs)
dynamics.attach(Trajectory(os.devnull, "w", atoms), interval=10)
dynamics.run(int(steps))
