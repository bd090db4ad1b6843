"""A training set of argon whose dynamics becomes unstable, while its other stages finish."""

from __future__ import annotations

from typing import Any

from argon import LENNARD_JONES, argon_atoms, argon_settings

UNSTABLE = {"md_crystal": {"temperature_window": [0.9999, 1.0001], "thermostat_time_fs": 40.0}}
"""Any deviation of the temperature ends the dynamics at 45 fs, when frames at 30 and 40 fs are stored."""


def run_unstable() -> Any:
    """The node of the run, in the loaded profile."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=argon_atoms()),
        orm.Dict(LENNARD_JONES),
        protocol="fast",
        overrides=argon_settings(md_sampling=UNSTABLE),
    )
    _, node = run_get_node(builder)
    return node
