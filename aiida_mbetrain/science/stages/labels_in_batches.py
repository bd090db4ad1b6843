"""Labels in pieces of bounded size, so that an interrupted job keeps what it has."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray, Configurations
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.stages.checkpoint_file import Savings
from aiida_mbetrain.science.stages.labels import compute_labels

LABELS = ("energies", "forces", "stress", "features")

Piece = list[tuple[int, slice]]
"""Frames of several sets: (index of the set, frames)."""


def label_in_pieces(
    sets: Sequence[Configurations],
    potential: Potential,
    savings: Savings,
    *,
    features: Sequence[bool],
    atoms_per_piece: int,
    report: Report = silent,
) -> list[Configurations]:
    """As ``compute_labels``, piece by piece; ``features`` says for each set whether it gets them.

    The pieces do not depend on where an earlier job stopped, so its labels and these are the same to the last bit.
    """
    for part in sets:
        potential.require_elements(part.numbers)
    total = sum(part.n_frames * part.n_atoms for part in sets)
    n_done, labelled = _found(sets, savings.found)
    pieces = list(plan_pieces(sets, features, atoms_per_piece))
    for number, piece in enumerate(pieces[n_done:], start=n_done + 1):
        frames = [sets[index].select(where) for index, where in piece]
        before = sum(part.n_frames * part.n_atoms for parts in labelled for part in parts)
        new = compute_labels(
            frames,
            potential,
            features=features[piece[0][0]],
            report=lambda done, _: report(before + done, total),  # noqa: B023
        )
        for (index, _), part in zip(piece, new, strict=True):
            labelled[index].append(part)
        savings.offer(functools.partial(_arrays, number, labelled))
        if number < len(pieces):
            savings.stop_if_asked()
    return [Configurations.concatenate(parts) for parts in labelled]


def plan_pieces(sets: Sequence[Configurations], features: Sequence[bool], atoms: int) -> Iterator[Piece]:
    """Every frame of every set once, in order, in pieces of at most so many atoms (or of one frame).

    The sets of a piece agree on features; a set without frames is in a piece all the same.
    """
    piece: Piece = []
    room = atoms
    for index, part in enumerate(sets):
        if piece and features[index] != features[piece[0][0]]:
            yield piece
            piece, room = [], atoms
        start = 0
        while start < part.n_frames or part.n_frames == 0:
            n_frames = min(part.n_frames - start, room // part.n_atoms)
            if n_frames == 0 and part.n_frames and piece:
                yield piece
                piece, room = [], atoms
                continue
            n_frames = max(n_frames, min(1, part.n_frames))
            piece.append((index, slice(start, start + n_frames)))
            start, room = start + n_frames, room - n_frames * part.n_atoms
            if part.n_frames == 0:
                break
    if piece:
        yield piece


def _arrays(n_done: int, labelled: Sequence[Sequence[Configurations]]) -> dict[str, AnyArray]:
    arrays: dict[str, AnyArray] = {"pieces": np.array(n_done)}
    for index, parts in enumerate(labelled):
        if parts:
            joined = Configurations.concatenate(list(parts))
            values = {name: getattr(joined, name) for name in LABELS}
            arrays |= {f"{index}.{name}": value for name, value in values.items() if value is not None}
    return arrays


def _found(sets: Sequence[Configurations], arrays: Mapping[str, AnyArray]) -> tuple[int, list[list[Configurations]]]:
    """Number of finished pieces, and the frames of each set that they have labelled."""
    labelled: list[list[Configurations]] = [[] for _ in sets]
    for index, part in enumerate(sets):
        found = {name: arrays.get(f"{index}.{name}") for name in LABELS}
        if found["energies"] is not None:
            labelled[index].append(part.select(slice(0, len(found["energies"]))).with_(**found))
    return int(arrays.get("pieces", 0)), labelled
