"""Harmonic and quasi-harmonic thermodynamics of crystals, and sublimation.

The harmonic part sums over phonon modes at one volume.  The quasi-harmonic part fits an equation of state to the free
energy of sampled volumes at every temperature and finds the equilibrium volume.
"""

from aiida_mbetrain.science.thermodynamics.crystal_names import (
    equilibrium_label,
    equilibrium_labels,
    force_constants_key,
    label_of_key,
    reference_label,
    sampled_labels,
)
from aiida_mbetrain.science.thermodynamics.harmonic import HarmonicThermodynamics, harmonic_thermodynamics
from aiida_mbetrain.science.thermodynamics.quasi_harmonic import ThermalExpansion, bracketing_advice, thermal_expansion
from aiida_mbetrain.science.thermodynamics.sampled_volumes import (
    SampledVolume,
    check_thermal_expansion,
    filtered_by,
    strained_structure,
)
from aiida_mbetrain.science.thermodynamics.sublimation import molecules_per_cell, sublimation

__all__ = [
    "HarmonicThermodynamics",
    "SampledVolume",
    "ThermalExpansion",
    "bracketing_advice",
    "check_thermal_expansion",
    "equilibrium_label",
    "equilibrium_labels",
    "filtered_by",
    "force_constants_key",
    "harmonic_thermodynamics",
    "label_of_key",
    "molecules_per_cell",
    "reference_label",
    "sampled_labels",
    "strained_structure",
    "sublimation",
    "thermal_expansion",
]
