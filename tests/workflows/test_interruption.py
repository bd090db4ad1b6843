"""Ctrl-C during an in-process stage ends the process in order instead of waiting for the stage."""

from __future__ import annotations

import os
import signal

from aiida import orm

from aiida_mbetrain.calculations.functions.in_process import listening
from aiida_mbetrain.calculations.functions.molecular_dynamics import molecular_dynamics
from aiida_mbetrain.settings import Inference

LONG = {
    "temperature_K": 20.0,
    "md_crystal": {
        "time_total_fs": 1e6,
        "time_equilibration_fs": 0.0,
        "time_step_fs": 5.0,
        "sampling_interval_fs": 1e5,
    },
}


def test_an_interrupted_stage_ends_with_its_exit_code_and_the_next_one_is_not_affected(argon, lennard_jones):
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(stage: str, done: int, total: int) -> None:
        assert done <= 4, "the stage went on after the signal"
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    supercell = orm.StructureData(ase=argon.get_ase() * (2, 2, 2))
    with listening(interrupt):
        _, node = molecular_dynamics.run_get_node(
            supercell=supercell, model=lennard_jones, settings=orm.Dict(LONG), inference=orm.Dict(Inference().to_dict())
        )
    assert node.exit_status == 400
    assert "interrupted by a signal" in node.exit_message
    assert signal.getsignal(signal.SIGINT) is handler
