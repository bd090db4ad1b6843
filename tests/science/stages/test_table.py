"""Every stage, interrupted as often as it can be, gives to the last bit what it gives in one go."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from stage_jobs import arrays_of, distorted_argon, job_of

from aiida_mbetrain.errors import StoppedEarly
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.science.stages.labels_in_batches import plan_pieces
from aiida_mbetrain.science.stages.table import ATOMS_PER_PIECE
from aiida_mbetrain.settings import Inference


def run_in_pieces(job: Job, stage: str, path, questions: int) -> tuple[dict, int]:
    """Start the stage again and again; it is told to stop at every n-th question."""
    for n_jobs in count(1):
        asked = iter(range(1, 10**6))
        piece = replace(job, checkpoint=path, should_stop=lambda asked=asked: next(asked) >= questions)
        try:
            return STAGES[stage](piece), n_jobs
        except StoppedEarly:
            assert path.exists()
            assert n_jobs < 200
    raise AssertionError


@pytest.mark.parametrize(("stage", "questions"), [
    ("relaxation", 3), ("isolated_molecule", 3), ("molecular_dynamics", 7), ("force_constants", 2), ("labels", 2),
])  # fmt: skip
def test_stage_in_pieces_equals_one_in_one_go(stage, questions, tmp_path, monkeypatch):
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 64 if stage == "force_constants" else 9)
    job = job_of(stage)
    expected = arrays_of(STAGES[stage](job))
    outputs, n_jobs = run_in_pieces(job, stage, tmp_path / "checkpoint", questions)
    assert n_jobs >= 3
    found = arrays_of(outputs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_force_constants_keep_the_displacements_done(tmp_path, monkeypatch):
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 64)
    job = replace(job_of("force_constants"), checkpoint=tmp_path / "checkpoint")
    answers = iter([False, True])
    with pytest.raises(StoppedEarly):
        STAGES["force_constants"](replace(job, should_stop=lambda: next(answers)))
    first: list[int] = []
    STAGES["force_constants"](replace(job, report=lambda done, total: first.append(done)))
    assert first[0] == 5


def test_pieces_cover_every_frame_once():
    sets = [distorted_argon(7), distorted_argon(1).select(slice(0, 0)), distorted_argon(4)]
    pieces = list(plan_pieces(sets, [True, True, False], 9))
    frames = [(index, frame) for piece in pieces for index, where in piece for frame in range(*where.indices(99))]
    assert frames == [(0, frame) for frame in range(7)] + [(2, frame) for frame in range(4)]
    assert {index for piece in pieces for index, _ in piece} == {0, 1, 2}
    assert all(len({index == 2 for index, _ in piece}) == 1 for piece in pieces)
    assert max(4 * sum(len(range(*where.indices(99))) for _, where in piece) for piece in pieces) <= 9


def test_another_device_or_batch_continues(tmp_path, monkeypatch):
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 9)
    job = replace(job_of("labels"), checkpoint=tmp_path / "checkpoint")
    with pytest.raises(StoppedEarly):
        STAGES["labels"](replace(job, should_stop=lambda: True))
    done: list[int] = []
    changed = replace(job, inference=Inference(batch_atoms=5, device="cpu"), report=lambda n, _: done.append(n))
    STAGES["labels"](changed)
    assert done[0] > 8


def test_labels_continue_with_pieces_of_another_size(tmp_path, monkeypatch):
    """As on another device, which is free to change: no frame is labelled twice or left out."""
    expected = arrays_of(STAGES["labels"](job_of("labels")))
    job = replace(job_of("labels"), checkpoint=tmp_path / "checkpoint")
    for atoms in (5, 13, 21):  # one, three and five frames in a piece: five are done after the last
        monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", atoms)
        with pytest.raises(StoppedEarly):
            STAGES["labels"](replace(job, should_stop=lambda: True))
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 2048)
    done: list[int] = []
    found = arrays_of(STAGES["labels"](replace(job, report=lambda n, _: done.append(n))))
    assert done[0] == 4 * (5 + 1)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
