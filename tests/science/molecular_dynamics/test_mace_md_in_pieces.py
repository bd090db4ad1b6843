"""Molecular dynamics with a MACE model, cut between two frames, continues as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from mace_md_in_pieces import run_piece
from md_states import load_state


def test_a_run_in_two_processes_equals_one_in_one_go_bit_for_bit(tmp_path: Path) -> None:
    here = Path(__file__).parents[2] / "helpers"
    subprocess.run([sys.executable, here / "mace_md_in_pieces.py", tmp_path / "cut.npz"], check=True, cwd=here)
    state = load_state(tmp_path / "cut.npz")
    assert state.step == 11
    assert len(state.recorded["frames.positions"]) == 1
    whole, continued = run_piece(), run_piece(start=state)
    expected, found = whole.frames.to_arrays(), continued.frames.to_arrays()
    assert {"positions", "cells", "velocities", "forces", "stress", "features"} <= expected.keys()
    assert expected["positions"].shape == (4, 22, 3)
    assert np.ptp(expected["cells"], axis=0).max() > 0
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    for name, values in whole.series.items():
        np.testing.assert_array_equal(continued.series[name], values, err_msg=name)
