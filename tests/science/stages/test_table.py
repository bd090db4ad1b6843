"""Every stage, interrupted as often as it can be, gives to the last bit what it gives in one go."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from ase.build import bulk

from aiida_mbetrain.errors import StoppedEarly, UnreadableFile
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.science.stages.labels_in_batches import plan_pieces
from aiida_mbetrain.science.stages.table import ATOMS_PER_PIECE
from aiida_mbetrain.settings import FiniteSubsystemFilter, Inference, NamedCalculator

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
    settings = {"relaxation": {"relax_input_cell": "full"}, "molecular_dynamics": MD, "labels": {}}
    if stage == "molecular_dynamics":
        inputs = {"supercell": distorted_argon()}
    if stage == "isolated_molecule":
        inputs = {"structure": replace(distorted_argon(), cells=None)}
    if stage == "labels":
        rule = FiniteSubsystemFilter(n_molecules=[1, 2])
        clusters = extract_clusters(detect_molecules(frames.select([0])), frames, rule)
        inputs = {"n_1": clusters[0], "frames": frames, "n_2": clusters[1]}
    return Job(inputs=inputs, potential=potential, settings=settings.get(stage, FORCE_CONSTANTS))


def arrays_of(outputs) -> dict[str, np.ndarray]:
    """Every array and fact of a stage's outputs."""
    found = {}
    for name, value in outputs.items():
        if isinstance(value, dict):
            found[name] = np.array(json.dumps(value))
        else:
            found |= {f"{name}.{key}": array for key, array in value.to_arrays().items()}
    return found


def run_in_pieces(job: Job, stage: str, path, questions: int) -> tuple[dict, int]:
    """Start the stage again and again; it is told to stop at every so manieth question."""
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
    outputs, n_jobs = run_in_pieces(job, stage, tmp_path / "checkpoint.npz", questions)
    assert n_jobs >= 3
    found = arrays_of(outputs)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_dynamics_saves_between_interruptions(tmp_path):
    """A killed job has the checkpoint of the last interval, here of the last step but a few."""
    job = replace(job_of("molecular_dynamics"), checkpoint=tmp_path / "c.npz", checkpoint_interval_s=1e-6)

    class Killed(Exception):
        pass

    def report(done: int, total: int) -> None:
        if done == 17:
            raise Killed

    with pytest.raises(Killed):
        STAGES["molecular_dynamics"](replace(job, report=report))
    steps = []
    continued = STAGES["molecular_dynamics"](replace(job, report=lambda done, total: steps.append(done)))
    assert steps[0] == 17
    expected = arrays_of(STAGES["molecular_dynamics"](job_of("molecular_dynamics")))
    np.testing.assert_array_equal(continued["trajectory"].positions, expected["trajectory.positions"])


@pytest.mark.parametrize("stage", ["relaxation", "force_constants", "labels", "molecular_dynamics"])
def test_checkpoint_of_another_job_is_refused(stage, tmp_path, monkeypatch):
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 9)
    job = replace(job_of(stage), checkpoint=tmp_path / "c.npz")
    with pytest.raises(StoppedEarly):
        STAGES[stage](replace(job, should_stop=lambda: True))
    name, value = next((name, value) for name, value in job.inputs.items() if isinstance(value, Configurations))
    other = replace(job, inputs=job.inputs | {name: value.with_(positions=value.positions + 1e-3)})
    with pytest.raises(UnreadableFile, match="belongs to"):
        STAGES[stage](other)


def test_force_constants_keep_the_displacements_done(tmp_path, monkeypatch):
    monkeypatch.setitem(ATOMS_PER_PIECE, "cpu", 64)
    job = replace(job_of("force_constants"), checkpoint=tmp_path / "c.npz")
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
    job = replace(job_of("labels"), checkpoint=tmp_path / "c.npz")
    with pytest.raises(StoppedEarly):
        STAGES["labels"](replace(job, should_stop=lambda: True))
    done: list[int] = []
    changed = replace(job, inference=Inference(batch_atoms=5, device="cpu"), report=lambda n, _: done.append(n))
    STAGES["labels"](changed)
    assert done[0] > 8
