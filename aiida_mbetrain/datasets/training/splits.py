"""Training, validation and test sets that share no relatives (see ``frames``)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.datasets.training.frames import Entry, Lineage
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import IntArray

SUBSETS = ("train", "valid", "test")
"""Names of the parts of a split, in the order of their numbers."""
TEST = SUBSETS.index("test")
LEFT_OUT = -1
N_BLOCKS = 10


@dataclass(frozen=True)
class HoldOut:
    """Parts of a dataset that are only tested on.

    crystals: names, the first group of a path.  temperatures_K: of the sampling.
    sizes: numbers of molecules, 0 for the crystal.
    """

    crystals: tuple[str, ...] = ()
    temperatures_K: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()

    def holds_section(self, entry: Entry) -> bool:
        """True for an entry of a crystal or temperature that is held out."""
        held_out = [_rounded(value) for value in self.temperatures_K]
        return entry.path.split("/")[0] in self.crystals or _temperature(entry) in held_out

    def holds_size(self, entry: Entry) -> bool:
        """True for an entry of a size that is held out."""
        return (entry.n_molecules or 0) in self.sizes

    def require_known(self, entries: Sequence[Entry]) -> None:
        """Raise InvalidSettings for a crystal, temperature or size that no entry has."""
        known: dict[str, set[str | float]] = {
            "crystal": {entry.path.split("/")[0] for entry in entries},
            "temperature": {found for entry in entries if (found := _temperature(entry)) is not None},
            "size": {entry.n_molecules or 0 for entry in entries},
        }
        wanted = {
            "crystal": self.crystals,
            "temperature": tuple(map(_rounded, self.temperatures_K)),
            "size": self.sizes,
        }
        for name, values in wanted.items():
            for value in values:
                if value not in known[name]:
                    there = ", ".join(map(str, sorted(known[name]))) or "none"
                    raise InvalidSettings(f"hold_out: the dataset has no {name} {value}; there are {there}.")


def _temperature(entry: Entry) -> float | None:
    return None if entry.lineage.temperature_K is None else _rounded(entry.lineage.temperature_K)


def _rounded(temperature_K: float) -> float:
    """A temperature as it is written, to 0.01 K."""
    return round(temperature_K, 2)


@dataclass(frozen=True)
class Split:
    """Fractions and blocks of a split.

    fractions: of training, validation and test; they add up to 1.
    block: successive units that stay together; None: a tenth of the trajectory.
    gap: units in time left out of the larger set on both sides of every seam between two sets.
    hold_out: what is only tested on.  Of a crystal or a temperature all frames are; of a size those of the units that
        are tested on anyway, for the smaller clusters of the other units are in training.
    """

    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 42
    block: int | None = None
    gap: int = 1
    hold_out: HoldOut = HoldOut()

    def __post_init__(self) -> None:
        total = sum(self.fractions)
        if len(self.fractions) != 3 or min(self.fractions) < 0 or abs(total - 1) > 1e-6 or self.fractions[0] == 0:
            given = ",".join(f"{value:g}" for value in self.fractions)
            raise InvalidSettings(
                f"split = {given}: give three fractions of training, validation and test that add up to 1, "
                "the first above 0."
            )
        if self.gap < 0 or (self.block is not None and self.block < 1):
            raise InvalidSettings(
                f"block = {self.block}, gap = {self.gap}: give a block of at least 1, a gap of at least 0."
            )


def subset_of_units(lineage: Lineage, split: Split) -> IntArray:
    """Subset (index into ``SUBSETS``) of every unit, (n_units,); ``LEFT_OUT`` for the gaps.

    Depends on the lineage's key and number of units and on the seed only: the same whichever cluster sizes are
    exported, and whatever other sections there are.
    """
    block = split.block or max(1, -(-lineage.n_units // N_BLOCKS))
    block = block if lineage.ordered else 1
    n_blocks = -(-lineage.n_units // block)
    digest = hashlib.sha256(lineage.key.encode()).digest()
    rng = np.random.default_rng([split.seed, int.from_bytes(digest[:8], "big")])
    subset_of_block = rng.permutation(np.repeat(np.arange(3), _quotas(n_blocks, split.fractions)))
    subsets = np.repeat(subset_of_block, block)[: lineage.n_units].astype(np.int64)
    return _with_gaps(subsets, split.gap) if lineage.ordered else subsets


def _quotas(n: int, fractions: Sequence[float]) -> IntArray:
    """Blocks per subset by largest remainder, at least one for every wanted subset as far as there are enough."""
    shares = np.asarray(fractions) * n
    quotas = np.floor(shares + 1e-9).astype(np.int64)
    for subset in np.argsort(quotas - shares, kind="stable")[: n - quotas.sum()]:
        quotas[subset] += 1
    for subset in (0, 1, 2):
        if fractions[subset] > 0 and quotas[subset] == 0 and quotas.max(initial=0) > 1:
            quotas[np.argmax(quotas)] -= 1
            quotas[subset] += 1
    return quotas


def _with_gaps(subsets: IntArray, gap: int) -> IntArray:
    """Leave out the units within ``gap`` of a later subset: between training and validation, the training frames."""
    left_out = np.zeros(len(subsets), dtype=bool)
    for distance in range(1, min(gap, len(subsets) - 1) + 1):
        early, late = subsets[:-distance], subsets[distance:]
        left_out[:-distance] |= early < late
        left_out[distance:] |= late < early
    return np.where(left_out, LEFT_OUT, subsets)


def split_entries(entries: Sequence[Entry], split: Split) -> list[IntArray]:
    """Subset of every frame of every entry; ``LEFT_OUT`` for gaps and repeated frames.

    Raises InvalidSettings if a wanted subset gets no frame.
    """
    of_lineage = {entry.lineage.key: subset_of_units(entry.lineage, split) for entry in entries}
    shares = [
        np.where(entry.units < 0, LEFT_OUT, of_lineage[entry.lineage.key][np.maximum(entry.units, 0)])
        for entry in entries
    ]
    split.hold_out.require_known(entries)
    for number, entry in enumerate(entries):
        if split.hold_out.holds_section(entry):
            shares[number] = np.where(entry.units < 0, LEFT_OUT, TEST)
        elif split.hold_out.holds_size(entry):
            shares[number] = np.where(shares[number] == TEST, TEST, LEFT_OUT)
    counts = np.bincount(np.concatenate(shares) + 1, minlength=4)[1:]
    empty = [name for name, n, wanted in zip(SUBSETS, counts, split.fractions, strict=True) if wanted > 0 and n == 0]
    if empty:
        raise InvalidSettings(
            f"No frame is left for {', '.join(empty)}: {sum(map(len, shares))} frames in {len(of_lineage)} "
            f"trajectories, gap = {split.gap}. Give more frames, gap = 0, or a split without it."
        )
    return shares
