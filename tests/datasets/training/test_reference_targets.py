"""Labels of reference methods as targets of a trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_examples import full_dataset
from mace_loader import load_file

from aiida_mbetrain.datasets.training import (
    Split,
    entries_of,
    fit_shifts,
    target_minus_baseline,
    with_reference,
    write_training_files,
)
from aiida_mbetrain.errors import InvalidSettings

DATASET = full_dataset()
ALL = Split((1.0, 0.0, 0.0))
E0S = {1: -13.5, 6: -1029.25, 8: -2042.125, 18: -14000.5}
ENERGIES_ALONE = "MP2/cc-pVDZ[order=2,vmfc]"


def pairs():
    (entry,) = entries_of(DATASET, sources=["md"], sizes=[2])
    return entry


def test_labels_of_the_method_replace_those_of_the_baseline():
    (entry,) = with_reference(entries_of(DATASET), DATASET, "GFN2-xTB")
    baseline = pairs().configurations
    np.testing.assert_array_equal(entry.configurations.energies, baseline.energies + 0.5)
    np.testing.assert_array_equal(entry.configurations.forces, 2.0 * baseline.forces)
    assert entry.configurations.features is None


def test_frames_without_a_label_are_left_out_and_the_others_keep_their_uids():
    (entry,) = with_reference(entries_of(DATASET), DATASET, ENERGIES_ALONE)
    assert entry.uids == [pairs().uids[frame] for frame in (0, 2, 3)]
    assert entry.configurations.forces is None


def test_a_chosen_frame_takes_its_own_label():
    chosen = pairs().select(np.array([3, 0]))
    (entry,) = with_reference([chosen], DATASET, ENERGIES_ALONE)
    difference = entry.configurations.energies - chosen.configurations.energies
    np.testing.assert_allclose(difference, [-4.0, -1.0], atol=1e-12)


def test_an_unknown_method_names_those_that_there_are():
    with pytest.raises(InvalidSettings, match="labels of GFN2-xTB, MP2/cc-pVDZ"):
        with_reference(entries_of(DATASET), DATASET, "PBE/def2-SVP")


def test_forces_weigh_nothing_where_the_method_gives_energies_alone(tmp_path: Path):
    targets = with_reference(entries_of(DATASET), DATASET, ENERGIES_ALONE)
    differences = [target_minus_baseline(entry, pairs()) for entry in targets]
    write_training_files(tmp_path, differences, E0S, split=ALL)
    _, loaded = load_file(tmp_path / "train.xyz")
    np.testing.assert_allclose([frame.properties["energy"] for frame in loaded], [-1.0, -3.0, -4.0], atol=1e-8)
    assert {frame.property_weights["forces"] for frame in loaded} == {0.0}
    assert {frame.property_weights["energy"] for frame in loaded} == {1.0}


def test_shifts_fit_the_training_set_alone():
    """Differences of 3 eV for each atom of the training set; the others differ by more and change nothing."""
    entry = pairs()
    split = Split((0.5, 0.25, 0.25), gap=0, block=1)
    from aiida_mbetrain.datasets.training import split_entries

    (share,) = split_entries([entry], split)
    n_atoms = entry.configurations.n_atoms
    energies = np.where(share == 0, 3.0 * n_atoms, 100.0)
    changed = replace(entry, configurations=entry.configurations.with_(energies=energies))
    shifts = fit_shifts([changed], split)
    assert sum(shifts[int(z)] for z in entry.configurations.numbers) == pytest.approx(3.0 * n_atoms)


def test_shifts_are_the_smallest_that_fit():
    """One composition determines one sum: by symmetry a multiple of the numbers of atoms of each element."""
    entry = pairs()
    changed = replace(entry, configurations=entry.configurations.with_(energies=np.full(4, 2.0)))
    numbers = entry.configurations.numbers.tolist()
    counts = np.array([numbers.count(z) for z in sorted(set(numbers))])
    np.testing.assert_allclose(list(fit_shifts([changed], ALL).values()), 2.0 * counts / (counts @ counts))
