"""``python -m benchmarks.programs.dynamics MODEL CRYSTAL.xyz STEPS``: NVT dynamics at 300 K with this package."""

from __future__ import annotations

import sys

from ase.io import read

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import ClassicalMD

model, crystal, steps = sys.argv[1:]
settings = ClassicalMD(
    ensemble="NVT",
    time_step_fs=0.5,
    time_equilibration_fs=0.0,
    time_total_fs=0.5 * int(steps),
    sampling_interval_fs=5.0,
    temperature_window=(0.01, 10.0),
)
run = run_molecular_dynamics(Configurations.from_atoms(read(crystal)), load_mace(model), settings, temperature_K=300.0)
print(run.series["potential_energy_eV"][0])
