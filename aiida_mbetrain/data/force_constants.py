"""Force constants as a node that can be turned into a Phonopy object."""

from __future__ import annotations

from typing import Self

from phonopy import Phonopy

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.science.phonons import ForceConstants


class ForceConstantsData(ScienceArrayData):
    """Harmonic force constants of a supercell, with the cells they belong to."""

    science_class = ForceConstants

    @classmethod
    def facts(cls, value: ForceConstants) -> dict[str, object]:
        """Scalars of the calculation: space group, sum-rule violation, lowest frequencies."""
        return dict(value.attributes())

    def to_science(self) -> ForceConstants:
        """The science object of the node."""
        return ForceConstants.from_arrays(self.all_arrays(), self.base.attributes.all)

    def phonopy(self) -> Phonopy:
        """A Phonopy of the primitive cell and supercell with these force constants."""
        return self.to_science().phonopy()

    @classmethod
    def from_phonopy(cls, phonopy: Phonopy) -> Self:
        """Force constants of an earlier phonopy calculation."""
        return cls.from_science(ForceConstants.from_phonopy(phonopy))
