"""Elastic network of a molecular crystal: a spring between any two atoms that are near, stiff where they are bonded.

It is no model of a crystal's chemistry, but has molecules, stretches of hydrogen at the frequencies of real ones, and
soft cells, and a frame costs a tenth of a millisecond: enough frames for tests of distributions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list

from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.potentials import Potential, SumPotential
from aiida_mbetrain.science.progress import Report, silent

REACH = 3.6
"""Å."""
BOND, ANGLE = 1.65, 2.6
"""Lengths (Å) below which two atoms are bonded, or bonded to the same atom."""
STIFFNESS = {"bond": 35.0, "angle": 4.0, "other": 0.25}
"""eV/Å²; 35 are 3200 cm⁻¹ of an N-H stretch."""


class ElasticNetwork(Potential):
    """Springs k (|r| - r₀)² / 2 with the lengths r₀ of the reference crystal; the pairs are listed once."""

    def __init__(self, reference: Configurations) -> None:
        assert reference.cells is not None
        first, second, shifts = neighbor_list("ijS", reference.to_atoms()[0], REACH)
        forward = np.array(
            [j > i or (i == j and tuple(s) > (0, 0, 0)) for i, j, s in zip(first, second, shifts, strict=True)]
        )
        self._first, self._second = first[forward], second[forward]
        self._shifts: FloatArray = shifts[forward].astype(float)
        self._rest: FloatArray = np.linalg.norm(self._vectors(reference.positions, reference.cells)[0], axis=1)
        kind = np.select([self._rest < BOND, self._rest < ANGLE], ["bond", "angle"], "other")
        self._k = np.array([STIFFNESS[str(name)] for name in kind])

    def _vectors(self, positions: FloatArray, cells: FloatArray) -> FloatArray:
        return np.asarray(positions[:, self._second] - positions[:, self._first] + self._shifts @ cells)

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential."""
        labelled = []
        for part in sets:
            assert part.cells is not None
            vectors = self._vectors(part.positions, part.cells)
            lengths = np.sqrt(np.einsum("fpa,fpa->fp", vectors, vectors))
            stretch = lengths - self._rest
            pulls = (self._k * stretch / lengths)[..., None] * vectors
            forces = np.zeros(part.positions.shape)
            np.add.at(forces, (slice(None), self._first), pulls)
            np.subtract.at(forces, (slice(None), self._second), pulls)
            stress = np.einsum("fpa,fpb->fab", vectors, pulls) / part.volumes[:, None, None]
            labelled.append(part.with_(energies=0.5 * (stretch**2) @ self._k, forces=forces, stress=stress))
        return labelled

    def calculator(self) -> Calculator:
        """See Potential; one evaluation each."""
        return SumPotential([self]).calculator()

    def describe(self) -> dict[str, str | float | int | None]:
        """See Potential."""
        return {"name": "elastic network"}
