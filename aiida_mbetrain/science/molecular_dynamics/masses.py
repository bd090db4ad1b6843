"""Masses that move atoms in classical dynamics, where only the distribution of positions matters.

The masses drop out of the classical distribution of positions and cells; they decide how fast it is sampled, and how
long a time step may be.  That of the fastest vibrations, of hydrogen, is raised at the cost of the atoms bonded to it
(K. A. Feenstra, B. Hess and H. J. C. Berendsen, J. Comput. Chem. 20, 786 (1999)), or all are made alike.
"""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.settings import ClassicalMD

HYDROGEN = 1
BOND_TOLERANCE = 1.25
"""Largest distance of a hydrogen from its atom, in sums of covalent radii; of several atoms the nearest has it."""


def dynamical_masses(structure: Configurations, settings: ClassicalMD) -> FloatArray:
    """Masses of the dynamics (N,), amu, from those of the elements and isotopes of one frame.

    ``natural``: these.  ``hydrogen``: every hydrogen has ``hydrogen_mass_u`` where it is lighter, taken from the atom
    that it is bonded to, so that no molecule changes its mass.  ``uniform``: their mean, so that the cell does not.
    Raises InvalidSettings for a hydrogen that is bonded to none but hydrogens, and for an atom that would become
    lighter than its hydrogens.
    """
    if settings.masses == "uniform":
        return np.full(structure.n_atoms, structure.masses.mean())
    if settings.masses == "natural":
        return structure.masses
    hydrogens = np.flatnonzero((structure.numbers == HYDROGEN) & (structure.masses < settings.hydrogen_mass_u))
    owners = _bonded_atoms(structure, hydrogens)
    masses = structure.masses.copy()
    masses[hydrogens] = settings.hydrogen_mass_u
    np.subtract.at(masses, owners, settings.hydrogen_mass_u - structure.masses[hydrogens])
    lightest = int(masses.argmin())
    if masses[lightest] < settings.hydrogen_mass_u:
        symbol = chemical_symbols[structure.numbers[lightest]]
        raise InvalidSettings(
            f"ClassicalMD.hydrogen_mass_u = {settings.hydrogen_mass_u:g} leaves {masses[lightest]:.3g} u to the atom "
            f"{lightest} ({symbol}): give a smaller one, or masses = 'uniform'."
        )
    return masses


def _bonded_atoms(structure: Configurations, hydrogens: IntArray) -> IntArray:
    """The nearest atom that is no hydrogen, of each of the given hydrogens."""
    radii = BOND_TOLERANCE * covalent_radii[structure.numbers]
    [atoms] = structure.to_atoms()
    first, second, distance = neighbor_list("ijd", atoms, radii)  # closer than the sum of the two
    kept = (structure.numbers[first] == HYDROGEN) & (structure.numbers[second] != HYDROGEN)
    first, second, distance = first[kept], second[kept], distance[kept]
    order = np.lexsort((second, distance))
    bonded, rows = np.unique(first[order], return_index=True)
    alone = np.setdiff1d(hydrogens, bonded)
    if len(alone):
        raise InvalidSettings(
            f"ClassicalMD.masses = 'hydrogen': the hydrogen {alone[0]} is bonded to no heavier atom that could give it "
            "mass: use 'natural' or 'uniform'."
        )
    return np.asarray(second[order][rows][np.isin(bonded, hydrogens)], dtype=np.int64)
