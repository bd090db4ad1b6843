"""Estimate of the cost of a training set, before anything expensive is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from aiida_mbetrain.errors import InvalidSettings, NoModesSelected, SelectedModesOutOfRange, SupercellTooLarge
from aiida_mbetrain.science.clusters import Cluster, select_clusters
from aiida_mbetrain.science.configurations import Configurations, IntArray
from aiida_mbetrain.science.crystal import (
    SpaceGroup,
    count_displacements,
    keep_sublattices,
    make_supercell,
    md_supercell_matrix,
    phonon_supercell_matrix,
)
from aiida_mbetrain.science.molecular_dynamics import dynamical_masses
from aiida_mbetrain.science.molecules import MolecularCrystal, detect_molecules
from aiida_mbetrain.science.phonons import (
    DisplacementPlan,
    calculate_force_constants,
    plan_displacements,
    primitive_cell,
    q_points,
)
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.stages.stage_estimate import StageEstimate
from aiida_mbetrain.science.thermodynamics import (
    check_thermal_expansion,
    equilibrium_names,
    molecule_of,
    name_of_key,
    sampled_names,
)
from aiida_mbetrain.settings import FiniteSubsystemFilter, FreeEnergy, MDSampling, PhononFilter, PhononSampling

HIGHEST_FREQUENCY_THz = 140.0
"""No vibration of a molecule or crystal is faster: H2, the fastest, has a harmonic wavenumber of 4401 cm⁻¹, 132 THz.

