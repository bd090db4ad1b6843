"""Small rounds of argon: a random MACE model as baseline, a Lennard-Jones potential as reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from argon import argon_atoms, merged
from models import save_random_mace

ROUNDS: dict[str, Any] = {
    "name": "argon",
    "crystal": "argon.cif",
    "baseline": "argon.model",
    "reference": {"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.31}}, "order": 2},
    "protocol": "fast",
    "overrides": {
        "inference": {"device": "cpu"},
        "md_sampling": {
            "temperature_K": 20.0,
            "finite_subsystem_filter": {"n_molecules": [1, 2, 3]},
            "md_crystal": {
                "ensemble": "NVT",
                "time_total_fs": 50.0,
                "time_equilibration_fs": 0.0,
                "sampling_interval_fs": 5.0,
                "time_step_fs": 5.0,
                "supercell_radius": 7.0,
            },
        },
    },
    "choice": {"clusters_per_round": 4, "n_validation": 2, "n_test": 2, "gap": 0},
    "training": {
        "device": "cpu",
        "max_num_epochs": 1,
        "mace": {"num_channels": 4, "num_radial_basis": 4, "MLP_irreps": "4x0e", "r_max": 4.5},
    },
    "max_rounds": 2,
    "least_fall": 0.0,
}


def write_rounds(folder: Path, **changes: Any) -> Path:
    """The file, with its crystal and model beside it; mappings are merged with those of ``ROUNDS``."""
    if not (folder / "argon.model").exists():
        save_random_mace(folder / "argon.model", elements=(18,), num_interactions=1, atomic_energy=-1.0)
        argon_atoms().write(folder / "argon.cif")
    path = folder / "rounds.yaml"
    path.write_text(yaml.safe_dump(merged(ROUNDS, changes)))
    return path
