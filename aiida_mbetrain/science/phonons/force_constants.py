"""Harmonic force constants by finite displacements (phonopy)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from phonopy import Phonopy

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure
from aiida_mbetrain.science.configurations import AnyArray, BoolArray, Configurations, FloatArray, IntArray
from aiida_mbetrain.science.crystal import SpaceGroup, keep_sublattices, phonon_supercell_matrix
from aiida_mbetrain.science.phonons.phonopy_cells import (
    SYMPREC,
    build_phonopy,
    from_phonopy_atoms,
    full_force_constants,
    matching_order,
    primitive_cell,
    relative_to,
    right_handed,
    to_phonopy_atoms,
)
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import FreeEnergy

CELLS = ("primitive", "supercell")
ARRAYS = ("supercell_matrix", "force_constants")
FACTS = (
    "space_group",
    "acoustic_sum_rule_violation",
    "permutation_asymmetry",
    "n_displacements",
    "min_frequency_gamma_THz",
)


@dataclass(frozen=True, eq=False)
class ForceConstants:
    """Second derivatives of the energy of a supercell of Ns atoms, symmetrised, with the cells they belong to.

    primitive, supercell: one frame each, without results; the supercell in phonopy's atom order.
    supercell_matrix: (3, 3) integers in phonopy's convention, relative to the primitive cell: the supercell's
        rows are supercell_matrix.T @ cell.
    force_constants: (Ns, Ns, 3, 3), eV/Å².
    space_group: symbol of the primitive cell's space group.
    acoustic_sum_rule_violation: largest |Σ_j Φ_ij| before symmetrisation, eV/Å².
    permutation_asymmetry: largest |Φ_ij - Φ_jiᵀ| before symmetrisation, eV/Å².
    n_displacements: displaced supercells that were evaluated.
    min_frequency_gamma_THz: lowest frequency at Γ without the three translations, negative where imaginary;
        0 for a single atom, which has no other.
    """

    primitive: Configurations
    supercell: Configurations
    supercell_matrix: IntArray
    force_constants: FloatArray
    space_group: str
    acoustic_sum_rule_violation: float
    permutation_asymmetry: float
    n_displacements: int
    min_frequency_gamma_THz: float

    @cached_property
    def symmetry(self) -> SpaceGroup:
        """Space group of the primitive cell; its rotations are the crystal's point group."""
        return SpaceGroup.of(self.primitive)

    @cached_property
    def kept_operations(self) -> BoolArray:
        """Mask of the rotations of the point group that map the supercell's lattice onto itself, (n,).

        Force constants from a supercell have no other symmetry than these.
        """
        kept: BoolArray = keep_sublattices(self.supercell_matrix.T[None], self.symmetry.rotations)[0]
        return kept

    def phonopy(self) -> Phonopy:
        """A live Phonopy in its usual units (Å, eV, amu, THz), with the primitive cell as its unit cell.

        Raises InvalidStructure when phonopy would build another supercell than the stored one.
        """
        phonon = build_phonopy(self.primitive, self.supercell_matrix)
        order = matching_order(phonon.supercell, to_phonopy_atoms(self.supercell))
        if not np.array_equal(order, np.arange(self.supercell.n_atoms)):
            raise InvalidStructure(
                "The stored supercell is not the one phonopy builds from the primitive cell and the supercell "
                "matrix: its atoms are in another order, so the force constants would be misread."
            )
        phonon.force_constants = self.force_constants
        return phonon

    @cached_property
    def shared_phonopy(self) -> Phonopy:
        """One :meth:`phonopy` for all that only reads from it: building it takes seconds for large supercells."""
        return self.phonopy()

    @classmethod
    def from_phonopy(cls, phonon: Phonopy) -> Self:
        """The force constants of a Phonopy of any unit cell, full or compact; they are symmetrised here.

        Raises InvalidStructure when there are none or its supercell is not one of its primitive cell.
        """
        if phonon.force_constants is None:
            raise InvalidStructure("This Phonopy holds no force constants: run produce_force_constants first.")
        primitive = from_phonopy_atoms(phonon.primitive)
        assert primitive.cells is not None
        matrix = np.rint(phonon.supercell.cell @ np.linalg.inv(primitive.cells[0])).astype(np.int64).T
        ours = build_phonopy(primitive, matrix)
        order = matching_order(ours.supercell, phonon.supercell)
        ours.force_constants = np.ascontiguousarray(full_force_constants(phonon)[np.ix_(order, order)])
        return cls.symmetrized(ours, primitive, 0 if phonon.dataset is None else len(phonon.displacements))

    @classmethod
    def symmetrized(cls, phonon: Phonopy, primitive: Configurations, n_displacements: int) -> Self:
        """From a Phonopy whose unit cell is the primitive one, with force constants as they came.

        By how much they violate sum rule and permutation symmetry is recorded; then both are imposed, in place.
        """
        raw = phonon.force_constants
        assert raw is not None
        # Both sums: the rule holds for rows and columns, which differ before the permutation symmetry is imposed.
        violation = float(max(np.abs(raw.sum(axis=axis)).max() for axis in (0, 1)))
        asymmetry = float(np.abs(raw - raw.transpose(1, 0, 3, 2)).max())
        phonon.symmetrize_force_constants()
        result = cls(
            primitive=primitive,
            supercell=from_phonopy_atoms(phonon.supercell),
            supercell_matrix=np.asarray(phonon.supercell_matrix, dtype=np.int64),
            force_constants=np.ascontiguousarray(phonon.force_constants),
            space_group=SpaceGroup.of(primitive).symbol,
            acoustic_sum_rule_violation=violation,
            permutation_asymmetry=asymmetry,
            n_displacements=n_displacements,
            min_frequency_gamma_THz=_lowest_optical_at_gamma(phonon),
        )
        if phonon.symmetry.tolerance == SYMPREC:
            vars(result)["shared_phonopy"] = phonon  # equal to the one that would be built for it
        return result

    def attributes(self) -> dict[str, str | float | int]:
        """The facts that are not arrays, and how much of the point group the supercell keeps."""
        return {name: getattr(self, name) for name in FACTS} | {
            "n_operations": len(self.kept_operations),
            "n_operations_kept": int(self.kept_operations.sum()),
        }

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays; those of the two cells under the prefixes ``primitive_`` and ``supercell_``."""
        cells = {f"{cell}_{name}": array for cell in CELLS for name, array in getattr(self, cell).to_arrays().items()}
        return cells | {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], attributes: Mapping[str, object]) -> Self:
        """The inverse of :meth:`to_arrays` and :meth:`attributes`; unknown names are left alone."""
        cells: dict[str, Any] = {
            cell: Configurations.from_arrays(
                {key.removeprefix(f"{cell}_"): value for key, value in arrays.items() if key.startswith(f"{cell}_")}
            )
            for cell in CELLS
        }
        values: dict[str, Any] = {name: arrays[name] for name in ARRAYS} | {name: attributes[name] for name in FACTS}
        return cls(**cells, **values)


@dataclass(frozen=True, eq=False)
class DisplacementPlan:
    """The displaced supercells of a crystal, ready to be evaluated.

    primitive: the primitive cell, one frame.
    phonopy: of that cell, holding the displacements.
    frames: the undisplaced supercell and then the displaced ones, 1 + D frames of Ns atoms.
    """

    primitive: Configurations
    phonopy: Phonopy
    frames: Configurations

    @property
    def supercell_matrix(self) -> IntArray:
        """In phonopy's convention, relative to the primitive cell, (3, 3)."""
        return np.asarray(self.phonopy.supercell_matrix, dtype=np.int64)

    @property
    def n_displacements(self) -> int:
        """D."""
        return self.frames.n_frames - 1

    def force_constants(self, forces: FloatArray) -> ForceConstants:
        """From the forces of every frame, (1 + D, Ns, 3), eV/Å; those of the undisplaced one are subtracted."""
        # Residual forces of an incompletely relaxed crystal cancel in the difference.
        self.phonopy.forces = forces[1:] - forces[0]
        self.phonopy.produce_force_constants(show_drift=False)
        return ForceConstants.symmetrized(self.phonopy, self.primitive, self.n_displacements)