Source: Huber and Herzberg, Constants of Diatomic Molecules (1979).
"""


def estimate_md(structure: Configurations, settings: MDSampling) -> StageEstimate:
    """Size of molecular dynamics sampling.  Raises what the stage itself would refuse."""
    dynamics = settings.md_crystal
    dynamical_masses(structure, dynamics)
    matrix = md_supercell_matrix(structure, dynamics)
    supercell = make_supercell(structure, matrix)
    stored = dynamics.time_total_fs - dynamics.time_equilibration_fs
    n_frames = int(stored / dynamics.sampling_interval_fs + 1e-9)
    n_steps = round(dynamics.time_total_fs / dynamics.time_step_fs)
    return _with_clusters(
        "molecular dynamics", matrix, supercell, settings.finite_subsystem_filter, n_frames, n_steps + 1
    )


def estimate_force_constants(structure: Configurations, settings: FreeEnergy) -> StageEstimate:
    """Size of the force constants of every crystal (the relaxations before them work on the unit cell).

    With thermal expansion that is the reference, the sampled volumes and one crystal for each temperature.
    Raises InvalidSettings where no equation of state can come of the settings, InvalidStructure where no sublimation
    can come of the crystal.
    """
    if settings.thermal_expansion:
        check_thermal_expansion(settings)
    if settings.sublimation:
        molecule_of(structure)
    n_crystals = 1 + len(sampled_names(settings)) + len(equilibrium_names(settings))
    plan = _plan(structure, settings)
    name = "force constants" if n_crystals == 1 else f"force constants of {n_crystals} crystals"
    return StageEstimate(
        name,
        plan.supercell_matrix.T,
        plan.frames.n_atoms,
        n_crystals * plan.frames.n_frames,
        n_displacements=plan.frames.n_frames - 1,
        n_crystals=n_crystals,
    )


@dataclass(frozen=True)
class SupercellPrice:
    """Supercell of the force constants of one crystal, with or without ``keep_point_group``.

    n_atoms, n_displacements: None where there is none of at most ``max_atoms``.
    n_operations_kept: of the n_operations of the point group.
    """

    keep_point_group: bool
    n_atoms: int | None
    n_displacements: int | None
    n_operations_kept: int
    n_operations: int


def price_supercells(structure: Configurations, settings: FreeEnergy) -> list[SupercellPrice]:
    """The supercells without and with ``keep_point_group``; the one of the settings where they give its matrix."""
    tolerance = _symmetry_tolerance(settings)
    own_cell = settings.supercell_diagonal or settings.supercell_matrix is not None
    crystal = structure if own_cell else primitive_cell(structure, symprec=tolerance)
    group = SpaceGroup.of(crystal, symprec=tolerance)
    rotations = np.unique(group.rotations, axis=0)
    prices = []
    for keep in (False, True) if settings.supercell_matrix is None else (settings.keep_point_group,):
        changes = {"keep_point_group": keep, "symmetry_tolerance_strict": tolerance}
        try:
            matrix = phonon_supercell_matrix(crystal, settings.model_copy(update=changes))
        except (SupercellTooLarge, InvalidSettings):
            prices.append(SupercellPrice(keep, None, None, len(rotations), len(rotations)))
            continue
        n_atoms = crystal.n_atoms * round(float(np.linalg.det(matrix)))
        n_kept = int(keep_sublattices(matrix[None], rotations)[0].sum())
        displacements = count_displacements(crystal, matrix, symprec=tolerance)
        prices.append(SupercellPrice(keep, n_atoms, displacements, n_kept, len(rotations)))
    return prices


def expected_modes(
    structure: Configurations, potential: Potential, free_energy: FreeEnergy, wanted: PhononFilter
) -> int:
    """Number of modes in the window, from the modes at Γ of the relaxed primitive cell.

    At Γ a primitive cell has the modes of any supercell: the number is that of the run.  The other q-points of a mesh
    count as many and the three acoustic modes each, which are no translations there.
    Raises what the relaxation raises.
    """
    relaxed = relax(structure, potential, free_energy, pressure_GPa=free_energy.pressure_GPa).structure
    primitive = primitive_cell(relaxed, symprec=_symmetry_tolerance(free_energy))
    one_cell = {"supercell_matrix": ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
    constants = calculate_force_constants(primitive, potential, free_energy.model_copy(update=one_cell))
    phonon: Any = constants.shared_phonopy
    phonon.run_qpoints([[0, 0, 0]])
    frequencies = phonon.qpoints.frequencies[0]
    vibrations = np.delete(frequencies, np.argsort(np.abs(frequencies))[:3])
    high = wanted.freq_max_THz or np.inf
    at_gamma = int(((vibrations > wanted.freq_min_THz) & (vibrations < high)).sum())
    return at_gamma + (_n_q_points(_plan(structure, free_energy), wanted) - 1) * (at_gamma + 3)


def _n_q_points(plan: DisplacementPlan, wanted: PhononFilter) -> int:
    assert plan.primitive.cells is not None
    return len(q_points(wanted.k_point_mesh, plan.primitive.cells[0], plan.supercell_matrix))


def estimate_phonons(
    structure: Configurations, free_energy: FreeEnergy, settings: PhononSampling, *, n_modes: int | None = None
) -> StageEstimate:
    """Size of phonon sampling with so many modes in the window, by default the largest one, with all of them.

    Raises IncommensurateMesh and SelectedModesOutOfRange, which are known before, and NoModesSelected for a window
    above all that vibrates.
    """
    wanted = settings.phonon_filter
    _check_window(wanted)
    plan = _plan(structure, free_energy)
    n_branches = 3 * plan.primitive.n_atoms
    if wanted.selected_modes is not None and max(wanted.selected_modes) > n_branches:
        raise SelectedModesOutOfRange(
            f"PhononFilter.selected_modes = {list(wanted.selected_modes)}: the primitive cell of "
            f"{plan.primitive.n_atoms} atoms has modes 1 to {n_branches}."
        )
    per_q = n_branches if wanted.selected_modes is None else len(wanted.selected_modes)
    if wanted.selected_modes is not None or n_modes is None:
        n_modes, known = per_q * _n_q_points(plan, wanted), wanted.selected_modes is not None
    else:
        known = True
    n_frames = settings.n_frames * (n_modes if settings.modes == "each" else 1)
    estimate = _with_clusters(
        "phonon sampling" if known or settings.modes == "all" else "phonon sampling (at most)",
        plan.supercell_matrix.T,
        plan.frames.select([0]),
        settings.finite_subsystem_filter,
        n_frames,
        n_frames,
    )
    return replace(estimate, labels_frames=True)


def _check_window(wanted: PhononFilter) -> None:
    if wanted.selected_modes is None and wanted.freq_min_THz >= HIGHEST_FREQUENCY_THz:
        raise NoModesSelected(
            f"PhononFilter.freq_min_THz = {wanted.freq_min_THz}: no mode lies above {HIGHEST_FREQUENCY_THz:g} THz "
            "(the fastest of all vibrations, that of H2, has 132 THz). Lower freq_min_THz."
        )


def _plan(structure: Configurations, settings: FreeEnergy) -> DisplacementPlan:
    """The displacements of the crystal as it will be once its symmetry is restored."""
    changes = {"symmetry_tolerance_strict": _symmetry_tolerance(settings)}
    return plan_displacements(structure, settings.model_copy(update=changes))


def _symmetry_tolerance(settings: FreeEnergy) -> float:
    return settings.symmetry_tolerance_loose if settings.symmetrize_unit_cell else settings.symmetry_tolerance_strict


def estimate_all(
    structure: Configurations,
    md: MDSampling,
    free_energy: FreeEnergy,
    phonons: PhononSampling,
    *,
    n_modes: int | None = None,
) -> list[StageEstimate]:
    """Sizes of the three stages; raises whatever can be refused before anything expensive starts.

    n_modes: in the phonons' window (:func:`expected_modes`); without it their size is the largest one.
    """
    name_of_key(phonons.force_constants_key, free_energy)
    return [
        estimate_md(structure, md),
        estimate_force_constants(structure, free_energy),
        estimate_phonons(structure, free_energy, phonons, n_modes=n_modes),
    ]


def _with_clusters(
    name: str,
    matrix: IntArray,
    supercell: Configurations,
    rule: FiniteSubsystemFilter | None,
    n_frames: int,
    n_evaluations: int,
) -> StageEstimate:
    if rule is None:
        return StageEstimate(name, matrix, supercell.n_atoms, n_evaluations, n_frames)
    crystal = detect_molecules(
        supercell,
        bond_tolerance=rule.bond_tolerance,
        assert_identical_composition=rule.assert_identical_composition,
    )
    clusters = select_clusters(crystal, rule)
    atoms = sum(_n_atoms(crystal, cluster) for cluster in clusters)
    return StageEstimate(
        name,
        matrix,
        supercell.n_atoms,
        n_evaluations,
        n_frames,
        crystal.n_molecules,
        n_frames * len(clusters),
        n_frames * atoms,
    )


def _n_atoms(crystal: MolecularCrystal, cluster: Cluster) -> int:
    sizes = (crystal.index_map >= 0).sum(axis=1)
    return int(sizes[cluster.molecule_indices].sum())
