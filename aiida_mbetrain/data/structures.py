"""Conversion between core StructureData and TrajectoryData nodes and Configurations."""

from __future__ import annotations

from functools import partial

import numpy as np
from aiida import orm
from ase.data import atomic_numbers, chemical_symbols

from aiida_mbetrain.data.arrays import array_of, put_array
from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import ATOMS, PER_FRAME, Configurations
from aiida_mbetrain.science.site_occupancies import REMEDY

CORE_ARRAYS = ("positions", "cells", "velocities")


def structure_to_configurations(node: orm.StructureData) -> Configurations:
    """One frame.  Raises InvalidStructure for alloys, vacancies and partly periodic structures."""
    kinds = {kind.name: kind for kind in node.kinds}
    for index, site in enumerate(node.sites):
        kind = kinds[site.kind_name]
        if kind.is_alloy or kind.has_vacancies:
            species = ", ".join(f"{symbol} {w:g}" for symbol, w in zip(kind.symbols, kind.weights, strict=True))
            raise InvalidStructure(f"{node}: the site {index} (counted from 0) is occupied by {species}: {REMEDY}.")
    try:
        atoms = node.get_ase()
    except (ValueError, KeyError) as error:
        raise InvalidStructure(f"{node} cannot be turned into atoms: {error}") from error
    return Configurations.from_atoms(atoms)


def structure_from_configurations(configurations: Configurations) -> orm.StructureData:
    """A StructureData of the first frame."""
    return orm.StructureData(ase=configurations.select([0]).to_atoms()[0])


def trajectory_from_configurations(frames: Configurations) -> orm.TrajectoryData:
    """A core TrajectoryData with the known per-frame arrays and origins as extra arrays.

    Energies are total eV, forces eV/Å, stress eV/Å³, velocities Å/fs; ``times`` are ps as the core type asks.
    """
    node = orm.TrajectoryData()
    # AiiDA's own would hold positions, cells and velocities in memory, also to validate them when the node is stored
    node.get_array = partial(array_of, node)  # type: ignore[method-assign]
    node.set_array = partial(put_array, node)  # type: ignore[method-assign]
    steps = frames.origin.get("md_step")
    times = frames.origin.get("time_fs")
    node.set_trajectory(
        symbols=[chemical_symbols[number] for number in frames.numbers],
        positions=frames.positions,
        stepids=None if steps is None else np.asarray(steps, dtype=int),
        cells=frames.cells,
        times=None if times is None else np.asarray(times, dtype=float) / 1000.0,
        velocities=frames.velocities,
        pbc=[frames.periodic] * 3,
    )
    for name, array in frames.to_arrays().items():
        if name not in CORE_ARRAYS and name != "numbers":
            put_array(node, name, array)
    return node


def trajectory_to_configurations(node: orm.TrajectoryData) -> Configurations:
    """The inverse of :func:`trajectory_from_configurations`; also takes trajectories of other plugins."""
    names = set(node.get_arraynames())
    arrays = {
        name: array_of(node, name) for name in names if name in (*ATOMS, *PER_FRAME) or name.startswith("origin_")
    }
    arrays["numbers"] = np.array([atomic_numbers[symbol] for symbol in node.symbols])
    return Configurations.from_arrays(arrays)
