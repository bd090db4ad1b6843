"""Fine-tuning of the baseline, alone and with replay, and models of several heads."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from labelled_frames import labelled_frames
from models import save_random_mace

from aiida_mbetrain.errors import (
    ElementsNotInModel,
    InvalidSettings,
    LabelsMissing,
    NotAModel,
    StoppedEarly,
    UnreadableFile,
)
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import NoPotential, load_mace, mace_atomic_energies
from aiida_mbetrain.science.stages import STAGES, Job
from aiida_mbetrain.science.training import TEST, TRAIN, ModelFile, ReplayFile, fit_shifts, mace_fields
from aiida_mbetrain.settings import Inference, Training
from aiida_mbetrain.worker import codec

CPU = Inference(device="cpu")
QUICK = {"max_num_epochs": 2, "device": "cpu", "default_dtype": "float64"}
TINY = {"num_channels": 4, "num_radial_basis": 4, "MLP_irreps": "4x0e", "radial_MLP": "[8, 8]", "r_max": 4.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("finetuning")


@pytest.fixture(scope="module")
def baseline(folder):
    """A model of two layers that knows one element more than the frames."""
    path = save_random_mace(folder / "baseline.model", elements=(1, 6, 8), r_max=4.4)
    return ModelFile(path.read_bytes(), path.name)


@pytest.fixture(scope="module")
def frames(folder, baseline):
    """The reference is the baseline, another small model and 7 eV per molecule."""
    path = save_random_mace(folder / "difference.model", elements=(6, 8), num_interactions=1, seed=3)
    known = load_mace(folder / "baseline.model", CPU), baseline.sha256
    return labelled_frames(load_mace(path, CPU), baseline=known)


def job(frames, baseline=None, *, replay=None, **settings) -> Job:
    given = {"frames": frames, "foundation": baseline, "replay": replay}
    inputs = {name: value for name, value in given.items() if value is not None}
    return Job(inputs, NoPotential(), Training(**(QUICK | settings)).to_dict())


@pytest.fixture(scope="module")
def replayed(frames, baseline):
    return STAGES["training"](job(frames, baseline, kind="finetune_replay"))


def potential_of(model: ModelFile, folder, head=None):
    path = folder / model.name
    path.write_bytes(model.content)
    return load_mace(path, Inference(device="cpu", head=head))


def errors_of(potential, frames, energies, forces):
    """Root mean square errors of energies (eV) and forces (eV/Å) on the test set."""
    rows = np.flatnonzero(frames.subsets == TEST)
    found = potential.evaluate([frames.configurations(row) for row in rows])
    of_energies = np.array([item.energies[0] for item in found]) - energies[rows]
    atoms = np.concatenate([np.arange(*frames.offsets[row : row + 2]) for row in rows])
    of_forces = np.concatenate([item.forces[0] for item in found]) - forces[atoms]
    return np.sqrt(np.mean(of_energies**2)), np.sqrt(np.mean(of_forces**2))


def test_a_finetuned_model_comes_nearer_to_the_reference(frames, baseline, tmp_path):
    trained = STAGES["training"](job(frames, baseline, kind="finetune", max_num_epochs=4))
    assert trained["summary"]["kind"] == "finetune"
    assert "heads" not in trained
    tuned = errors_of(potential_of(trained["model"], tmp_path), frames, frames.energies, frames.forces)
    before = errors_of(potential_of(baseline, tmp_path), frames, frames.energies, frames.forces)
    assert tuned[1] < 0.9 * before[1]
    assert trained["history"]["force_rmse_eV_per_A"][-1] < trained["history"]["force_rmse_eV_per_A"][0]


@pytest.mark.slow
def test_a_finetuned_model_starts_from_the_baseline_and_its_shifts(frames, baseline, tmp_path):
    hardly = {"lr": 1e-12, "foundation_model_elements": True}
    unchanged = STAGES["training"](job(frames, baseline, kind="finetune", mace=hardly, max_num_epochs=1))
    found = potential_of(unchanged["model"], tmp_path)
    rows = np.flatnonzero(frames.subsets == TEST)
    results = found.evaluate([frames.configurations(row) for row in rows])
    for row, result in zip(rows, results, strict=True):
        np.testing.assert_allclose(result.forces[0], frames.baseline_forces[frames.atoms_of(row)], atol=1e-9)
    energies = frames.baseline_energies + frames.compositions @ fit_shifts(frames)
    np.testing.assert_allclose([result.energies[0] for result in results], energies[rows], atol=1e-8)
    assert set(mace_atomic_energies(tmp_path / "finetuned.model")) == {1, 6, 8}


def test_the_model_is_the_head_of_the_reference(replayed, frames, tmp_path):
    from mace.calculators import MACECalculator

    for name in ("model", "heads"):
        (tmp_path / replayed[name].name).write_bytes(replayed[name].content)
    whole = MACECalculator(
        str(tmp_path / replayed["heads"].name), device="cpu", default_dtype="float64", head="reference"
    )
    assert whole.available_heads == ["pt_head", "reference"]
    alone = MACECalculator(str(tmp_path / replayed["model"].name), device="cpu", default_dtype="float64")
    ours = potential_of(replayed["model"], tmp_path)
    for row in (0, len(frames) - 1):
        configuration = frames.configurations(row)
        (found,) = ours.evaluate([configuration])
        for calculator in (whole, alone):
            atoms = Atoms(configuration.numbers, configuration.positions[0], calculator=calculator)
            assert atoms.get_potential_energy() == pytest.approx(found.energies[0], abs=1e-9)
            np.testing.assert_allclose(atoms.get_forces(), found.forces[0], atol=1e-9)


def test_the_head_of_the_replay_keeps_to_the_baseline(replayed, frames, tmp_path):
    kept = potential_of(replayed["heads"], tmp_path, head="pt_head")
    tuned = potential_of(replayed["heads"], tmp_path, head="reference")
    below = (frames.baseline_energies, frames.baseline_forces)
    assert errors_of(kept, frames, *below)[0] < 0.1 * errors_of(tuned, frames, *below)[0]
    assert errors_of(kept, frames, *below)[1] < errors_of(tuned, frames, *below)[1]


def replay_file(frames: list[Atoms], tmp_path, name="replay.xyz") -> ReplayFile:
    write(tmp_path / name, frames, format="extxyz")
    return ReplayFile((tmp_path / name).read_bytes(), name)


def dimers(n: int, *, labels: bool, symbols: str = "CO", shift: float = 0.0) -> list[Atoms]:
    frames = []
    for number in range(n):
        atoms = Atoms(symbols, [[0, 0, 0], [0, 0, 1.1 + 0.02 * number]])
        if labels:
            atoms.info["REF_energy"] = shift
            atoms.arrays["REF_forces"] = np.zeros((2, 3))
        frames.append(atoms)
    return frames


def test_replay_of_a_file_takes_its_labels_or_those_of_the_baseline(frames, baseline, folder, tmp_path):
    from aiida_mbetrain.science.training.replay import replay_of_file

    e0s, model = mace_atomic_energies(folder / "baseline.model"), load_mace(folder / "baseline.model", CPU)
    given = replay_of_file(replay_file(dimers(11, labels=True, shift=5.0), tmp_path), e0s, seed=1)
    assert (len(given.train), len(given.valid)) == (10, 1)
    for atoms in (*given.train, *given.valid):
        assert atoms.info["REF_energy"] == pytest.approx(5.0 - e0s[6] - e0s[8])
    periodic = dimers(3, labels=False, symbols="CH")
    for atoms in periodic:
        atoms.set_cell(4.5 * np.eye(3))
        atoms.pbc = True
    bare = replay_of_file(replay_file([*dimers(3, labels=False), *periodic], tmp_path), e0s, seed=1, labels=model)
    for atoms in (*bare.train, *bare.valid):
        (found,) = model.evaluate([Configurations.from_atoms(atoms)])
        assert atoms.info["REF_energy"] == pytest.approx(found.energies[0] - sum(e0s[z] for z in atoms.numbers))
        np.testing.assert_allclose(atoms.arrays["REF_forces"], found.forces[0], atol=1e-12)
        assert ("REF_stress" in atoms.info) == bool(atoms.pbc.all())


def test_replay_files_reach_the_worker(tmp_path):
    file = replay_file(dimers(2, labels=True), tmp_path)
    assert codec.load(tmp_path, codec.save(tmp_path, "replay", file)) == file


@pytest.mark.slow
def test_replay_of_a_file_trains(frames, baseline, tmp_path):
    file = replay_file(dimers(12, labels=False), tmp_path)
    found = STAGES["training"](
        job(frames, baseline, replay=file, kind="finetune_replay", pseudolabel_replay=True, max_num_epochs=1)
    )
    assert np.isfinite(found["history"]["loss"]).all()


@pytest.mark.slow
def test_multihead_training_learns_both_methods(frames, tmp_path):
    found = STAGES["training"](job(frames, kind="multihead", mace=TINY, max_num_epochs=8))
    for head, energies in (("baseline", frames.baseline_energies), ("reference", frames.energies)):
        potential = potential_of(found["heads"], tmp_path, head=head)
        train = frames.select(frames.subsets == TRAIN)
        results = potential.evaluate([train.configurations(row) for row in range(len(train))])
        residuals = energies[frames.subsets == TRAIN] - np.array([result.energies[0] for result in results])
        np.testing.assert_allclose(train.compositions.T @ residuals, 0.0, atol=1e-7)
    loss = found["history"]["loss"]
    assert loss[-1] < loss[0]
    whole = potential_of(found["heads"], tmp_path, head="reference")
    alone = potential_of(found["model"], tmp_path)
    (first,), (second,) = (model.evaluate([frames.configurations(0)]) for model in (whole, alone))
    np.testing.assert_allclose(first.forces, second.forces, atol=1e-10)


def of_method(frames, name: str, change: float):
    """Labels of another method: forces scaled, and an energy by molecule."""
    return replace(
        frames,
        level_of_theory=name,
        method_hash=hashlib.md5(name.encode()).hexdigest(),
        energies=frames.energies + change * frames.n_molecules,
        forces=(1 + 0.1 * change) * frames.forces,
    )


@pytest.fixture(scope="module")
def of_two_methods(frames):
    """A training on all frames with labels of one method, and on the single molecules with those of another."""
    other = of_method(frames, "other", 2.0).select(frames.n_molecules == 1)
    inputs = {"frames": frames, "frames_reference_2": other}
    settings = Training(**QUICK, kind="multihead", mace=TINY)
    return other, STAGES["training"](Job(inputs, NoPotential(), settings.to_dict()))


def test_every_method_has_a_head_of_its_own_frames(frames, of_two_methods, tmp_path):
    other, found = of_two_methods
    assert found["summary"]["methods"]["reference"]["level_of_theory"] == "known"
    said = found["summary"]["methods"]["reference_2"]
    assert (said["level_of_theory"], said["n_frames"]) == ("other", {"train": 8, "valid": 2, "test": 2})
    for head, part, energies in (
        ("baseline", frames, frames.baseline_energies),
        ("reference", frames, frames.energies),
        ("reference_2", other, other.energies),
    ):
        potential = potential_of(found["heads"], tmp_path, head=head)
        train = part.select(part.subsets == TRAIN)
        results = potential.evaluate([train.configurations(row) for row in range(len(train))])
        residuals = energies[part.subsets == TRAIN] - np.array([result.energies[0] for result in results])
        np.testing.assert_allclose(train.compositions.T @ residuals, 0.0, atol=1e-7)
    alone = potential_of(found["model"], tmp_path)
    (kept,), (whole,) = (
        model.evaluate([frames.configurations(0)])
        for model in (alone, potential_of(found["heads"], tmp_path, head="reference"))
    )
    np.testing.assert_allclose(kept.forces, whole.forces, atol=1e-10)


def test_the_head_of_the_baseline_learns_each_frame_of_all_methods_once(frames):
    from aiida_mbetrain.science.training.heads import heads_of_kind

    first, second = frames.select(frames.n_molecules == 1), of_method(frames, "other", 2.0)
    heads = {head.name: head for head in heads_of_kind(first, "multihead", {}, {"reference_2": second})}
    assert list(heads) == ["baseline", "reference_2", "reference"]
    assert sorted(heads["baseline"].frames.uids) == sorted(frames.uids)
    assert sorted(heads["reference"].frames.uids) == sorted(first.uids)
    order = np.argsort(heads["baseline"].frames.uids)
    expected = frames.baseline_energies[np.argsort(frames.uids)]
    np.testing.assert_array_equal(heads["baseline"].energies[order], expected)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"method_hash": "a1" * 16}, "multihead", "have labels of one method, other: give every method once"),
        ({"baseline": "another"}, "multihead", "labels of the baseline another"),
        ({"subsets": "shifted"}, "multihead", "in the (train|valid|test) set of other and in the .* of another method"),
        ({}, "delta", "'delta' learns one method, and frames of 2 are given"),
    ],
)
def test_labels_that_no_heads_can_share_are_refused(frames, changes, kind, message):
    other = of_method(frames, "other", 2.0)
    if "subsets" in changes:
        changes = {"subsets": np.roll(frames.subsets, 1)}
    inputs = {"frames": frames, "frames_reference_2": replace(other, **changes)}
    settings = Training(**QUICK, kind=kind, mace=TINY)
    with pytest.raises(InvalidSettings, match=message):
        STAGES["training"](Job(inputs, NoPotential(), settings.to_dict()))


@pytest.mark.slow
def test_an_interrupted_finetuning_goes_on(frames, baseline, tmp_path):
    seen: list[int] = []
    stopping = replace(
        job(frames, baseline, kind="finetune_replay", max_num_epochs=5),
        checkpoint=tmp_path / "checkpoint.segments",
        report=lambda done, _: seen.append(done),
    )
    with pytest.raises(StoppedEarly):
        STAGES["training"](replace(stopping, should_stop=lambda: seen[-1] >= 2))
    before = seen[-1]
    seen.clear()
    found = STAGES["training"](stopping)
    assert seen[0] >= before - 1
    np.testing.assert_array_equal(found["history"]["epoch"], np.arange(5))


def test_a_model_that_did_not_label_the_frames_is_refused(frames, baseline):
    other = ModelFile(baseline.content + b" ", "other.model")
    with pytest.raises(InvalidSettings, match=r"the labels of the frames are those of the baseline"):
        STAGES["training"](job(frames, other, kind="finetune"))
    with pytest.raises(InvalidSettings, match=r"starts from the model of the baseline, .*, which is not given"):
        STAGES["training"](job(frames, kind="finetune"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no structure", "replay.xyz is no extended XYZ file"),
        (
            b"1000000000000\n\nC 0 0 0\n",
            "replay.xyz is no .*: it is cut off: line 1 announces more",
        ),
        (b"", "replay.xyz is no extended XYZ file"),
    ],
)
def test_replay_files_that_are_no_structures_are_refused_under_their_name(content, message):
    with pytest.raises(UnreadableFile, match=message):
        ReplayFile(content, "replay.xyz").read()


def test_models_that_mace_does_not_finetune_are_refused(frames, tmp_path):
    path = save_random_mace(tmp_path / "plain.model", elements=(6, 8), scale_shift=False)
    plain = ModelFile(path.read_bytes(), path.name)
    digest = hashlib.sha256(plain.content).hexdigest()
    with pytest.raises(NotAModel, match="MACE fine-tunes a ScaleShiftMACE alone"):
        STAGES["training"](job(replace(frames, baseline=digest), plain, kind="finetune"))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (dimers(1, labels=True), InvalidSettings, "has 1 configurations"),
        (dimers(2, labels=False), LabelsMissing, r"Configuration 1 .* has no energy and forces: .*pseudolabel_replay"),
        (dimers(2, labels=True, symbols="CAr"), ElementsNotInModel, "has Ar, which the baseline does not know"),
    ],
)
def test_replay_files_that_cannot_be_used_are_named(frames, baseline, tmp_path, content, error, message):
    file = replay_file(content, tmp_path)
    with pytest.raises(error, match=message):
        STAGES["training"](job(frames, baseline, replay=file, kind="finetune_replay"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "finetune", "mace": {"r_max": 6.0}}, "r_max is not to be set here: it is that of the baseline"),
        ({"mace": {"foundation_model": "medium"}}, "it is the baseline where Training.kind is finetune"),
        ({"kind": "finetune", "pseudolabel_replay": True}, "only kind = 'finetune_replay' has a replay file"),
        ({"kind": "naive"}, "Training.kind"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings, message):
    with pytest.raises(InvalidSettings, match=message):
        mace_fields(Training(**settings))
