"""Harmonic and quasi-harmonic thermodynamics of crystals, and sublimation.

The harmonic part sums over phonon modes at one volume.  The quasi-harmonic part fits an equation of state to the free
energy of sampled volumes at every temperature and finds the equilibrium volume.
"""

from aiida_mbetrain.science.thermodynamics.crystal_names import (
    equilibrium_name,
    equilibrium_names,
    force_constants_key,
    name_of_key,
    reference_name,
    sampled_names,
)
from aiida_mbetrain.science.thermodynamics.harmonic import HarmonicThermodynamics, harmonic_thermodynamics
from aiida_mbetrain.science.thermodynamics.quasi_harmonic import ThermalExpansion, bracketing_advice, thermal_expansion
from aiida_mbetrain.science.thermodynamics.sampled_volumes import (
    SampledVolume,
    check_thermal_expansion,
    filtered_by,
    strained_structure,
)
from aiida_mbetrain.science.thermodynamics.sublimation import (
    IdealGas,
    Sublimation,
    molecule_of,
    molecules_per_cell,
    sublimation,
)

__all__ = [
    "HarmonicThermodynamics",
    "IdealGas",
    "SampledVolume",
    "Sublimation",
    "ThermalExpansion",
    "bracketing_advice",
    "check_thermal_expansion",
    "equilibrium_name",
    "equilibrium_names",
    "filtered_by",
    "force_constants_key",
    "harmonic_thermodynamics",
    "molecule_of",
    "molecules_per_cell",
    "name_of_key",
    "reference_name",
    "sampled_names",
    "strained_structure",
    "sublimation",
    "thermal_expansion",
]
