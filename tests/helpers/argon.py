"""Argon with Lennard-Jones: the smallest crystal and settings on which every WorkChain really runs, in seconds."""

from __future__ import annotations

import copy
from typing import Any

from ase import Atoms
from ase.build import bulk

LENNARD_JONES = {"name": "lennard_jones", "parameters": {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True}}

ARGON_SETTINGS: dict[str, Any] = {
    "md_sampling": {
        "temperature_K": 20.0,
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3]},
        "md_crystal": {
            "ensemble": "NVT",
            "time_total_fs": 60.0,
            "time_equilibration_fs": 20.0,
            "sampling_interval_fs": 10.0,
            "time_step_fs": 5.0,
            "supercell_radius": 7.0,
        },
    },
    "quasi_harmonic": {"thermal_expansion": False, "supercell_radius": 7.0, "fourier_interpolation_mesh": [4, 4, 4]},
    "phonon_sampling": {
        "temperature_K": 20.0,
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3]},
        "phonon_filter": {"k_point_mesh": "commensurate"},
        "n_frames": 2,
    },
}


def argon_atoms() -> Atoms:
    """Fcc argon, one atom and one molecule per cell."""
    return bulk("Ar", "fcc", a=5.26)


def argon_settings(**changes: Any) -> dict[str, Any]:
    """ARGON_SETTINGS with other values, by section: ``md_sampling={"temperature_K": 30.0}``; dicts are merged."""
    return merged(ARGON_SETTINGS, changes)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A deep copy of base with the changes; dicts are merged, everything else is replaced."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def run_argon(overrides: dict[str, Any] | None = None, *, code: Any = None) -> Any:
    """The node of a training set of argon, finished without error, in the loaded profile; with a code made by jobs."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()),
        orm.Dict(LENNARD_JONES),
        code=code,
        protocol="fast",
        overrides=overrides or ARGON_SETTINGS,
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node
