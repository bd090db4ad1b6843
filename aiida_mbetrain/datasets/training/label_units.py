"""Labels of another program in another unit, or not the numbers that they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import units

from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations, FloatArray

LARGEST_ENERGY = 1e6
"""eV per atom: the electrons of uranium, all of them, have 0.77 MeV."""
LARGEST_FORCE = 1e4
"""eV/Å: two protons at 0.04 Å."""

FORCE_UNITS = {
    "kJ/mol/Å": units.kJ / units.mol,
    "kcal/mol/Å": units.kcal / units.mol,
    "kJ/mol/nm": units.kJ / units.mol / units.nm,
    "meV/Å": 1e-3,
    "hartree/bohr": units.Hartree / units.Bohr,
    "hartree/Å": units.Hartree,
    "eV/bohr": 1 / units.Bohr,
    "Ry/bohr": units.Rydberg / units.Bohr,
}
"""In eV/Å."""
ENERGY_UNITS = {
    "kJ/mol": units.kJ / units.mol,
    "kcal/mol": units.kcal / units.mol,
    "meV": 1e-3,
    "hartree": units.Hartree,
    "Ry": units.Rydberg,
}
"""In eV."""

SAME_UNIT = 1.5
"""Ratio of labels and baseline up to which nothing is suspected: methods differ by less than a factor of two."""
CLOSE = 1.25
"""Ratio up to which numbers in a suspected unit fit the baseline."""
ALIKE = 0.9
"""Correlation from which on labels and baseline are the same quantity, but for the unit."""
ENOUGH = 10
"""Numbers that a comparison takes at least."""


def require_plausible(energy: float, forces: FloatArray | None, n_atoms: int, where: str) -> None:
    """Raise UnreadableFile for an energy (eV) or force (eV/Å) that no atoms have."""
    if not abs(energy) <= LARGEST_ENERGY * n_atoms:
        raise UnreadableFile(f"{where}: the energy {energy:g} eV of {n_atoms} atoms is none: give eV, of all atoms.")
    if forces is not None and len(forces) and not np.abs(forces).max() <= LARGEST_FORCE:
        raise UnreadableFile(f"{where}: the force {np.abs(forces).max():g} eV/Å on an atom is none: give eV/Å.")


def require_same_units(pairs: Sequence[tuple[Configurations, Configurations]], where: str) -> None:
    """Compare labels with the baseline's of the same frames, given as pairs (labels, baseline).

    Raises InvalidSettings, naming the suspected unit, where the two are alike but for a factor between units, or for
    the sign of forces.  Energies are compared by their differences within each pair: programs count from other zeros.
    """
    forces = [np.zeros((0, 2))]
    energies = [np.zeros((0, 2))]
    for labels, before in pairs:
        if labels.forces is not None and before.forces is not None:
            forces.append(np.column_stack([labels.forces.ravel(), before.forces.ravel()]))
        if labels.energies is not None and before.energies is not None:
            both = np.column_stack([labels.energies, before.energies])
            energies.append(both - both.mean(axis=0))
    _require_same_unit("forces", np.concatenate(forces), FORCE_UNITS, where)
    _require_same_unit("energies", np.concatenate(energies), ENERGY_UNITS, where)


def _require_same_unit(what: str, numbers: FloatArray, known: Mapping[str, float], where: str) -> None:
    """numbers: of labels and baseline, (n, 2)."""
    labels, before = numbers.T
    size, usual = float(np.linalg.norm(labels)), float(np.linalg.norm(before))
    if len(labels) < ENOUGH or size == 0 or usual == 0:
        return
    likeness, ratio = float(labels @ before) / size / usual, size / usual
    if likeness < -ALIKE and what == "forces":
        raise InvalidSettings(
            f"{where}: the forces point against those of the baseline. Are they gradients? Change their sign."
        )
    if likeness < ALIKE or 1 / SAME_UNIT < ratio < SAME_UNIT:
        return
    fitting = {name: factor for name, factor in known.items() if 1 / CLOSE < ratio * factor < CLOSE}
    if fitting:
        nearest = sorted(fitting, key=lambda name: abs(np.log(ratio * fitting[name])))
        raise InvalidSettings(
            f"{where}: the {what} are {ratio:.4g} times those of the baseline. Are they in {' or '.join(nearest)}? "
            f"Then multiply them by {' or '.join(f'{fitting[name]:.6g}' for name in nearest)}; labels are in eV and Å."
        )
