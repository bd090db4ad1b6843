"""Continuing any sequential algorithm: the evaluations it has made are recorded, and given back when it runs again.

An optimizer that starts anew from the same structure asks for the same geometries in the same order.  With the
answers on record it arrives in no time, and bit for bit, where it was interrupted, whatever its inner state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.potentials import Potential, WrappedPotential
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress

RESULTS = ("energy", "free_energy", "forces", "stress")
SAME_GEOMETRY = 1e-8
"""Å; another machine may round differently."""


class RecordedPotential(WrappedPotential):
    """A potential whose calculator records its evaluations in a checkpoint file and begins with those found there.

    Batches are not recorded.
    """

    def __init__(self, potential: Potential, checkpoint: CheckpointFile) -> None:
        super().__init__(potential)
        self._log = _EvaluationLog(checkpoint)

    def calculator(self) -> Calculator:
        """See Potential; raises StoppedEarly after an evaluation when the job has been told to stop."""
        return _RecordedCalculator(self._potential.calculator(), self._log)


class _EvaluationLog:
    """Evaluations in the order in which they were made, by however many calculators."""

    def __init__(self, checkpoint: CheckpointFile) -> None:
        self._checkpoint = checkpoint
        rows = {} if checkpoint.found is None else checkpoint.found.rows
        self._records = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
        self._position = 0

    def take(self, atoms: Atoms) -> dict[str, AnyArray] | None:
        """The next record if it is of this geometry; if it is not, it and all later ones are forgotten."""
        if self._position == len(self._records):
            return None
        record = self._records[self._position]
        distances = atoms.positions - record["positions"], atoms.cell.array - record["cell"]
        if max(np.abs(distance).max() for distance in distances) > SAME_GEOMETRY:
            del self._records[self._position :]
            self._checkpoint.forget_rows(self._position)
            return None
        self._position += 1
        return record

    def add(self, atoms: Atoms, results: Mapping[str, object]) -> dict[str, AnyArray]:
        """Record an evaluation that was made; raises StoppedEarly when the job has been told to stop."""
        record = {"positions": atoms.get_positions(), "cell": atoms.cell.array.copy(), **results}
        self._records.append({name: np.array(value) for name, value in record.items()})
        self._position += 1
        self._checkpoint.offer(self._progress)
        self._checkpoint.stop_if_asked()
        return self._records[-1]

    def _progress(self) -> Progress:
        return Progress({name: [record[name] for record in self._records] for name in self._records[0]})


class _RecordedCalculator(Calculator):
    """Energy, forces and stress of every geometry, from the log where it has them."""

    def __init__(self, calculator: Calculator, log: _EvaluationLog) -> None:
        super().__init__()
        self.implemented_properties = [name for name in RESULTS if name in calculator.implemented_properties]
        self._calculator, self._log = calculator, log

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        record = self._log.take(self.atoms) or self._log.add(self.atoms, self._evaluate(self.atoms))
        self.results = {name: _plain(record[name]) for name in self._properties(self.atoms)}

    def _evaluate(self, atoms: Atoms) -> dict[str, object]:
        return {name: self._calculator.get_property(name, atoms) for name in self._properties(atoms)}

    def _properties(self, atoms: Atoms) -> list[str]:
        return [name for name in self.implemented_properties if name != "stress" or atoms.pbc.all()]


def _plain(value: AnyArray) -> object:
    return float(value) if value.ndim == 0 else value.copy()
