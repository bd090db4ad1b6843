"""Errors of delta models, and the closed-form ridge model beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_frames import MORSE, labelled_frames

from aiida_mbetrain.errors import FeaturesMissing, InvalidSettings, LabelsMissing
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.training import (
    CONTACT_EDGES_A,
    TEST,
    TRAIN,
    evaluate_trained,
    fit_ridge,
    fit_shifts,
    part_of_training_set,
    shifted_targets,
)
from aiida_mbetrain.science.training.grouping import groups_of
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
    return evaluate_trained(without_features, named_calculator(DIFFERENCE), named_calculator(MORSE))


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


def test_groups_are_sizes_sources_temperatures_sections_and_contacts(evaluated):
    groups = set(evaluated.errors["group"])
    contacts = {group for group in groups if group.startswith("contact=")}
    assert groups - contacts == {
        "all", "size=1", "size=2", "source=md", "temperature=300", "section=training/md_sampling",
    }  # fmt: skip
    assert set(evaluated.errors["model"]) == {"baseline", "constant", "delta"}


def test_groups_of_contacts_are_the_pairs_in_their_range(frames, evaluated):
    test = frames.select(frames.subsets == TEST)
    pairs = test.select(test.n_molecules == 2)
    shortest = []
    for row in range(len(pairs)):
        one, two = (molecule.positions[0] for molecule in pairs.molecules_of(row))
        shortest.append(min(np.linalg.norm(a - b) for a in one for b in two))
    lacking = (pairs.targets - 14.0) / 2 * 1000
    edges = [0.0, *CONTACT_EDGES_A, np.inf]
    names = ["<2", "2-2.5", "2.5-3", "3-3.5", "3.5-4", "4-5", ">=5"]
    found = {str(group).removeprefix("contact=") for group in evaluated.errors["group"] if "contact" in str(group)}
    assert found == {name for name, low, high in zip(names, edges, edges[1:], strict=False)
                     if any(low <= value < high for value in shortest)}  # fmt: skip
    for name, low, high in zip(names, edges, edges[1:], strict=False):
        inside = [low <= value < high for value in shortest]
        if any(inside):
            expected = np.sqrt(np.mean(lacking[inside] ** 2))
            group = f"contact={name}"
            assert column(evaluated, "energy_rmse_meV_per_molecule", "baseline", group) == pytest.approx(expected)
            assert column(evaluated, "n_frames", "baseline", group) == sum(inside)


def test_crystals_are_groups_where_there_are_several(frames):
    first = np.arange(len(frames)) % 2 == 0
    paths = np.where(first, "urea/lj/300K/md", "ice/lj/300K/md")
    groups = {name: mask for name, mask in groups_of(replace(frames, paths=paths))}
    np.testing.assert_array_equal(groups["crystal=urea"], first)
    np.testing.assert_array_equal(groups["crystal=ice"], ~first)


def test_force_table_holds_every_component(frames, evaluated):
    forces, test = evaluated.forces, frames.select(frames.subsets == TEST)
    errors = 1000 * (forces["baseline_eV_per_A"] - forces["reference_eV_per_A"])
    assert len(errors) == 3 * test.n_atoms.sum()
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(column(evaluated, "force_rmse_meV_per_A", "baseline"))
    pairs = np.isin(forces["frame"], np.flatnonzero(test.n_molecules == 2))
    expected = column(evaluated, "force_rmse_meV_per_A", "baseline", "size=2")
    assert np.sqrt(np.mean(errors[pairs] ** 2)) == pytest.approx(expected)


def test_learning_curve_falls_and_ends_in_the_errors_of_the_whole_set(frames):
    energies_alone = replace(frames, interactions=np.full(len(frames), np.nan))
    found = evaluate_trained(
        energies_alone, named_calculator(DIFFERENCE), named_calculator(MORSE), fractions=(0.1, 0.5)
    )
    curve, name = found.learning_curve, "energy_rmse_meV_per_molecule"
    ridge = curve["model"] == "ridge"
    n_train = np.count_nonzero(frames.subsets == TRAIN)
    np.testing.assert_allclose(curve["fraction"][ridge], [0.1, 0.5, 1.0])
    np.testing.assert_array_equal(curve["n_frames"][ridge], np.round(curve["fraction"][ridge] * n_train))
    errors = curve[name][ridge]
    assert errors[0] > 2 * errors[1] > 0
    assert errors[-1] == column(found, name, "ridge")
    assert curve["fraction"][curve["model"] == "delta"].tolist() == [1.0]
    part = part_of_training_set(frames, 0.5)
    predicted = fit_ridge(part, shifted_targets(part, fit_shifts(part))).predict(frames.features)
    predicted = predicted + frames.compositions @ fit_shifts(part)
    test = frames.subsets == TEST
    wrong = 1000 * ((predicted - frames.targets) / frames.n_molecules)[test]
    assert errors[1] == pytest.approx(np.sqrt(np.mean(wrong**2)))


def test_parts_of_the_training_set_are_nested_and_keep_units_and_test_set(frames):
    small, large = (part_of_training_set(frames, fraction) for fraction in (0.25, 0.5))
    assert set(small.uids) < set(large.uids) < set(frames.uids)
    for part, expected in ((small, 0.25), (large, 0.5)):
        trained = part.units[part.subsets == TRAIN]
        assert np.bincount(np.unique(trained, return_inverse=True)[1]).tolist() == [2] * len(np.unique(trained))
        assert len(np.unique(trained)) == round(expected * len(np.unique(frames.units[frames.subsets == TRAIN])))
        assert np.count_nonzero(part.subsets != TRAIN) == np.count_nonzero(frames.subsets != TRAIN)
    other = part_of_training_set(frames, 0.25, seed=1)
    assert set(other.uids) != set(small.uids)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5])
def test_impossible_parts_are_refused(frames, fraction):
    with pytest.raises(InvalidSettings, match=f"fraction = {fraction:g}"):
        part_of_training_set(frames, fraction)


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
        evaluate_trained(rest, named_calculator(DIFFERENCE), named_calculator(MORSE))
