"""Measured memory is that which was held, also where it is given back before the end."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from aiida_mbetrain.science.stages import measured
from aiida_mbetrain.science.stages import memory_use as memory

MEGABYTE = 2**20
pytestmark = pytest.mark.skipif(not memory.CLEAR.exists(), reason="only Linux tells how memory grows")


def held_for_a_moment(megabytes: int) -> int:
    """Pages asked of the system itself: what malloc kept of freed arrays would not count as growth."""
    held = mmap.mmap(-1, megabytes * MEGABYTE)
    np.frombuffer(held).fill(1.0)
    return len(held)


@pytest.mark.parametrize("megabytes", [64, 192])
def test_growth_is_the_memory_held_at_the_peak(megabytes):
    size, growth = measured(lambda: held_for_a_moment(megabytes))
    assert size == megabytes * MEGABYTE
    assert growth is not None
    assert growth.grown == pytest.approx(megabytes * MEGABYTE, abs=8 * MEGABYTE)
    assert growth.before > MEGABYTE  # an interpreter with numpy
    assert not growth.on_device


def test_work_before_does_not_count():
    held_for_a_moment(192)
    _, growth = measured(lambda: held_for_a_moment(16))
    assert growth is not None
    assert growth.grown < 32 * MEGABYTE


def test_system_that_does_not_tell_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "missing" / "clear_refs")
    assert measured(lambda: 7) == (7, None)
