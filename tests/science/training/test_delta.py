"""Training of delta models: a known difference is learned, shifts are stored, interruptions and failures are named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_frames import labelled_frames
from models import save_random_mace

from aiida_mbetrain.errors import InvalidSettings, LabelsMissing, StoppedEarly, TrainingDiverged
from aiida_mbetrain.science.potentials import NoPotential, load_mace, mace_atomic_energies
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile
from aiida_mbetrain.science.training import (
    TEST,
    TRAIN,
    VALID,
    LabelledFrames,
    ModelFile,
    fit_shifts,
    mace_fields,
    shifted_targets,
    train_model,
)
from aiida_mbetrain.settings import Inference, Training

CPU = Inference(device="cpu")
TINY = {"num_channels": 8, "num_radial_basis": 4, "MLP_irreps": "4x0e", "radial_MLP": "[8, 8]", "r_max": 4.0}
QUICK = Training(max_num_epochs=6, device="cpu", mace=TINY)


@pytest.fixture(scope="module")
def difference(tmp_path_factory):
    """A MACE model of one layer with random weights."""
    path = tmp_path_factory.mktemp("difference") / "known.model"
    save_random_mace(path, elements=(6, 8), num_interactions=1, seed=3)
    return load_mace(path, Inference(device="cpu"))


@pytest.fixture(scope="module")
def frames(difference):
    return labelled_frames(difference)


def job(frames: LabelledFrames, settings: Training = QUICK, **others) -> Job:
    return Job({"frames": frames}, NoPotential(), settings.to_dict(), **others)


@pytest.fixture(scope="module")
def trained(frames):
    return STAGES["training"](job(frames))


def potential_of(model: ModelFile, folder: Path):
    path = folder / model.name
    path.write_bytes(model.content)
    return load_mace(path, Inference(device="cpu"))


def evaluated(model: ModelFile, frames: LabelledFrames, folder: Path):
    """Energies and forces of the model for the test set, and their targets."""
    rows = np.flatnonzero(frames.subsets == TEST)
    results = potential_of(model, folder).evaluate([frames.configurations(row) for row in rows])
    energies = np.array([result.energies[0] for result in results])
    forces = np.concatenate([result.forces[0] for result in results])
    wanted = np.concatenate([frames.target_forces[frames.atoms_of(row)] for row in rows])
    return energies, forces, frames.targets[rows], wanted


def test_errors_fall_and_the_model_is_one_of_mace(trained, frames, tmp_path):
    loss = trained["history"]["loss"]
    np.testing.assert_array_equal(trained["history"]["epoch"], np.arange(6))
    assert loss[-1] < 0.8 * loss[0]
    energies, forces, targets, wanted = evaluated(trained["model"], frames, tmp_path)
    assert energies.shape == targets.shape
    assert np.sqrt(np.mean((forces - wanted) ** 2)) < np.sqrt(np.mean(wanted**2))


def test_shifts_are_those_of_the_training_split_and_stand_in_the_model(trained, frames, tmp_path):
    path = tmp_path / "delta.model"
    path.write_bytes(trained["model"].content)
    stored = mace_atomic_energies(path)
    assert trained["summary"]["shifts_eV"] == pytest.approx({str(z): shift for z, shift in stored.items()})
    chosen = frames.select(frames.subsets == TRAIN)
    found = load_mace(path, CPU).evaluate([chosen.configurations(row) for row in range(len(chosen))])
    residuals = chosen.targets - np.array([item.energies[0] for item in found])
    np.testing.assert_allclose(chosen.compositions.T @ residuals, 0.0, atol=1e-8)
    shifts = fit_shifts(frames)
    changed = np.where(frames.subsets == TRAIN, 0.0, 1000.0)
    np.testing.assert_allclose(fit_shifts(replace(frames, energies=frames.energies + changed)), shifts, atol=1e-9)


def test_shifts_are_the_mean_target_per_molecule(frames):
    chosen = frames.subsets == TRAIN
    per_molecule = frames.compositions[0] @ fit_shifts(frames)
    weights = frames.n_molecules[chosen]
    assert per_molecule == pytest.approx(np.sum(weights * frames.targets[chosen]) / np.sum(weights**2))


@pytest.mark.slow
def test_a_known_difference_is_learned(difference, tmp_path):
    """The reference is the baseline and a model of the same form: its forces are learned to a few per cent."""
    frames = labelled_frames(difference, n_frames=30)
    settings = QUICK.model_copy(update={"max_num_epochs": 150})
    result = STAGES["training"](job(frames, settings))
    energies, forces, targets, wanted = evaluated(result["model"], frames, tmp_path)
    assert np.sqrt(np.mean((forces - wanted) ** 2)) < 0.1 * np.sqrt(np.mean(wanted**2))
    spread = shifted_targets(frames, fit_shifts(frames))[frames.subsets == TEST]
    assert np.sqrt(np.mean((energies - targets) ** 2)) < 0.3 * np.sqrt(np.mean(spread**2))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(trained, frames, tmp_path):
    again = STAGES["training"](job(frames))
    for name, column in trained["history"].columns.items():
        np.testing.assert_array_equal(again["history"][name], column)
    first, second = (evaluated(result["model"], frames, tmp_path)[1] for result in (trained, again))
    np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_another_seed_gives_another_model(trained, frames):
    other = STAGES["training"](job(frames, QUICK.model_copy(update={"seed": 7})))
    assert not np.array_equal(other["history"]["loss"], trained["history"]["loss"])


@pytest.mark.slow
def test_a_job_that_is_stopped_goes_on_from_the_checkpoint_of_mace(frames, tmp_path):
    checkpoint = tmp_path / "checkpoint.segments"
    settings = QUICK.model_copy(update={"max_num_epochs": 12})
    seen: list[int] = []
    stopping = job(
        frames,
        settings,
        checkpoint=checkpoint,
        checkpoint_interval_s=0.0,
        report=lambda done, _: seen.append(done),
        should_stop=lambda: checkpoint.exists() and seen[-1] >= 3,
    )
    with pytest.raises(StoppedEarly):
        STAGES["training"](stopping)
    saved = CheckpointFile(stopping, "training", settings.to_dict() | {"device": None}).found.state
    last_saved = json.loads(str(saved["history"]).splitlines()[-1])["epoch"]
    seen.clear()
    result = STAGES["training"](job(frames, settings, checkpoint=checkpoint, report=lambda done, _: seen.append(done)))
    assert seen[0] == last_saved + 1
    np.testing.assert_array_equal(result["history"]["epoch"], np.arange(12))


@pytest.mark.slow
def test_energy_only_labels_are_trained_without_forces(difference, tmp_path):
    frames = labelled_frames(difference, energy_only=True)
    result = STAGES["training"](job(frames))
    assert np.isfinite(result["history"]["loss"]).all()
    energies, _, targets, _ = evaluated(result["model"], frames, tmp_path)
    assert np.isfinite(energies - targets).all()


@pytest.mark.slow
def test_a_training_that_diverges_keeps_the_model_of_its_last_good_epoch(frames, tmp_path):
    states = []

    def stop_after_a_good_epoch(training):
        if training.state is not None:
            states.append(training.state)
            raise StoppedEarly

    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    with pytest.raises(StoppedEarly):
        train_model(frames, QUICK, tmp_path / "good", on_poll=stop_after_a_good_epoch)
    forces = frames.forces.copy()
    forces[frames.atoms_of(0)][1] = np.nan
    with pytest.raises(TrainingDiverged, match=r"lower the learning rate.*good epoch is kept") as caught:
        train_model(replace(frames, forces=forces), QUICK, tmp_path / "bad", found=states[0])
    energies, _, _, _ = evaluated(caught.value.results["model"], frames, tmp_path)
    assert np.isfinite(energies).all()


@pytest.mark.parametrize("subset", [TRAIN, VALID])
def test_frames_without_a_part_of_the_split_are_refused(frames, subset):
    with pytest.raises(LabelsMissing, match=r"No frame of the (training|validation) set"):
        STAGES["training"](job(frames.select(frames.subsets != subset)))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("E0s", "shifts are fitted"),
        ("valid_fraction", "related frames"),
        ("num_chanels", "did you mean 'num_channels'"),
    ],
)
def test_fields_that_mace_has_not_or_the_stage_sets_are_refused(field, message):
    with pytest.raises(InvalidSettings, match=message):
        mace_fields(Training(mace={field: "average"}))


def test_every_other_field_of_mace_is_passed_on():
    fields = mace_fields(Training(size="balanced", mace={"r_max": 6.5, "swa": True}, max_num_epochs=3))
    assert (fields["r_max"], fields["swa"], fields["max_num_epochs"], fields["num_channels"]) == (6.5, True, 3, 64)


def test_packed_frames_survive_storage(frames):
    back = LabelledFrames.from_arrays(frames.to_arrays())
    for name, array in frames.to_arrays().items():
        np.testing.assert_array_equal(back.to_arrays()[name], array)
    assert back.level_of_theory == "known"


def test_a_selection_keeps_the_atoms_of_its_clusters(frames):
    rows = np.array([15, 2])
    chosen = frames.select(rows)
    for new, old in enumerate(rows):
        np.testing.assert_array_equal(chosen.configurations(new).positions, frames.configurations(old).positions)
        assert chosen.uids[new] == frames.uids[old]
    np.testing.assert_array_equal(chosen.n_molecules, frames.n_molecules[rows])
