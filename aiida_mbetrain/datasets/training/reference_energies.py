"""E0s: energies of isolated atoms, to which atomisation energies refer.

A least-squares fit of E0s to total energies ("average" in MACE) needs as many independent compositions as there are
elements.  Clusters of one kind of molecule are all multiples of one composition, so the fit has one equation for all
elements: the E0s must be given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula

from aiida_mbetrain.datasets.training.frames import Entry
from aiida_mbetrain.datasets.training.label_units import LARGEST_ENERGY
from aiida_mbetrain.errors import InvalidSettings, MbetrainError, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.potentials import Potential

E0s = Mapping[int, float]
"""Atomic number -> energy of the isolated atom, eV."""


def elements_of(entries: Iterable[Entry]) -> list[int]:
    """Atomic numbers of all entries, ascending."""
    return sorted({int(number) for entry in entries for number in np.unique(entry.configurations.numbers)})


def compositions(entries: Sequence[Entry]) -> IntArray:
    """Atoms of each element (ascending atomic number) in each entry, (entries, elements)."""
    elements = elements_of(entries)
    return np.array([[np.count_nonzero(entry.configurations.numbers == z) for z in elements] for entry in entries])


def undetermined(entries: Sequence[Entry]) -> str | None:
    """Reason for which total energies do not determine the E0s of these entries; None if they do."""
    counts = compositions(entries)
    rank, n_elements = int(np.linalg.matrix_rank(counts)), counts.shape[1]
    if rank == n_elements:
        return None
    symbols = ", ".join(chemical_symbols[z] for z in elements_of(entries))
    unit = counts[0] // np.gcd.reduce(counts[0])
    formula = Formula.from_dict({chemical_symbols[z]: int(n) for z, n in zip(elements_of(entries), unit, strict=True)})
    multiples = f", all multiples of {formula}" if rank == 1 else ""
    return (
        f"The compositions of the {len(entries)} entries{multiples} span {rank} of {n_elements} dimensions "
        f"({symbols}): total energies cannot determine the E0s"
    )


def fit_e0s(entries: Sequence[Entry]) -> dict[int, float]:
    """E0s by least squares over the mean energy of every entry.

    Raises InvalidSettings if the compositions do not determine them.
    """
    reason = undetermined(entries)
    if reason is not None:
        raise InvalidSettings(f"{reason}. Give them: --e0s model, or a file with the energy of every isolated atom.")
    counts = compositions(entries)
    energies = [float(np.mean(_energies(entry))) for entry in entries]
    solution = np.linalg.lstsq(counts.astype(np.float64), np.asarray(energies), rcond=None)[0]
    return dict(zip(elements_of(entries), map(float, solution), strict=True))


def _energies(entry: Entry) -> FloatArray:
    if entry.configurations.energies is None:
        raise InvalidSettings(f"{entry.path} has no energies to fit E0s to.")
    return entry.configurations.energies


def read_e0s(path: str | Path) -> dict[int, float]:
    """E0s from a JSON or YAML mapping of symbols or atomic numbers to eV.  Raises UnreadableFile."""
    try:
        values = yaml.safe_load(Path(path).read_text("utf-8"))  # JSON is YAML
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UnreadableFile(f"E0s file {path} cannot be read: {reason}") from error
    try:
        e0s = {_atomic_number(key): float(value) for key, value in values.items()}
        if not all(abs(value) <= LARGEST_ENERGY for value in e0s.values()):
            raise ValueError("an energy is not finite, or larger than that of any atom")
        return e0s
    except (AttributeError, OverflowError, TypeError, ValueError, KeyError) as error:
        raise UnreadableFile(
            f"E0s file {path}: give a mapping from elements to eV, such as {{C: -1029.6, H: -13.6}} ({error})."
        ) from error


def _atomic_number(key: str | int) -> int:
    number = int(key) if str(key).isdigit() else atomic_numbers[str(key).strip()]
    if not 0 < number < len(chemical_symbols):
        raise ValueError(f"no element {key!r}")
    return number


def isolated_atom_energies(potential: Potential, elements: Sequence[int]) -> dict[int, float]:
    """Energies of single atoms in a potential that has no E0s of its own, eV."""
    atoms = [Configurations(np.array([z]), np.zeros((1, 1, 3))) for z in elements]
    labelled = potential.evaluate(atoms)
    return {z: float(_first(item)) for z, item in zip(elements, labelled, strict=True)}


def _first(item: Configurations) -> float:
    if item.energies is None:
        raise MbetrainError("The potential gives no energy for an isolated atom.")
    return float(item.energies[0])


def require_elements(e0s: E0s, elements: Sequence[int], where: str) -> dict[int, float]:
    """The E0s of exactly these elements.  Raises InvalidSettings if one is missing or not finite."""
    missing = [chemical_symbols[z] for z in elements if z not in e0s]
    if missing:
        known = ", ".join(chemical_symbols[z] for z in sorted(e0s)) or "none"
        raise InvalidSettings(f"{where} has E0s of {known}, the data also contain {', '.join(missing)}: add them.")
    infinite = [chemical_symbols[z] for z in elements if not np.isfinite(e0s[z])]
    if infinite:
        raise InvalidSettings(f"{where}: the E0 of {', '.join(infinite)} is not a finite number.")
    return {z: float(e0s[z]) for z in elements}


def delta_e0s(target: E0s, baseline: E0s) -> dict[int, float]:
    """E0s of target minus baseline, for the elements of the target."""
    return {z: value - baseline[z] for z, value in target.items()}