def plan_displacements(structure: Configurations, settings: FreeEnergy) -> DisplacementPlan:
    """The primitive cell, the supercell and the symmetry-reduced displacements of the first frame.

    ``supercell_matrix`` and ``supercell_diagonal`` refer to the cell of the structure, a radius to any.
    Raises SupercellTooLarge, InvalidStructure.
    """
    primitive = primitive_cell(structure, symprec=settings.symmetry_tolerance_strict)
    if settings.supercell_matrix is None and not settings.supercell_diagonal:
        matrix = phonon_supercell_matrix(primitive, settings)
    else:
        matrix = relative_to(primitive, phonon_supercell_matrix(structure, settings), right_handed(structure))
    phonon = build_phonopy(primitive, matrix.T, symprec=settings.symmetry_tolerance_strict)
    phonon.generate_displacements(distance=settings.supercell_displacement)
    perfect = from_phonopy_atoms(phonon.supercell)
    dataset: Any = phonon.dataset
    moves = np.zeros((1 + len(dataset["first_atoms"]), perfect.n_atoms, 3))
    for frame, entry in enumerate(dataset["first_atoms"], start=1):
        moves[frame, entry["number"]] = entry["displacement"]
    assert perfect.cells is not None
    cells = np.repeat(perfect.cells, len(moves), axis=0)
    return DisplacementPlan(primitive, phonon, perfect.with_(positions=perfect.positions + moves, cells=cells))


