"""Any calculator that ASE knows by name."""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import PackageNotFoundError, version

import ase
import numpy as np
from ase.calculators.calculator import (
    CalculatorError,
    FileIOCalculator,
    get_calculator_class,
)
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.calculators.names import names as calculator_names

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed
from aiida_mbetrain.science.reference_labels.backends.base import Backend, Evaluation
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import AseMethod


class AseBackend(Backend):
    """An ASE calculator, made anew for each fragment so that none starts from another's density; no ghost atoms.

    Charge and multiplicity are given to the calculator as keyword arguments where a fragment is not a neutral singlet;
    the names of these arguments are those that most calculators have.
    """

    def __init__(self, method: AseMethod) -> None:
        """Raise InvalidSettings for a name that ASE does not have, a missing package, and refused parameters."""
        self._method = method
        if method.method not in calculator_names:
            raise InvalidSettings(
                f"AseMethod.method = {method.method!r}: ASE knows {', '.join(sorted(calculator_names))}."
            )
        try:
            self._class = get_calculator_class(method.method)
        except ImportError as error:
            raise InvalidSettings(
                f"AseMethod.method = {method.method!r} needs a package that is missing: install it ({error})."
            ) from error
        self._refuse_unknown_parameters()
        self.package = self._class.__module__.partition(".")[0]
        try:
            self._class(**method.parameters)
        except Exception as error:  # each calculator has errors of its own, from TypeError to those of its program
            raise InvalidSettings(f"AseMethod.parameters: {method.method} refuses them: {error}.") from error

    def _refuse_unknown_parameters(self) -> None:
        """Calculators within Python ignore a misspelt parameter; those that write files pass any on."""
        if issubclass(self._class, FileIOCalculator | GenericFileIOCalculator):
            return
        allowed = {*self._class.default_parameters, *inspect.signature(self._class.__init__).parameters}
        if unknown := sorted(set(self._method.parameters) - allowed):
            raise InvalidSettings(
                f"AseMethod.parameters: {self._method.method} has no parameter {', '.join(unknown)}; it has "
                f"{', '.join(sorted(allowed - {'self', 'kwargs', 'args'}))}."
            )

    @property
    def program(self) -> str:
        """Package of the calculator and its version; ASE's own calculators carry that of ASE."""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            own = getattr(importlib.import_module(self.package), "__version__", "of unknown version")
            return f"{self.package} {own}"

    def require_elements(self, symbols: list[str]) -> None:
        """Refuse nothing: an ASE calculator does not tell its elements before it is asked for one that it lacks."""

    def evaluate(self, fragment: Fragment) -> Evaluation:
        """Energy, and forces where the settings say that there are any."""
        state: dict[str, object] = {}
        if fragment.charge or fragment.multiplicity != 1:
            state = {"charge": fragment.charge, "multiplicity": fragment.multiplicity}
        try:
            atoms = ase.Atoms(fragment.numbers, fragment.positions)
            atoms.calc = self._class(**self._method.parameters, **state)
            energy = float(atoms.get_potential_energy())
            forces = np.array(atoms.get_forces()) if self._method.forces else None
        except (CalculatorError, RuntimeError, ValueError, NotImplementedError, TypeError, OSError) as error:
            raise ReferenceCalculationFailed(f"{self._method.method}: {type(error).__name__}: {error}") from error
        return Evaluation(energy, forces)
