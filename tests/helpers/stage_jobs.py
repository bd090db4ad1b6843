"""Small jobs of every heavy stage, on four argon atoms with Lennard-Jones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from ase.build import bulk

from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.stages import Job
from aiida_mbetrain.settings import FiniteSubsystemFilter, NamedCalculator

LENNARD_JONES = NamedCalculator(name="lennard_jones", parameters={"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0})
MD = {
    "temperature_K": 40.0,
    "md_crystal": {
        "time_step_fs": 5.0,
        "time_total_fs": 150.0,
        "time_equilibration_fs": 30.0,
        "sampling_interval_fs": 30.0,
    },
}
REPLICAS = {
    "sampling": MD,
    "replicas": {
        "cold": {"temperature_K": 20.0},
        "seed_1": {"temperature_K": 40.0, "rng_seed": 1},
        "warm": {"temperature_K": 40.0},
    },
}
UNSTABLE_REPLICAS = {
    "sampling": MD | {"md_crystal": MD["md_crystal"] | {"max_force": 0.5}},
    "replicas": REPLICAS["replicas"] | {"hot": {"temperature_K": 3000.0}},
}
"""Of which the hot one ends at its seventh step."""
FORCE_CONSTANTS = {"supercell_matrix": [[2, 0, 0], [0, 2, 0], [0, 0, 2]], "symmetrize_unit_cell": False}


def distorted_argon(n_frames: int = 1) -> Configurations:
    """Four argon atoms per cubic cell, slightly moved, so that no displacement is saved by symmetry."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    cell = np.array([[5.3, 0.1, 0.0], [0.0, 5.4, 0.2], [0.1, 0.0, 5.2]])
    atoms.set_cell(cell, scale_atoms=True)
    moves = np.random.default_rng(1).normal(scale=0.05, size=(n_frames, 4, 3))
    return Configurations(atoms.numbers, atoms.positions + moves, np.repeat(cell[None], n_frames, axis=0))


def job_of(stage: str) -> Job:
    """Small inputs of a stage."""
    potential = named_calculator(LENNARD_JONES)
    frames = distorted_argon(7)
    inputs = {"structure": distorted_argon()}
    settings = {
        "relaxation": {"relax_input_cell": "full"},
        "molecular_dynamics": MD,
        "md_replicas": REPLICAS,
        "labels": {},
    }
    if stage in ("molecular_dynamics", "md_replicas"):
        inputs = {"supercell": distorted_argon()}
    if stage == "isolated_molecule":
        inputs = {"structure": replace(distorted_argon(), cells=None)}
    if stage == "labels":
        rule = FiniteSubsystemFilter(n_molecules=[1, 2])
        clusters = extract_clusters(detect_molecules(frames.select([0])), frames, rule)
        inputs = {"n_1": clusters[0], "frames": frames, "n_2": clusters[1]}
    return Job(inputs=inputs, potential=potential, settings=settings.get(stage, FORCE_CONSTANTS))


def arrays_of(outputs: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every array and fact of a stage's outputs."""
    found = {}
    for name, value in outputs.items():
        if isinstance(value, dict):
            found[name] = np.array(json.dumps(value))
        else:
            found |= {f"{name}.{key}": array for key, array in value.to_arrays().items()}
    return found
