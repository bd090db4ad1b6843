"""Targets of a trainer from the labels of a reference method that a dataset has beside those of the baseline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.training.frames import Entry
from aiida_mbetrain.datasets.training.reference_energies import compositions, elements_of
from aiida_mbetrain.datasets.training.splits import SUBSETS, Split, split_entries
from aiida_mbetrain.errors import InvalidSettings

TRAIN = SUBSETS.index("train")


def with_reference(entries: Sequence[Entry], dataset: Dataset, level_of_theory: str) -> list[Entry]:
    """The frames that a reference method labelled, with its labels in place of the baseline's; features are left out.

    Frames of the crystal and clusters without a label are left out.  Raises InvalidSettings for a method that labelled
    none of them.
    """
    found = []
    for entry in entries:
        labels = dataset.references.get(entry.path, {}).get(level_of_theory)
        if labels is not None and len(frames := np.flatnonzero(np.isfinite(labels.energies[entry.rows]))):
            rows = entry.rows[frames]
            forces = None if labels.forces is None else labels.forces[rows]
            found.append(
                entry.select(frames, energies=labels.energies[rows], forces=forces, stress=None, features=None)
            )
    if not found:
        known = sorted({name for by_method in dataset.references.values() for name in by_method})
        raise InvalidSettings(
            f"No chosen frame has a label of {level_of_theory!r}; the dataset has labels of "
            f"{', '.join(known) or 'no reference method'}."
        )
    return found


def fit_shifts(entries: Sequence[Entry], split: Split) -> dict[int, float]:
    """Energies by atomic number, eV, whose sums fit the energies of the training set best, and are smallest.

    For differences of two methods, whose sums over a molecule are all that matters; energies of the validation and
    test set have no part in them.
    """
    counts, targets = [], []
    for entry, composition, share in zip(entries, compositions(entries), split_entries(entries, split), strict=True):
        energies = entry.configurations.energies
        assert energies is not None
        if np.any(share == TRAIN):
            weight = np.sqrt(np.count_nonzero(share == TRAIN))
            counts.append(weight * composition)
            targets.append(weight * energies[share == TRAIN].mean())
    shifts = np.linalg.lstsq(np.array(counts, dtype=np.float64), np.array(targets), rcond=None)[0]
    return dict(zip(elements_of(entries), shifts.tolist(), strict=True))
