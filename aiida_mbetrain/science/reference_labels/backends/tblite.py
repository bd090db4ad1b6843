"""Extended tight binding by tblite."""

from __future__ import annotations

import importlib.util

import numpy as np
from ase import units
from ase.data import atomic_numbers

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed
from aiida_mbetrain.science.reference_labels.backends.base import Backend, Evaluation
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import TbliteMethod

HEAVIEST = 86
"""Radon: the last element that the parametrisations cover."""


class TbliteBackend(Backend):
    """GFN1-xTB, GFN2-xTB or IPEA1-xTB: energies and forces, no ghost atoms."""

    package = "tblite"

    def __init__(self, method: TbliteMethod) -> None:
        """Raise InvalidSettings where the package is missing."""
        self._method = method
        if importlib.util.find_spec("tblite") is None:
            raise InvalidSettings("TbliteMethod needs the package tblite: install aiida-mbetrain[reference].")

    def require_elements(self, symbols: list[str]) -> None:
        """Refuse elements beyond radon."""
        if beyond := [symbol for symbol in symbols if atomic_numbers[symbol] > HEAVIEST]:
            raise InvalidSettings(f"{self._method.method} has no parameters for {', '.join(beyond)}.")

    def evaluate(self, fragment: Fragment) -> Evaluation:
        """One single point."""
        from tblite.interface import Calculator

        positions = fragment.positions / units.Bohr
        try:
            calculator = Calculator(
                self._method.method,
                fragment.numbers,
                positions - positions.mean(axis=0),
                charge=float(fragment.charge),
                uhf=fragment.multiplicity - 1,
            )
            calculator.set("verbosity", 0)
            calculator.set("accuracy", self._method.accuracy)
            calculator.set("max-iter", self._method.max_iterations)
            calculator.set("temperature", self._method.electronic_temperature_K * units.kB / units.Hartree)
            results = calculator.singlepoint()
        except (RuntimeError, ValueError) as error:  # all that tblite raises
            raise ReferenceCalculationFailed(f"tblite: {error}") from error
        forces = -np.asarray(results["gradient"]) * (units.Hartree / units.Bohr)
        return Evaluation(float(results["energy"]) * units.Hartree, forces)
