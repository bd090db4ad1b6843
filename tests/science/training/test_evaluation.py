"""Errors of delta models, and the closed-form ridge model beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_frames import MORSE, labelled_frames

from aiida_mbetrain.errors import FeaturesMissing, LabelsMissing
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.training import (
    TEST,
    TRAIN,
    evaluate_delta,
    fit_ridge,
    fit_shifts,
    shifted_targets,
)
from aiida_mbetrain.settings import NamedCalculator

DIFFERENCE = NamedCalculator(name="lennard_jones", parameters={"sigma": 1.2, "epsilon": 0.05, "rc": 8.0})


@pytest.fixture(scope="module")
def frames():
    """Labels of Morse plus Lennard-Jones plus 7 eV per molecule; features that are linear in that difference."""
    packed = labelled_frames(named_calculator(DIFFERENCE), n_frames=60)
    rng = np.random.default_rng(5)
    difference = packed.targets - 7.0 * packed.n_molecules
    others = rng.normal(size=(len(packed), 5)) * packed.n_molecules[:, None]
    others[:, 0] = packed.n_molecules
    hidden = difference[:, None] - 0.3 * others @ rng.normal(size=(5, 1))
    interactions = np.array([interaction_of(packed, row) for row in range(len(packed))])
    return replace(packed, features=np.concatenate([hidden, others], axis=1), interactions=interactions)


def interaction_of(frames, row):
    """Interaction energy of the reference, from its two parts."""
    total = 0.0
    for settings in (MORSE, DIFFERENCE):
        potential = named_calculator(settings)
        whole = potential.evaluate([frames.configurations(row)])[0].energies[0]
        total += whole - sum(item.energies[0] for item in potential.evaluate(frames.molecules_of(row)))
    return total


def column(evaluation, name, model, group="all"):
    errors = evaluation.errors
    (row,) = np.flatnonzero((errors["model"] == model) & (errors["group"] == group))
    return errors[name][row]


@pytest.fixture(scope="module")
def evaluated(frames):
    """The true difference as delta model: its energies lack the 7 eV per molecule that no potential has."""
    lacking = replace(frames, energies=frames.energies - 7.0 * frames.n_molecules)
    without_features = replace(lacking, features=np.empty((len(frames), 0)))
    return evaluate_delta(without_features, named_calculator(DIFFERENCE), named_calculator(MORSE))


def test_a_perfect_model_has_no_errors(evaluated):
    for name in evaluated.errors.columns:
        if name not in ("model", "group", "n_frames"):
            assert column(evaluated, name, "delta") == pytest.approx(0.0, abs=1e-6), name


def test_errors_of_the_baseline_are_the_targets(frames, evaluated):
    test = frames.select(frames.subsets == TEST)
    expected = 1000 * np.sqrt(np.mean(test.target_forces**2))
    assert column(evaluated, "force_rmse_meV_per_A", "baseline") == pytest.approx(expected)
    pairs = test.select(test.n_molecules == 2)
    lacking = np.mean(np.abs((pairs.targets - 14.0) / 2)) * 1000
    assert column(evaluated, "energy_mae_meV_per_molecule", "baseline", "size=2") == pytest.approx(lacking)
    baseline = named_calculator(MORSE)
    alone = [sum(item.energies[0] for item in baseline.evaluate(pairs.molecules_of(row))) for row in range(len(pairs))]
    wrong = pairs.interactions - (pairs.baseline_energies - np.array(alone))
    expected = np.sqrt(np.mean(wrong**2)) / KJ_PER_MOL
    assert column(evaluated, "interaction_rmse_kJ_per_mol", "constant", "size=2") == pytest.approx(expected)


def test_groups_are_sizes_sources_and_sections(evaluated):
    assert set(evaluated.errors["group"]) == {
        "all", "size=1", "size=2", "source=md", "section=training/md_sampling",
    }  # fmt: skip
    assert set(evaluated.errors["model"]) == {"baseline", "constant", "delta"}


def test_ridge_learns_what_is_linear_in_the_features(frames):
    targets = shifted_targets(frames, fit_shifts(frames))
    model = fit_ridge(frames, targets)
    errors = (model.predict(frames.features) - targets)[frames.subsets == TEST]
    assert np.sqrt(np.mean(errors**2)) < 0.05 * targets[frames.subsets == TEST].std()
    assert model.left_out_rmse < 0.05 * targets.std()


def test_shuffled_labels_give_the_error_of_a_constant(frames):
    """A leak from the test set would show as a smaller one."""
    rng = np.random.default_rng(0)
    single = frames.select(frames.n_molecules == 1)
    ratios = []
    for _ in range(10):
        energies = single.baseline_energies + rng.permutation(single.targets)
        shuffled = replace(single, energies=energies)
        targets = shifted_targets(shuffled, fit_shifts(shuffled))
        test = shuffled.subsets == TEST
        errors = (fit_ridge(shuffled, targets).predict(shuffled.features) - targets)[test]
        ratios.append(np.sqrt(np.mean(errors**2) / np.mean(targets[test] ** 2)))
    assert 0.95 < np.mean(ratios) < 1.3


def test_errors_of_left_out_units_are_those_of_fits_without_them(frames):
    """The closed form against brute force at the strength that was chosen."""
    targets = shifted_targets(frames, fit_shifts(frames))
    model = fit_ridge(frames, targets)
    train = np.flatnonzero(frames.subsets == TRAIN)
    x, y = frames.features[train], targets[train]
    scaled = x / np.sqrt(np.mean(x**2, axis=0))
    strength = model.strength * np.linalg.svd(scaled, compute_uv=False)[0] ** 2
    errors = []
    for unit in np.unique(frames.units[train]):
        out = frames.units[train] == unit
        kept = scaled[~out]
        weights = np.linalg.solve(kept.T @ kept + strength * np.eye(x.shape[1]), kept.T @ y[~out])
        errors.append(scaled[out] @ weights - y[out])
    assert model.left_out_rmse == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=1e-6)


def test_test_labels_have_no_part_in_the_fit(frames):
    changed = replace(frames, energies=np.where(frames.subsets == TRAIN, frames.energies, 1e3))
    weights = [fit_ridge(item, shifted_targets(item, fit_shifts(item))).weights for item in (frames, changed)]
    np.testing.assert_array_equal(*weights)


def test_frames_without_features_have_no_ridge_model(frames):
    bare = replace(frames, features=np.empty((len(frames), 0)))
    with pytest.raises(FeaturesMissing, match="label with features"):
        fit_ridge(bare, bare.targets)


def test_a_subset_without_frames_is_named(frames):
    rest = frames.select(frames.subsets != TEST)
    with pytest.raises(LabelsMissing, match="No frame of the test set"):
        evaluate_delta(rest, named_calculator(DIFFERENCE), named_calculator(MORSE))
