"""ASE calculators as potentials: for tests, for reference calculations, and for users without MACE."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import NamedTuple

import ase
import numpy as np
from ase.calculators.calculator import Calculator, InputError, all_changes
from ase.data import atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mbetrain.errors import UnknownCalculator
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.potentials.base import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import NamedCalculator


class AsePotential(Potential):
    """An ASE calculator, called once per configuration; no features.

    The calculator must give energy and forces, and stress for periodic configurations.
    elements: atomic numbers it knows, None: any.
    """

    def __init__(
        self, calculator: Calculator, *, name: str | None = None, elements: Iterable[int] | None = None
    ) -> None:
        self._calculator = calculator
        self.name = name or type(calculator).__name__
        self.elements = None if elements is None else frozenset(elements)

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential; raises UnknownCalculator where the calculator refuses its parameters."""
        self.require_elements({int(number) for part in sets for number in part.numbers})
        total, done, labelled = sum(part.n_frames * part.n_atoms for part in sets), 0, []
        for part in sets:
            energies, forces = np.empty(part.n_frames), np.empty(part.positions.shape)
            stress = np.empty((part.n_frames, 3, 3)) if part.periodic else None
            for frame, atoms in enumerate(part.to_atoms()):
                results = self._results(atoms, stress is not None)
                energies[frame], forces[frame] = results["energy"], results["forces"]
                if stress is not None:
                    stress[frame] = voigt_6_to_full_3x3_stress(results["stress"])
                done += part.n_atoms
                report(done, total)
            labelled.append(part.with_(energies=energies, forces=forces, stress=stress, features=None))
        return labelled

    def _results(self, atoms: ase.Atoms, stress: bool) -> Mapping[str, float | FloatArray]:
        """All results of one evaluation, independent of what was evaluated before."""
        properties = ["energy", "forces", "stress"] if stress else ["energy", "forces"]
        self._calculator.reset()
        try:
            self._calculator.calculate(atoms, properties, all_changes)
        except (InputError, ValueError) as error:
            raise UnknownCalculator(f"The calculator {self.name} refuses its parameters or atoms: {error}.") from error
        results: Mapping[str, float | FloatArray] = self._calculator.results
        return results

    def calculator(self) -> Calculator:
        """The ASE calculator, every evaluation of which is independent of those before."""
        return _WithoutMemory(self._calculator)

    def describe(self) -> dict[str, str | float | int | None]:
        """Name, parameters (JSON) and versions; always float64 on the CPU."""
        parameters = getattr(self._calculator, "parameters", {})
        package = type(self._calculator).__module__.partition(".")[0]
        return {
            "name": self.name,
            "parameters": json.dumps(dict(parameters), default=str, sort_keys=True),
            "dtype": "float64",
            "device": "cpu",
            "ase_version": ase.__version__,
            **({} if package != "tblite" else {"tblite_version": version("tblite")}),
        }


class _WithoutMemory(Calculator):
    """Another calculator, reset before every evaluation.

    Neighbour lists that outlive a step change the order of sums, hence the last bits: a run that is continued
    would leave the trajectory of one that is not.
    """

    def __init__(self, calculator: Calculator) -> None:
        super().__init__()
        self.implemented_properties = list(calculator.implemented_properties)
        self._calculator = calculator

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        self._calculator.reset()
        self._calculator.calculate(self.atoms, list(properties or ["energy"]), all_changes)
        self.results = dict(self._calculator.results)


def _emt_elements() -> Iterable[int]:
    from ase.calculators.emt import parameters

    return (atomic_numbers[symbol] for symbol in parameters)


class _Known(NamedTuple):
    module: str
    attribute: str
    defaults: Mapping[str, object] = MappingProxyType({})
    elements: Callable[[], Iterable[int]] | None = None


KNOWN = {
    "lennard_jones": _Known("ase.calculators.lj", "LennardJones"),
    "morse": _Known("ase.calculators.morse", "MorsePotential"),
    "emt": _Known("ase.calculators.emt", "EMT", {}, _emt_elements),
    "tblite": _Known("tblite.ase", "TBLite", {"verbosity": 0}, lambda: range(1, 87)),
}
"""The calculators that a user may name; nothing else is ever imported by name."""


def named_calculator(calculator: NamedCalculator) -> AsePotential:
    """The calculator that the settings name, with its parameters.

    Raises UnknownCalculator for a name not in ``KNOWN``, a package that is not installed, or a parameter that
    the calculator does not have.
    """
    if calculator.name not in KNOWN:
        raise UnknownCalculator(f"NamedCalculator.name = {calculator.name!r}: known are {', '.join(KNOWN)}.")
    known = KNOWN[calculator.name]
    try:
        factory = getattr(importlib.import_module(known.module), known.attribute)
    except ImportError as error:
        raise UnknownCalculator(
            f"NamedCalculator.name = {calculator.name!r} needs the package {known.module.partition('.')[0]}: "
            f"install it, or take another calculator ({error})."
        ) from error
    unknown = sorted(set(calculator.parameters) - set(factory.default_parameters))
    if unknown:
        raise UnknownCalculator(
            f"NamedCalculator.parameters: {calculator.name} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(sorted(factory.default_parameters))}."
        )
    for name, value in calculator.parameters.items():
        if isinstance(value, str) and isinstance(factory.default_parameters[name], int | float):
            raise UnknownCalculator(
                f"NamedCalculator.parameters: {calculator.name} refuses {name} = {value!r}: give a number."
            )
    try:
        instance = factory(**{**known.defaults, **calculator.parameters})
    except (TypeError, ValueError, InputError) as error:
        raise UnknownCalculator(f"NamedCalculator.parameters: {calculator.name} refuses them: {error}.") from error
    elements = known.elements() if known.elements else None
    return AsePotential(instance, name=calculator.name, elements=elements)
