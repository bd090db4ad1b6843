"""Groups of labelled frames whose errors are compared, and parts of the training set."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import BoolArray, FloatArray
from aiida_mbetrain.science.training.frames import TRAIN, LabelledFrames

CONTACT_EDGES_A = (2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
"""Limits of the groups by closest contact; the lower one belongs to a group, the upper one to the next."""


def closest_contacts(frames: LabelledFrames) -> FloatArray:
    """Shortest distance between atoms of two molecules of each cluster, (F,), Å; NaN for single molecules."""
    found = np.full(len(frames), np.nan)
    for row in np.flatnonzero(frames.n_molecules > 1):
        atoms = frames.atoms_of(int(row))
        positions, molecules = frames.positions[atoms], frames.molecules[atoms]
        first, second = np.nonzero(molecules[:, None] < molecules[None, :])
        found[row] = np.linalg.norm(positions[first] - positions[second], axis=1).min()
    return found


def groups_of(frames: LabelledFrames) -> Iterator[tuple[str, BoolArray]]:
    """All frames; those of each size, source, temperature, crystal, section, and range of closest contacts.

    Crystals are told apart by the first group of a path, as in the file of a campaign; one alone is all frames.
    """
    yield "all", np.ones(len(frames), dtype=bool)
    sections = np.array([path.partition("/finite_subsystems/")[0] for path in frames.paths])
    for name, values in (
        ("size", frames.n_molecules),
        ("source", frames.sources),
        ("temperature", frames.temperatures_K),
    ):
        for value in np.unique(values[~_unknown(values)]):
            yield f"{name}={value:g}" if isinstance(value, np.floating) else f"{name}={value}", values == value
    if len(crystals := np.unique(frames.crystals)) > 1:
        for crystal in crystals:
            yield f"crystal={crystal}", frames.crystals == crystal
    for section in np.unique(sections):
        yield f"section={section}", sections == section
    contacts = closest_contacts(frames)
    for low, high in pairwise((0.0, *CONTACT_EDGES_A, np.inf)):
        if (inside := (contacts >= low) & (contacts < high)).any():
            yield f"contact={contact_range(low, high)}", inside


def contact_range(low: float, high: float) -> str:
    """``<2``, ``2-2.5``, ``>=5``, in Å."""
    if low == 0:
        return f"<{high:g}"
    return f">={low:g}" if np.isinf(high) else f"{low:g}-{high:g}"


def _unknown(values: np.ndarray) -> BoolArray:
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def part_of_training_set(frames: LabelledFrames, fraction: float, *, seed: int = 42) -> LabelledFrames:
    """The frames with a part of their training set; validation and test set are whole.

    Units are drawn by chance, so that related frames stay together and a larger fraction holds the smaller ones.
    Raises InvalidSettings for a fraction that is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise InvalidSettings(f"fraction = {fraction:g}: give parts of the training set above 0 and at most 1.")
    units = np.unique(frames.units[frames.subsets == TRAIN])
    drawn = np.random.default_rng(seed).permutation(units)
    kept = drawn[: max(1, round(fraction * len(units)))]
    return frames.select((frames.subsets != TRAIN) | np.isin(frames.units, kept))
