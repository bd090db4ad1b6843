"""Labels in pieces of bounded size, so that an interrupted job keeps what it has."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from aiida_mbetrain.science.configurations import AnyArray, Configurations
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.labels import compute_labels

LABELS = ("energies", "forces", "stress", "features")

Piece = list[tuple[int, slice]]
"""Frames of several sets: (index of the set, frames)."""


def label_in_pieces(
    sets: Sequence[Configurations],
    potential: Potential,
    checkpoint: CheckpointFile,
    *,
    features: Sequence[bool],
    atoms_per_piece: int,
    report: Report = silent,
) -> list[Configurations]:
    """As ``compute_labels``, piece by piece; ``features`` says for each set whether it gets them.

    The pieces do not depend on where an earlier job stopped, so its labels and these are the same to the last bit.
    Where they do, after a job with other pieces (on another device), the frames that it has labelled are cut off.
    """
    for part in sets:
        potential.require_elements(part.numbers)
    total = sum(part.n_frames * part.n_atoms for part in sets)
    labelled = _found(sets, checkpoint.found)
    n_found = [sum(part.n_frames for part in parts) for parts in labelled]
    pieces = list(_without(n_found, sets, plan_pieces(sets, features, atoms_per_piece)))
    for number, piece in enumerate(pieces, start=1):
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
        checkpoint.offer(functools.partial(_progress, labelled))
        if number < len(pieces):
            checkpoint.stop_if_asked()
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


def _without(n_done: Sequence[int], sets: Sequence[Configurations], pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces without the first frames of every set, so many as are done; sets without frames stay."""
    for piece in pieces:
        left = [(index, slice(max(where.start, n_done[index]), where.stop)) for index, where in piece]
        rest = [(index, where) for index, where in left if where.start < where.stop or sets[index].n_frames == 0]
        if rest:
            yield rest


def _progress(labelled: Sequence[Sequence[Configurations]]) -> Progress:
    rows: dict[str, list[AnyArray]] = {}
    for index, parts in enumerate(labelled):
        for name in LABELS:
            values = [getattr(part, name) for part in parts]
            if values and values[0] is not None:
                rows[f"{index}.{name}"] = list(chain.from_iterable(values))
    return Progress(rows)


def _found(sets: Sequence[Configurations], found: Progress | None) -> list[list[Configurations]]:
    """The frames of each set that an earlier job has labelled."""
    rows = {} if found is None else found.rows
    labelled: list[list[Configurations]] = [[] for _ in sets]
    for index, part in enumerate(sets):
        labels = {name: rows.get(f"{index}.{name}") for name in LABELS}
        if labels["energies"] is not None:
            labelled[index].append(part.select(slice(0, len(labels["energies"]))).with_(**labels))
    return labelled
