"""Conversion factors of phonons and thermodynamics, from the CODATA values of ASE."""

from __future__ import annotations

import math

from ase import units

EV_PER_THZ = units._hplanck * 1e12 / units._e
"""h times 1 THz, eV; ASE's constants are newer than phonopy's, from which they differ by 1e-6."""

THZ_PER_ROOT_EIGENVALUE = units.fs * 1e3 / (2.0 * math.pi)
"""Frequency (THz) of sqrt(1 eV/Å²/amu), the root of an eigenvalue of the mass-weighted Hessian."""

KJ_PER_MOL = units.kJ / units.mol
"""1 kJ/mol in eV."""

J_PER_MOL = units.J / units.mol
"""1 J/mol in eV; entropies and heat capacities in J/K/mol."""
