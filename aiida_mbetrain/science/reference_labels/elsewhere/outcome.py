"""Result of one calculation elsewhere, and the checks that all formats share."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.errors import ReferenceCalculationFailed
from aiida_mbetrain.science.configurations import FloatArray, IntArray
from aiida_mbetrain.science.reference_labels.backends import Evaluation
from aiida_mbetrain.science.reference_labels.fragments import Fragment

SAME_GEOMETRY = 1e-4
"""Largest distance (Å) between an atom of the fragment and of the output: rounding in file formats."""


class Outcome(NamedTuple):
    """Energy and forces, and the name and version of the program."""

    evaluation: Evaluation
    program: str


def require_same_geometry(fragment: Fragment, numbers: IntArray, positions: FloatArray, where: str) -> None:
    """Raise ReferenceCalculationFailed for an output of other atoms, or of another place or orientation."""
    if not np.array_equal(fragment.numbers, numbers):
        given = "".join(chemical_symbols[z] for z in numbers)
        raise ReferenceCalculationFailed(f"{where} has the atoms {given}, not those of the fragment, in order")
    deviation = np.linalg.norm(fragment.positions - positions, axis=1)
    if deviation.max() > SAME_GEOMETRY:
        atom = int(deviation.argmax())
        raise ReferenceCalculationFailed(
            f"{where} is of another geometry: atom {atom} lies {deviation[atom]:.3g} Å from its place in the fragment; "
            "switch off reorientation and relaxation"
        )


def require_forces(forces: FloatArray | None, fragment: Fragment, where: str) -> FloatArray:
    """The forces (N, 3).  Raise ReferenceCalculationFailed where there are none, or not those of all atoms."""
    if forces is None or forces.shape != fragment.positions.shape or not np.isfinite(forces).all():
        raise ReferenceCalculationFailed(f"{where} has no forces on its {len(fragment.numbers)} atoms")
    return forces
