"""Run by a test as its own process: make some steps of every algorithm, from or to a folder of checkpoints."""

import sys
from pathlib import Path

from md_potentials import SpringCrystal, spring_structure
from md_states import load_state, save_state, state_after

from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.settings import ClassicalMD

ALGORITHMS = ("csvr", "nose_hoover_chain", "mtk_isotropic", "mtk_full")


def run_piece(algorithm, **options):
    """A run of 80 steps that stores a frame every 8."""
    structure = spring_structure()
    ensemble, field = ("NVT", "nvt_algo") if algorithm in ALGORITHMS[:2] else ("NPT", "npt_algo")
    settings = ClassicalMD(
        ensemble=ensemble, time_step_fs=2.0, time_total_fs=160.0, sampling_interval_fs=16.0,
        time_equilibration_fs=32.0, thermostat_time_fs=30.0, barostat_time_fs=100.0, **{field: algorithm},
    )  # fmt: skip
    return run_molecular_dynamics(
        structure,
        SpringCrystal(structure),
        settings,
        temperature_K=900.0,
        pressure_GPa=2.0,
        **options,
    )


if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    for name in ALGORITHMS:
        path = folder / f"{name}.npz"
        if task == "begin":
            save_state(path, state_after(37, lambda **options: run_piece(name, **options)))  # noqa: B023
        else:
            start = load_state(path)
            save_state(path, state_after(29, lambda **options: run_piece(name, start=start, **options)))  # noqa: B023
