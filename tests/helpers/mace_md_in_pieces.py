"""Run by a test as its own process: the first steps of the demo crystal with the demo model, into a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from md_states import save_state, state_after

from aiida_mbetrain import demo
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import MDRun, run_molecular_dynamics
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import ClassicalMD, Inference

SETTINGS = ClassicalMD(
    ensemble="NPT",
    time_step_fs=1.0,
    time_total_fs=24.0,
    time_equilibration_fs=0.0,
    sampling_interval_fs=6.0,
)


def run_piece(**options: Any) -> MDRun:
    """One unit cell in NPT for 24 steps, with a model loaded anew."""
    return run_molecular_dynamics(
        Configurations.from_atoms(demo.crystal()),
        load_mace(demo.model_path(), Inference(device="cpu")),
        SETTINGS,
        temperature_K=298.15,
        pressure_GPa=1e-4,
        features=True,
        **options,
    )


if __name__ == "__main__":
    save_state(Path(sys.argv[1]), state_after(11, run_piece))
