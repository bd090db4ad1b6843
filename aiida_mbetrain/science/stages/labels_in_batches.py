"""Labels in pieces of bounded size, so that an interrupted job keeps what it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import GrowingArray
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.labels import compute_labels
from aiida_mbetrain.settings import FeaturesDtype

LABELS = ("energies", "forces", "stress", "features")

UNSAVED_BYTES = 8_000_000
"""Labels after which they are saved, whatever the interval: a save holds what it writes in memory."""

Piece = list[tuple[int, slice]]
"""Frames of several sets: (index of the set, frames)."""


def label_in_pieces(
    sets: Sequence[Configurations],
    potential: Potential,
    checkpoint: CheckpointFile,
    *,
    features: Sequence[bool],
    features_dtype: FeaturesDtype = "float32",
    atoms_per_piece: int,
    report: Report = silent,
) -> list[Configurations]:
    """As ``compute_labels``, piece by piece, with features in ``features_dtype``.

    features: whether a set gets them, for each set.

    The pieces do not depend on where an earlier job stopped, so its labels and these are the same to the last bit.
    Where they do, after a job with other pieces (on another device), the frames that it has labelled are cut off.
    No more than a piece is in memory: large arrays of labels are mapped from files beside the checkpoint.
    """
    for part in sets:
        potential.require_elements(part.numbers)
    total = sum(part.n_frames * part.n_atoms for part in sets)
    labels = _Labels(sets, checkpoint.found, checkpoint.folder)
    before = sum(n * part.n_atoms for n, part in zip(labels.n_labelled, sets, strict=True))
    pieces = list(_without(labels.n_labelled, sets, plan_pieces(sets, features, atoms_per_piece)))
    unsaved_bytes = 0
    for number, piece in enumerate(pieces, start=1):
        new = compute_labels(
            [sets[index].select(where) for index, where in piece],
            potential,
            features=features[piece[0][0]],
            report=lambda done, _: report(before + done, total),  # noqa: B023
        )
        for (index, _), part in zip(piece, new, strict=True):
            unsaved_bytes += labels.append(index, part, features_dtype)
            before += part.n_frames * part.n_atoms
        checkpoint.offer(labels.progress)
        if unsaved_bytes > UNSAVED_BYTES:
            checkpoint.save(durable=False)
            unsaved_bytes = 0
        if number < len(pieces):
            checkpoint.stop_if_asked()
    return labels.of_sets()


class _Labels:
    """Labels of the first frames of every set.

    n_labelled: their number at the start, for each set.
    """

    def __init__(self, sets: Sequence[Configurations], found: Progress | None, folder: Path | None) -> None:
        """found: labels of an earlier job."""
        self._sets = sets
        self._folder = folder
        self._rows: dict[str, GrowingArray] = {}
        for name, rows in ({} if found is None else found.rows).items():
            self._rows[name] = GrowingArray(folder)
            self._rows[name].append(np.asarray(rows))
        self.n_labelled = [len(self._rows.get(f"{index}.energies", ())) for index in range(len(sets))]

    def append(self, index: int, part: Configurations, features_dtype: FeaturesDtype) -> int:
        """Add the next labelled frames of a set; returns their bytes."""
        n_bytes = 0
        for name in LABELS:
            values = getattr(part, name)
            if values is None:
                continue
            values = values.astype(features_dtype) if name == "features" else values
            self._rows.setdefault(f"{index}.{name}", GrowingArray(self._folder)).append(values)
            n_bytes += values.nbytes
        return n_bytes

    def progress(self) -> Progress:
        """All labels so far, of which the checkpoint saves those that are new."""
        return Progress(self._rows)

    def of_sets(self) -> list[Configurations]:
        """All sets with their labels."""
        whole = {name: rows.array() for name, rows in self._rows.items()}
        return [
            part.with_(**{name: whole.get(f"{index}.{name}") for name in LABELS})
            for index, part in enumerate(self._sets)
        ]


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
