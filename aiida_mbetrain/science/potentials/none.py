"""The potential of a stage that evaluates none."""

from __future__ import annotations

from collections.abc import Sequence

from ase.calculators.calculator import Calculator

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials.base import Potential
from aiida_mbetrain.science.progress import Report, silent


class NoPotential(Potential):
    """Given to stages that take their energies from elsewhere; refuses every evaluation."""

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """Raise NotImplementedError: the stage was to need no potential."""
        raise NotImplementedError("this stage has no potential")

    def calculator(self) -> Calculator:
        """Raise NotImplementedError: the stage was to need no potential."""
        raise NotImplementedError("this stage has no potential")

    def describe(self) -> dict[str, str | float | int | None]:
        """The word none."""
        return {"name": "none"}
