"""The quasi-harmonic stage from the relaxation of the input to V(T), against the model's passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from aiida_mbetrain.demo import crystal
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import calculate_force_constants
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.thermodynamics import (
    SampledVolume,
    harmonic_thermodynamics,
    strained_structure,
    thermal_expansion,
)
from aiida_mbetrain.settings import FreeEnergy
from benchmarks.clock import floor_of, seconds
from benchmarks.figure import Figure

RATIOS = (0.94, 0.97, 1.0, 1.03, 1.06)
TEMPERATURE = 100.0
"""K; of the crystal at equilibrium."""
MESH = (10, 10, 10)


def figures(potential: Any, name: str, n_cells: int) -> Iterator[Figure]:
    """All sampled volumes of the demo crystal, the fits, and the crystal at V(T) of one temperature."""
    settings = FreeEnergy(
        supercell_matrix=(n_cells * np.eye(3, dtype=int)).tolist(),
        volume_range=RATIOS,
        temperatures_K=[0.0, 100.0, 200.0, 300.0],
        max_force_on_atom=1e-3,
        filter_out_imaginary_optical=False,
        filter_out_left_out_optical=False,
        filter_out_extrapolated_minimum=False,
    )
    with floor_of(potential) as floor:
        total = seconds(lambda: _expand(potential, settings), repeat=1)
    stage = f"thermal expansion, {name}"
    yield Figure(
        stage, f"total / floor, {len(RATIOS)} volumes and V({TEMPERATURE:g} K)", total / floor.seconds, limit=2.0
    )
    yield Figure(stage, "CPU time", total, "s CPU")


def _expand(potential: Any, settings: FreeEnergy) -> None:
    reference = relax(Configurations.from_atoms(crystal()), potential, settings, mode="full")
    start, v0 = reference.structure, float(reference.structure.volumes[0])
    samples = [_crystal_at(start, ratio, potential, settings) for ratio in settings.volume_range]
    expansion = thermal_expansion(samples, settings, space_group=reference.space_group, reference_volume=v0)
    [volume] = expansion.volumes[expansion.temperatures_K == TEMPERATURE]
    _crystal_at(start, volume / v0, potential, settings)


def _crystal_at(start: Configurations, ratio: float, potential: Any, settings: FreeEnergy) -> SampledVolume:
    relaxed = relax(strained_structure(start, ratio), potential, settings)
    constants = calculate_force_constants(relaxed.structure, potential, settings)
    thermodynamics = harmonic_thermodynamics(constants, settings.temperatures_K, MESH)
    return SampledVolume.of(relaxed.structure, relaxed.space_group, thermodynamics)
