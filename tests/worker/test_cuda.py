"""The stages on a CUDA device agree with those on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aiida_mbetrain import demo
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.settings import Inference

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

TOLERANCE = 1e-8
"""eV, eV/Å, eV/Å², Å: sums in float64 in another order; 20 steps of dynamics and a relaxation amplify it."""

MD = {
    "md_crystal": {
        "time_total_fs": 10.0,
        "time_step_fs": 0.5,
        "sampling_interval_fs": 2.0,
        "time_equilibration_fs": 0.0,
    }
}
FREE_ENERGY = {"thermal_expansion": False, "supercell_radius": 5.0, "max_force_on_atom": 1e-3}
CASES = {
    "labels": ("frames", {}, ("energies", "forces", "stress", "features")),
    "molecular_dynamics": ("supercell", MD, ("positions", "energies", "forces")),
    "relaxation": ("structure", FREE_ENERGY, ("energies",)),
    "force_constants": ("structure", FREE_ENERGY, ("force_constants",)),
}


def run(stage: str, device: str) -> dict[str, Any]:
    port, settings, _ = CASES[stage]
    inference = Inference(device=device)
    frames = Configurations.from_atoms(demo.crystal())
    potential = load_mace(demo.model_path(), inference)
    return STAGES[stage](Job({port: frames}, potential, settings, inference))


@pytest.mark.parametrize("stage", list(CASES))
def test_stage_on_cuda_agrees_with_cpu(stage):
    cpu, cuda = run(stage, "cpu"), run(stage, "cuda")
    output = next(iter(cpu))
    for name in CASES[stage][2]:
        expected, found = (result[output].to_arrays()[name] for result in (cpu, cuda))
        # the relaxation stops anywhere below max_force_on_atom: its energy is quadratic in that
        tolerance = 1e-5 if stage == "relaxation" else TOLERANCE / demo_step(stage)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=name)


def demo_step(stage: str) -> float:
    """Force constants are differences of forces over a displacement of 0.01 Å."""
    return 0.01 if stage == "force_constants" else 1.0
