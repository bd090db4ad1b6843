"""Batches of frames of bounded size, for any number of configurations."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiida_mbetrain.errors import OutOfMemory
from aiida_mbetrain.science.configurations import Configurations

CPU_BATCH_ATOMS = 256
"""Atoms that a MACE model on a CPU is given at once unless the settings say otherwise; on a CUDA device it is more."""


class Chunk(NamedTuple):
    """Frames ``start`` to ``stop`` of configuration set ``part``, with ``n_atoms`` atoms each."""

    part: int
    start: int
    stop: int
    n_atoms: int

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start

    @property
    def atoms(self) -> int:
        """Atoms of all frames together."""
        return self.frames * self.n_atoms


class BatchTooLarge(Exception):
    """A batch does not fit; ``room`` is the fraction of it that would."""

    def __init__(self, room: float) -> None:
        super().__init__()
        self.room = room


class BatchSize:
    """The number of atoms in a batch, learned from what was too large and from how much memory was left."""

    def __init__(self, atoms: int) -> None:
        self.atoms = atoms

    def run(self, sets: Sequence[Configurations], evaluate: Callable[[list[Chunk]], None]) -> None:
        """Call ``evaluate`` with batches that cover every frame of every set once, in order.

        ``evaluate`` raises BatchTooLarge to get the same frames again in smaller batches.
        Raises OutOfMemory when a single configuration does not fit.
        """
        todo = deque(Chunk(i, 0, part.n_frames, part.n_atoms) for i, part in enumerate(sets) if part.n_frames)
        while todo:
            batch = self._take(todo)
            try:
                evaluate(batch)
            except BatchTooLarge as error:
                self._shrink(batch, error)
                todo.extendleft(reversed(batch))

    def _take(self, todo: deque[Chunk]) -> list[Chunk]:
        """Remove frames from the front of ``todo`` until the batch is full; one frame at least."""
        batch: list[Chunk] = []
        room = self.atoms
        while todo:
            chunk = todo.popleft()
            frames = min(chunk.frames, max(room // chunk.n_atoms, 0 if batch else 1))
            middle = chunk.start + frames
            if frames:
                batch.append(chunk._replace(stop=middle))
                room -= batch[-1].atoms
            if middle < chunk.stop:
                todo.appendleft(chunk._replace(start=middle))
                break
        return batch

    def _shrink(self, batch: list[Chunk], error: BatchTooLarge) -> None:
        frames = sum(chunk.frames for chunk in batch)
        if frames == 1:
            raise OutOfMemory(
                f"One configuration of {batch[0].n_atoms} atoms does not fit into the device's memory: take a "
                "smaller supercell or cluster, default_dtype float32, a smaller model, or a device with more memory."
            )
        # rounded down to fewer atoms than before, so that repeated shrinking ends
        self.atoms = max(1, int(sum(chunk.atoms for chunk in batch) * error.room))