def calculate_force_constants(
    structure: Configurations,
    potential: Potential,
    settings: FreeEnergy,
    *,
    done: FloatArray | None = None,
    frames_per_batch: int | None = None,
    atoms_per_batch: int | None = None,
    on_batch: Callable[[FloatArray], None] | None = None,
    report: Report = silent,
) -> ForceConstants:
    """Force constants of a relaxed crystal, from all displaced supercells in one batched evaluation.

    done: forces (n, Ns, 3) of the first n frames of the plan from an interrupted run; only the rest is evaluated.
    frames_per_batch: evaluate this many supercells per call instead of all, and hand the forces of all frames
        so far to on_batch after each, to be saved.
    atoms_per_batch: the same in atoms; one supercell at least.
    report: counts supercells, the undisplaced one included.
    Raises SupercellTooLarge, InvalidStructure, InvalidSettings, ElementsNotInModel, OutOfMemory.
    """
    potential.require_elements(structure.numbers)
    plan = plan_displacements(structure, settings)
    total, n_atoms = plan.frames.n_frames, plan.frames.n_atoms
    forces = np.zeros((0, n_atoms, 3)) if done is None else np.asarray(done, dtype=float)
    if forces.shape[1:] != (n_atoms, 3) or len(forces) > total:
        raise InvalidSettings(
            f"Forces of shape {forces.shape} do not continue {total} supercells of {n_atoms} atoms: "
            "the structure or the settings changed since they were computed."
        )
    if atoms_per_batch is not None:
        frames_per_batch = max(1, atoms_per_batch // n_atoms)
    while (first := len(forces)) < total:
        batch = plan.frames.select(slice(first, total if frames_per_batch is None else first + frames_per_batch))
        [labelled] = potential.evaluate([batch], report=lambda atoms, _: report(first + atoms // n_atoms, total))
        assert labelled.forces is not None
        forces = np.concatenate([forces, labelled.forces])
        if on_batch is not None:
            on_batch(forces)
    report(total, total)
    return plan.force_constants(forces)


def _lowest_optical_at_gamma(phonon: Phonopy) -> float:
    """Lowest frequency (THz) of the dynamical matrix at Γ within the complement of the translations."""
    if len(phonon.primitive) == 1:
        return 0.0
    phonon.run_qpoints([[0, 0, 0]], with_dynamical_matrices=True)
    assert phonon.qpoints is not None
    assert phonon.qpoints.dynamical_matrices is not None
    matrix = phonon.qpoints.dynamical_matrices[0].real
    # Projected out instead of sorted out: in an unstable crystal the translations are not the lowest modes.
    translations = np.kron(np.sqrt(phonon.primitive.masses)[:, None], np.eye(3))
    complement = np.linalg.svd(translations)[0][:, 3:]
    lowest = float(np.linalg.eigvalsh(complement.T @ matrix @ complement)[0])
    return float(np.sign(lowest) * np.sqrt(abs(lowest)) * phonon.unit_conversion_factor)
