"""Sampled volumes of a quasi-harmonic calculation: checks, strained structures and filters.

Everything is per primitive cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.thermodynamics.equations_of_state import N_PARAMETERS
from aiida_mbetrain.science.thermodynamics.harmonic import HarmonicThermodynamics
from aiida_mbetrain.settings import FreeEnergy


def strained_structure(structure: Configurations, volume_ratio: float) -> Configurations:
    """The first frame scaled isotropically to volume_ratio times its volume, fractional coordinates kept.

    Molecules are stretched with the cell: relax before use.
    """
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no volume: give a periodic crystal.")
    if not 0 < volume_ratio < np.inf:
        raise InvalidSettings(f"volume_range = {volume_ratio}: give ratios V/V0 above 0.")
    scale = volume_ratio ** (1 / 3)
    positions, cells = structure.positions[:1] * scale, structure.cells[:1] * scale
    return Configurations(structure.numbers, positions, cells, isotope_masses=structure.isotope_masses)


@dataclass(frozen=True, eq=False)
class SampledVolume:
    """A crystal relaxed at one volume, and its vibrations.

    volume: Å³, static_energy: eV, both per primitive cell of the thermodynamics.
    """

    volume: float
    static_energy: float
    space_group: str
    thermodynamics: HarmonicThermodynamics

    @classmethod
    def of(cls, relaxed: Configurations, space_group: str, thermodynamics: HarmonicThermodynamics) -> Self:
        """From the relaxed structure (any cell) with its energy, and the thermodynamics of its force constants."""
        assert relaxed.energies is not None
        share = thermodynamics.n_atoms / relaxed.n_atoms
        return cls(
            volume=float(relaxed.volumes[0]) * share,
            static_energy=float(relaxed.energies[0]) * share,
            space_group=space_group,
            thermodynamics=thermodynamics,
        )


def check_thermal_expansion(settings: FreeEnergy) -> None:
    """Raise InvalidSettings if the settings cannot lead to an equation of state, before anything is computed."""
    if settings.relax_input_cell == "only_atoms":
        raise InvalidSettings(
            "FreeEnergy.relax_input_cell = 'only_atoms' with thermal_expansion = True: the cell has to relax at every "
            "volume. Take 'constant_volume' or 'full', or set thermal_expansion to False."
        )
    points, field = settings.eos_points, f"FreeEnergy.{settings.eos_sampling}_range"
    if len({f"{point:.4f}" for point in points}) < max(N_PARAMETERS, len(points)):
        raise InvalidSettings(
            f"{field} = {list(points)}: an equation of state has {N_PARAMETERS} parameters, give at least as many "
            "values, all different in the first four decimals."
        )
    if settings.eos_sampling == "volume" and not 0 < min(points) <= max(points) < np.inf:
        raise InvalidSettings(f"{field} = {list(points)}: give ratios V/V0 above 0.")
    if len({f"{temperature:.2f}" for temperature in settings.temperatures_K}) < len(settings.temperatures_K):
        raise InvalidSettings(
            f"FreeEnergy.temperatures_K = {list(settings.temperatures_K)}: they name the crystals eq:T=D.DD, so they "
            "must differ in the first two decimals."
        )


def filtered_by(samples: Sequence[SampledVolume], settings: FreeEnergy, *, space_group: str) -> list[str]:
    """Per volume the filter of the settings that removes it, "" where none does; space_group: the reference's."""
    filters = {
        "filter_out_imaginary_acoustic": lambda sample: not sample.thermodynamics.acoustic_freqs_real,
        "filter_out_imaginary_optical": lambda sample: not sample.thermodynamics.optical_freqs_real,
        "filter_out_left_out_acoustic": lambda sample: (
            sample.thermodynamics.n_left_out > sample.thermodynamics.n_left_out_optical
        ),
        "filter_out_left_out_optical": lambda sample: sample.thermodynamics.n_left_out_optical > 0,
        "filter_out_broken_symmetry": lambda sample: sample.space_group != space_group,
    }
    return [
        next((name for name, removes in filters.items() if getattr(settings, name) and removes(sample)), "")
        for sample in samples
    ]
