"""Interface of potentials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols

from aiida_mbetrain.errors import ElementsNotInModel
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.progress import Report, silent


class Potential(ABC):
    """Energies, forces, stress and features of batches of configurations.

    elements: atomic numbers the potential knows; None: any.
    receptive_field: distance (Å) within which atoms influence an atom's energy; None: unknown.
    feature_length: components of the feature vectors that ``evaluate(features=True)`` gives; 0: it gives none.
    """

    elements: frozenset[int] | None = None
    receptive_field: float | None = None
    feature_length: int = 0

    @abstractmethod
    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """The same sets in the same order, with energies, forces, stress where periodic, and features if asked.

        One forward and backward pass per configuration, batched across all sets.  ``report`` counts atoms.
        Raises ElementsNotInModel; OutOfMemory only when a single configuration does not fit.
        """

    @abstractmethod
    def calculator(self) -> Calculator:
        """An ASE calculator view with energy, forces and stress for molecular dynamics and relaxation.

        Where there are features, it also gives ``features`` (N, D), in the same pass where they are asked for first.
        """

    @abstractmethod
    def describe(self) -> dict[str, str | float | int | None]:
        """Name, versions, device and dtype of the potential, recorded with every result."""

    def require_elements(self, numbers: Iterable[int]) -> None:
        """Raise ElementsNotInModel if the potential does not know one of the atomic numbers."""
        if self.elements is None:
            return
        missing = sorted({int(number) for number in numbers} - self.elements)
        if missing:
            names = ", ".join(chemical_symbols[number] for number in missing)
            known = ", ".join(chemical_symbols[number] for number in sorted(self.elements))
            raise ElementsNotInModel(
                f"The structure contains {names}, the model knows {known}: take a model trained for these elements."
            )


class WrappedPotential(Potential):
    """Base of potentials that change how another one is asked, and not what it answers."""

    def __init__(self, potential: Potential) -> None:
        self._potential = potential
        self.elements = potential.elements
        self.receptive_field = potential.receptive_field
        self.feature_length = potential.feature_length

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential."""
        return self._potential.evaluate(sets, features=features, report=report)

    def describe(self) -> dict[str, str | float | int | None]:
        """See Potential."""
        return self._potential.describe()
