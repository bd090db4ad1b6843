"""Layout of force constants and phonon bands in the file: one function to write each to a tree, one to read it."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout.objects import from_structure, to_structure
from aiida_mbetrain.datasets.tree import Facts, Group
from aiida_mbetrain.science.phonons import BandStructure, ForceConstants


def from_force_constants(constants: ForceConstants) -> Group:
    """Full force constants in phonopy's atom order and supercell convention."""
    return Group(
        attributes={
            names.DATACLASS: "ForceConstants",
            names.SPACE_GROUP: constants.space_group,
            names.N_DISPLACEMENTS: int(constants.n_displacements),
            names.ACOUSTIC_SUM_RULE_VIOLATION: float(constants.acoustic_sum_rule_violation),
            names.PERMUTATION_ASYMMETRY: float(constants.permutation_asymmetry),
            names.MIN_FREQUENCY_GAMMA: float(constants.min_frequency_gamma_THz),
            names.N_OPERATIONS: len(constants.kept_operations),
            names.N_OPERATIONS_KEPT: int(constants.kept_operations.sum()),
        },
        datasets={
            names.FORCE_CONSTANTS: constants.force_constants,
            names.SUPERCELL_MATRIX: constants.supercell_matrix,
        },
        groups={
            names.PRIMITIVE: from_structure(constants.primitive),
            names.SUPERCELL: from_structure(constants.supercell),
        },
    )


def to_force_constants(group: Group) -> ForceConstants:
    """The inverse of ``from_force_constants``."""
    facts: Facts = group.attributes
    return ForceConstants(
        primitive=to_structure(group[names.PRIMITIVE]),
        supercell=to_structure(group[names.SUPERCELL]),
        supercell_matrix=group.array(names.SUPERCELL_MATRIX),
        force_constants=group.array(names.FORCE_CONSTANTS),
        space_group=str(facts[names.SPACE_GROUP]),
        acoustic_sum_rule_violation=float(facts[names.ACOUSTIC_SUM_RULE_VIOLATION]),
        permutation_asymmetry=float(facts[names.PERMUTATION_ASYMMETRY]),
        n_displacements=int(facts[names.N_DISPLACEMENTS]),
        min_frequency_gamma_THz=float(facts[names.MIN_FREQUENCY_GAMMA]),
    )


def from_band_structure(bands: BandStructure) -> Group:
    """Frequencies along the path through the Brillouin zone, segment by segment."""
    n_segments = len(bands.frequencies_THz)
    group = Group(
        attributes={
            names.DATACLASS: "BrillouinZonePath",
            names.N_SEGMENTS: n_segments,
            names.N_BANDS: int(np.shape(bands.frequencies_THz[0])[1]),
        },
        datasets={
            names.PATH_CONNECTIONS: np.asarray(bands.path_connections, dtype=bool),
            names.LABELS: list(bands.labels),
        },
    )
    for i in range(n_segments):
        group.datasets[names.frequencies_segment(i)] = bands.frequencies_THz[i]
        group.datasets[names.distances_segment(i)] = bands.distances[i]
        group.datasets[names.kpoints_segment(i)] = bands.qpoints[i]
    return group


def to_band_structure(group: Group) -> BandStructure:
    """The inverse of ``from_band_structure``."""
    segments = range(int(group.attributes[names.N_SEGMENTS]))  # type: ignore[arg-type]
    return BandStructure(
        qpoints=[group.array(names.kpoints_segment(i)) for i in segments],
        distances=[group.array(names.distances_segment(i)) for i in segments],
        frequencies_THz=[group.array(names.frequencies_segment(i)) for i in segments],
        labels=group.array(names.LABELS).tolist(),
        path_connections=group.array(names.PATH_CONNECTIONS).tolist(),
    )
