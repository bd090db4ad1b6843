"""Energies and forces of fragments by one reference method, and the messages of the calculations that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import AnyArray, BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.reference_labels.fragments import Fragments, atoms_of_rows


@dataclass(frozen=True, eq=False)
class FragmentLabels:
    """Labels of R fragments, packed as :class:`~.fragments.Fragments` are.

    ids: (R,).  offsets: (R + 1,).
    energies: (R,), total energies, eV; NaN where there is none.
    forces: (A, 3), eV/Å, on ghost atoms too; NaN where the method gives none.
    failures: the program's message by row, for calculations that failed.
    method_hash: see :attr:`~aiida_mbetrain.settings.Method.hash`.
    programs: names with versions, several where labels of several runs are put together.
    """

    ids: NDArray[np.str_]
    offsets: IntArray
    energies: FloatArray
    forces: FloatArray
    method_hash: str
    failures: Mapping[int, str] = field(default_factory=dict)
    programs: tuple[str, ...] = ()

    @classmethod
    def empty(cls, fragments: Fragments, method_hash: str) -> Self:
        """Labels of which none is there yet."""
        return cls(
            ids=fragments.ids,
            offsets=fragments.offsets,
            energies=np.full(len(fragments), np.nan),
            forces=np.full((len(fragments.numbers), 3), np.nan),
            method_hash=method_hash,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> BoolArray:
        """Fragments with an energy, (R,)."""
        return ~np.isnan(self.energies)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays for npz files and ArrayData nodes."""
        rows = sorted(self.failures)
        return {
            "ids": self.ids,
            "offsets": self.offsets,
            "energies": self.energies,
            "forces": self.forces,
            "failed_rows": np.array(rows, dtype=np.int64),
            "failure_messages": np.array([self.failures[row] for row in rows], dtype=np.str_),
            "method_hash": np.array(self.method_hash),
            "programs": np.array(self.programs, dtype=np.str_),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; unknown names are left alone."""
        failures = zip(arrays["failed_rows"].tolist(), arrays["failure_messages"].tolist(), strict=True)
        return cls(
            **{name: arrays[name] for name in ("ids", "offsets", "energies", "forces")},
            failures=dict(failures),
            method_hash=str(arrays["method_hash"]),
            programs=tuple(arrays["programs"].tolist()),
        )


def merge_labels(fragments: Fragments, method_hash: str, parts: Sequence[FragmentLabels]) -> FragmentLabels:
    """The labels of the given fragments from several sources, in the fragments' order.

    Of a fragment that several sources have, the first with an energy counts; where nobody succeeded, the last failure.
    Sources of another method are left out; a fragment that none of them has stays without a label.
    """
    row_of = {fragment_id: row for row, fragment_id in enumerate(fragments.ids.tolist())}
    energies, forces = np.full(len(fragments), np.nan), np.full((len(fragments.numbers), 3), np.nan)
    failures: dict[int, str] = {}
    programs: set[str] = set()
    for part in (part for part in parts if part.method_hash == method_hash):
        rows = [(row_of[name], row) for row, name in enumerate(part.ids.tolist()) if name in row_of]
        for to, row in rows:
            if row in part.failures:
                failures[to] = part.failures[row]
        new = [(to, row) for to, row in rows if np.isnan(energies[to]) and not np.isnan(part.energies[row])]
        targets, sources = np.array(new, dtype=np.int64).reshape(-1, 2).T
        energies[targets] = part.energies[sources]
        forces[atoms_of_rows(fragments.offsets, targets)] = part.forces[atoms_of_rows(part.offsets, sources)]
        programs |= set(part.programs) if new else set()
    return FragmentLabels(
        ids=fragments.ids,
        offsets=fragments.offsets,
        energies=energies,
        forces=forces,
        failures={row: failures[row] for row in sorted(failures) if np.isnan(energies[row])},
        method_hash=method_hash,
        programs=tuple(sorted(programs)),
    )
