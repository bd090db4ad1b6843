"""Fragments and their reference labels, packed: one node for thousands of calculations."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.reference_labels import FragmentLabels, Fragments


class FragmentsData(ScienceArrayData):
    """Geometries, ghosts, charges and multiplicities of calculations to be made."""

    science_class: ClassVar[type] = Fragments

    @classmethod
    def facts(cls, value: Fragments) -> dict[str, object]:
        """Number of fragments, and of atoms in all of them."""
        return {"n_fragments": len(value), "n_atoms": len(value.numbers), "ghosts": bool(value.ghosts.any())}


class ReferenceLabelsData(ScienceArrayData):
    """Energies and forces of fragments by one method of quantum chemistry, and the messages of failures."""

    science_class: ClassVar[type] = FragmentLabels

    @classmethod
    def facts(cls, value: FragmentLabels) -> dict[str, object]:
        """Identity of the method, programs, and how many calculations succeeded."""
        return {
            "method_hash": value.method_hash,
            "programs": list(value.programs),
            "n_fragments": len(value),
            "n_labelled": int(np.count_nonzero(value.labelled)),
            "n_failed": len(value.failures),
            "forces": bool(np.isfinite(value.forces).any()),
        }
