"""The molecules of a crystal as a node."""

from __future__ import annotations

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.molecules import MolecularCrystal


class MolecularCrystalData(ScienceArrayData):
    """Molecules of a periodic structure: their atoms, image offsets and the central molecule."""

    science_class = MolecularCrystal

    @classmethod
    def facts(cls, value: MolecularCrystal) -> dict[str, object]:
        """Number of molecules, identical composition, and the central molecule."""
        return {
            "n_molecules": int(value.n_molecules),
            "n_atoms": len(value.numbers),
            "identical_composition": bool(value.identical_composition),
            "central_molecule_index": int(value.central_molecule_index),
        }
