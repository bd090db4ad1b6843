"""Run by a test as its own process: the first steps of the demo crystal with the demo model, into a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

from aiida_mbetrain import demo
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import Checkpoint, MDRun, run_molecular_dynamics
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import ClassicalMD, Inference

SETTINGS = ClassicalMD(
    ensemble="NPT",
    time_step_fs=1.0,
    time_total_fs=24.0,
    time_equilibration_fs=0.0,
    sampling_interval_fs=6.0,
)


def run_piece(*, start: Checkpoint | None = None, stop_after: int | None = None) -> MDRun:
    """One unit cell in NPT for 24 steps, with a model loaded anew; stop_after: return after this many steps."""
    asked = iter(range(10**6))
    return run_molecular_dynamics(
        Configurations.from_atoms(demo.crystal()),
        load_mace(demo.model_path(), Inference(device="cpu")),
        SETTINGS,
        temperature_K=298.15,
        pressure_GPa=1e-4,
        features=True,
        checkpoint=start,
        should_stop=lambda: stop_after is not None and next(asked) >= stop_after,
    )


if __name__ == "__main__":
    run_piece(stop_after=11).checkpoint.save(Path(sys.argv[1]))
