"""The interface to a program of quantum chemistry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments


class Evaluation(NamedTuple):
    """Total energy, eV, and forces (N, 3), eV/Å, on ghost atoms too; None where the method gives none."""

    energy: float
    forces: FloatArray | None


class Backend(ABC):
    """One method of one program, applied to one fragment after another.

    package: the Python package behind the program.
    has_ghosts: True where ghost atoms are possible.
    """

    package: str
    has_ghosts: bool = False

    @property
    def program(self) -> str:
        """Name and version, such as ``pyscf 2.14.0``."""
        return f"{self.package} {version(self.package)}"

    @abstractmethod
    def evaluate(self, fragment: Fragment) -> Evaluation:
        """Energy and forces of a fragment.

        Raises ReferenceCalculationFailed with the program's message; MemoryError passes.
        """

    @abstractmethod
    def require_elements(self, symbols: list[str]) -> None:
        """Raise InvalidSettings for elements that the method cannot treat; called before anything is calculated."""

    def check(self, fragments: Fragments) -> None:
        """Refuse what the program cannot do for any of the fragments.  Raises InvalidSettings."""
        if fragments.ghosts.any() and not self.has_ghosts:
            raise InvalidSettings(
                f"{self.package} has no ghost atoms: set ReferenceLabels.counterpoise = 'none' or take another program."
            )
        self.require_elements([chemical_symbols[number] for number in np.unique(fragments.numbers)])
