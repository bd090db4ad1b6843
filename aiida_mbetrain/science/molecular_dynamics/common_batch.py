"""Evaluation of the geometries of several tasks as one batch, at the moment when each of them waits for its own.

A task is ordinary sequential code, such as a step of one of ASE's integrators.  It runs in a greenlet; where its
calculator is asked for a geometry, the greenlet is suspended until the geometries of all other tasks are known too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from greenlet import getcurrent, greenlet

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.molecular_dynamics.cached_calculator import Results
from aiida_mbetrain.science.potentials import Potential, WrappedPotential


@dataclass(frozen=True, eq=False)
class _Question:
    """A copy of a geometry that a suspended task waits for."""

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray | None
    features: bool

    @property
    def kind(self) -> tuple[object, ...]:
        """Questions of one kind fit into one set of configurations."""
        return self.numbers.tobytes(), self.cell is not None, self.features


class CommonBatch(WrappedPotential):
    """A potential whose calculators are evaluated together, by those who call :meth:`run`."""

    def __init__(self, potential: Potential) -> None:
        super().__init__(potential)
        self._properties = list(potential.calculator().implemented_properties)

    def calculator(self) -> Calculator:
        """A calculator for one task; it works inside of :meth:`run` only."""
        return _WaitingCalculator(self._properties)

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Call every task once; geometries that all unfinished ones wait for are evaluated as one batch.

        An error that a task raises ends them all.
        """
        suspended: list[tuple[greenlet, _Question]] = []

        def resume(task: greenlet, results: Results | None = None) -> None:
            question = task.switch() if results is None else task.switch(results)
            if not task.dead:
                suspended.append((task, question))

        for task in tasks:
            resume(greenlet(task))
        while suspended:
            asked, suspended[:] = list(suspended), []
            for (task, _), results in zip(asked, self._answers([question for _, question in asked]), strict=True):
                resume(task, results)

    def _answers(self, questions: Sequence[_Question]) -> list[Results]:
        """Results of every geometry, in the order of the questions."""
        answers: list[Results] = [{} for _ in questions]
        for kind in dict.fromkeys(question.kind for question in questions):
            members = [number for number, question in enumerate(questions) if question.kind == kind]
            [labelled] = self._potential.evaluate(
                [_joined([questions[number] for number in members])], features=questions[members[0]].features
            )
            for number, results in zip(members, _results(labelled), strict=True):
                answers[number] = results
        return answers


class _WaitingCalculator(Calculator):
    """Suspends the task that asks it, until the answer is there."""

    def __init__(self, properties: Sequence[str]) -> None:
        super().__init__()
        self.implemented_properties = list(properties)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        caller = getcurrent().parent
        assert caller is not None
        self.results = caller.switch(
            _Question(
                self.atoms.numbers,
                self.atoms.positions,
                self.atoms.cell.array if self.atoms.pbc.all() else None,
                "features" in (properties or ()),
            )
        )


def _joined(questions: Sequence[_Question]) -> Configurations:
    cells = None if questions[0].cell is None else np.array([question.cell for question in questions])
    return Configurations(questions[0].numbers, np.array([question.positions for question in questions]), cells)


def _results(labelled: Configurations) -> Iterator[Results]:
    """Results of every frame as an ASE calculator names them; the stress as (3, 3)."""
    names = {"energy": "energies", "forces": "forces", "stress": "stress", "features": "features"}
    given = {name: getattr(labelled, field) for name, field in names.items()}
    for frame in range(labelled.n_frames):
        yield {name: values[frame] for name, values in given.items() if values is not None}
