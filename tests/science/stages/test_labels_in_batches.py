"""Memory and bookkeeping of labels in pieces."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from stage_jobs import arrays_of

from aiida_mbetrain.errors import StoppedEarly
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import GrowingArray
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import silent
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.settings import Inference

OFTEN, NEVER = 1e-9, 1e9


class LongFeatures(Potential):
    """Free atoms with many features, which are multiples of their first coordinate."""

    feature_length = 3000

    def evaluate(self, sets, *, features=False, report=silent):
        length = self.feature_length
        return [
            part.with_(
                energies=np.zeros(part.n_frames),
                forces=np.zeros_like(part.positions),
                features=part.positions[:, :, :1] * np.arange(length) if features else None,
            )
            for part in sets
        ]

    def calculator(self):
        raise NotImplementedError

    def describe(self):
        return {"name": "long features", "device": "cpu"}


def job(n_frames: int, n_atoms: int = 16, **options) -> Job:
    positions = np.random.default_rng(0).normal(size=(n_frames, n_atoms, 3))
    return Job({"frames": Configurations(np.full(n_atoms, 6), positions)}, LongFeatures(), **options)


@pytest.mark.parametrize("interval_s", [OFTEN, NEVER])
def test_memory_of_the_stage_does_not_grow_with_the_frames(interval_s, tmp_path):
    peaks = {}
    for n_frames in (512, 1024):
        wanted = job(n_frames, checkpoint=tmp_path / f"checkpoint{n_frames}", checkpoint_interval_s=interval_s)
        tracemalloc.start()
        labelled = STAGES["labels"](wanted)["frames"]
        peaks[n_frames] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert labelled.features.nbytes == 1024 * 16 * 3000 * 4
    assert peaks[1024] < 1.1 * peaks[512]


def test_memory_of_a_continued_stage_is_that_of_the_first(tmp_path):
    asked = iter([False] * 6 + [True])
    whole = job(1024)
    wanted = replace(whole, checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=NEVER)
    with pytest.raises(StoppedEarly):
        STAGES["labels"](replace(wanted, should_stop=lambda: next(asked)))
    assert wanted.checkpoint.stat().st_size > 6 * 128 * 16 * 3000 * 4
    tracemalloc.start()
    labelled = STAGES["labels"](wanted)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150_000_000 < labelled["frames"].features.nbytes
    expected = arrays_of(STAGES["labels"](whole))
    for name, array in arrays_of(labelled).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_checkpoint_takes_every_row_once(tmp_path, monkeypatch):
    taken, of_array = [], GrowingArray.__getitem__

    def counted(self: GrowingArray, rows: slice) -> np.ndarray:
        found = of_array(self, rows)
        taken.append(len(found))
        return found

    monkeypatch.setattr(GrowingArray, "__getitem__", counted)
    wanted = job(400, 1024, checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=OFTEN)
    STAGES["labels"](replace(wanted, inference=Inference(features="none")))
    assert len(taken) == 2 * 200, "energies and forces of 200 pieces"
    assert sum(taken) == 2 * 400
