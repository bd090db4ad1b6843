"""Harmonic force constants by finite displacements (phonopy), and the phonon bands that follow from them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import seekpath
from numpy.typing import NDArray
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import get_primitive, guess_primitive_matrix

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.errors import InvalidSettings, InvalidStructure
from aiida_mbetrain.science.potentials.base import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.supercells import phonon_supercell_matrix
from aiida_mbetrain.science.symmetry import SpaceGroup
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

    def phonopy(self) -> Phonopy:
        """A live Phonopy in its usual units (Å, eV, amu, THz), with the primitive cell as its unit cell.

        Raises InvalidStructure when phonopy would build another supercell than the stored one.
        """
        phonon = _phonopy(self.primitive, self.supercell_matrix)
        if not np.array_equal(_order(phonon.supercell, _atoms(self.supercell)), np.arange(self.supercell.n_atoms)):
            raise InvalidStructure(
                "The stored supercell is not the one phonopy builds from the primitive cell and the supercell "
                "matrix: its atoms are in another order, so the force constants would be misread."
            )
        phonon.force_constants = self.force_constants
        return phonon

    @classmethod
    def from_phonopy(cls, phonon: Phonopy) -> Self:
        """The force constants of a Phonopy, of any unit cell; they are symmetrised here.

        Raises InvalidStructure when there are none or its primitive cell is not that of the supercell matrix.
        """
        if phonon.force_constants is None:
            raise InvalidStructure("This Phonopy holds no force constants: run produce_force_constants first.")
        primitive = _configurations(phonon.primitive)
        assert primitive.cells is not None
        ratio = phonon.supercell.cell @ np.linalg.inv(primitive.cells[0])
        matrix = np.rint(ratio).astype(np.int64).T
        same = Phonopy(_atoms(primitive), supercell_matrix=matrix, primitive_matrix=np.eye(3)).supercell
        order = _order(same, phonon.supercell)
        full = _full(phonon)[np.ix_(order, order)]
        n_displacements = 0 if phonon.dataset is None else len(phonon.displacements)
        return cls.from_raw(primitive, matrix, full, n_displacements)

    @classmethod
    def from_raw(cls, primitive: Configurations, matrix: IntArray, raw: FloatArray, n_displacements: int) -> Self:
        """Symmetrise force constants (Ns, Ns, 3, 3) as they came, and record by how much they violate the rules."""
        phonon = _phonopy(primitive, matrix)
        phonon.force_constants = raw.copy()
        phonon.symmetrize_force_constants()
        return cls(
            primitive=primitive,
            supercell=_configurations(phonon.supercell),
            supercell_matrix=np.asarray(matrix, dtype=np.int64),
            force_constants=np.ascontiguousarray(phonon.force_constants),
            space_group=SpaceGroup.of(primitive).symbol,
            acoustic_sum_rule_violation=float(max(np.abs(raw.sum(axis=axis)).max() for axis in (0, 1))),
            permutation_asymmetry=float(np.abs(raw - raw.transpose(1, 0, 3, 2)).max()),
            n_displacements=n_displacements,
            min_frequency_gamma_THz=_lowest_optical_at_gamma(phonon),
        )

    def attributes(self) -> dict[str, str | float | int]:
        """The facts that are not arrays."""
        return {name: getattr(self, name) for name in FACTS}

    def to_arrays(self) -> dict[str, NDArray]:
        """Flat arrays; those of the two cells under the prefixes ``primitive_`` and ``supercell_``."""
        cells = {f"{cell}_{name}": array for cell in CELLS for name, array in getattr(self, cell).to_arrays().items()}
        return cells | {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], attributes: Mapping[str, Any]) -> Self:
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

    frames: the undisplaced supercell and then the displaced ones, (1 + D frames, Ns atoms), Å.
    displacements: phonopy's dataset of the first type: which atom, by what vector (Å).
    """

    primitive: Configurations
    supercell_matrix: IntArray
    frames: Configurations
    displacements: Any

    @property
    def n_displacements(self) -> int:
        """D."""
        return len(self.displacements["first_atoms"])

    def force_constants(self, forces: FloatArray) -> ForceConstants:
        """From the forces of every frame, (1 + D, Ns, 3), eV/Å; those of the undisplaced one are subtracted."""
        phonon = _phonopy(self.primitive, self.supercell_matrix)
        phonon.dataset = self.displacements
        phonon.forces = forces[1:] - forces[0]
        phonon.produce_force_constants(show_drift=False)
        return ForceConstants.from_raw(
            self.primitive, self.supercell_matrix, np.asarray(phonon.force_constants), self.n_displacements
        )


def plan_displacements(structure: Configurations, settings: FreeEnergy) -> DisplacementPlan:
    """The primitive cell, the supercell and the symmetry-reduced displacements of the first frame.

    ``supercell_matrix`` and ``supercell_diagonal`` refer to the cell of the structure, a radius to any.
    Raises SupercellTooLarge, InvalidStructure, InvalidSettings.
    """
    primitive = primitive_cell(structure, symprec=settings.symmetry_tolerance_strict)
    if settings.supercell_matrix is None and not settings.supercell_diagonal:
        matrix = phonon_supercell_matrix(primitive, settings)
    else:
        matrix = _relative_to(primitive, phonon_supercell_matrix(structure, settings), structure)
    phonon = _phonopy(primitive, matrix.T, symprec=settings.symmetry_tolerance_strict)
    phonon.generate_displacements(distance=settings.supercell_displacement)
    dataset: Any = phonon.dataset
    perfect = _configurations(phonon.supercell)
    moves = np.zeros((1 + len(dataset["first_atoms"]), perfect.n_atoms, 3))
    for frame, entry in enumerate(dataset["first_atoms"], start=1):
        moves[frame, entry["number"]] = entry["displacement"]
    assert perfect.cells is not None
    frames = perfect.with_(positions=perfect.positions + moves, cells=np.repeat(perfect.cells, len(moves), axis=0))
    return DisplacementPlan(primitive, matrix.T, frames, dataset)


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


def primitive_cell(structure: Configurations, *, symprec: float = 1e-5) -> Configurations:
    """The primitive cell of the first frame, not rotated; the structure itself where it is primitive already."""
    if structure.cells is None:
        raise InvalidStructure("A finite structure has no primitive cell: give a periodic crystal.")
    unit = _atoms(structure)
    matrix = guess_primitive_matrix(unit, symprec=symprec)
    if np.linalg.det(matrix) > 0.99:
        return Configurations(structure.numbers, structure.positions[:1], structure.cells[:1])
    return _configurations(get_primitive(unit, matrix, symprec=symprec))


def _relative_to(primitive: Configurations, matrix: IntArray, structure: Configurations) -> IntArray:
    assert primitive.cells is not None
    assert structure.cells is not None
    return np.rint(matrix @ structure.cells[0] @ np.linalg.inv(primitive.cells[0])).astype(np.int64)


def _phonopy(primitive: Configurations, matrix: IntArray, *, symprec: float = 1e-5) -> Phonopy:
    """matrix: in phonopy's convention."""
    with warnings.catch_warnings():
        # Expected of supercells that keep a part of the point group.
        warnings.filterwarnings("ignore", message=".*symmetries of supercell and primitive.*")
        return Phonopy(_atoms(primitive), supercell_matrix=matrix, primitive_matrix=np.eye(3), symprec=symprec)


def _atoms(structure: Configurations) -> PhonopyAtoms:
    assert structure.cells is not None
    cell = structure.cells[0]
    return PhonopyAtoms(
        numbers=structure.numbers,
        masses=structure.masses,  # phonopy's own differ in the fifth digit
        cell=cell,
        scaled_positions=structure.positions[0] @ np.linalg.inv(cell),
    )


def _configurations(atoms: PhonopyAtoms) -> Configurations:
    return Configurations(np.asarray(atoms.numbers), atoms.positions[None], np.asarray(atoms.cell)[None])


def _order(wanted: PhonopyAtoms, given: PhonopyAtoms) -> IntArray:
    """For every atom of one supercell the same atom of the other, (Ns,); InvalidStructure where one is missing."""
    there = given.positions @ np.linalg.inv(wanted.cell)
    away = wanted.scaled_positions[:, None] - there
    away -= np.rint(away)
    distances = np.linalg.norm(away @ wanted.cell, axis=-1)
    distances[wanted.numbers[:, None] != given.numbers] = np.inf
    order = distances.argmin(axis=1)
    if len(wanted) != len(given) or distances.min(axis=1).max() > 1e-3 or len(set(order)) != len(order):
        raise InvalidStructure("The supercell is not that of its primitive cell and supercell matrix.")
    return order


def _full(phonon: Phonopy) -> FloatArray:
    constants = np.asarray(phonon.force_constants)
    if constants.shape[0] == constants.shape[1]:
        return constants
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    return compact_fc_to_full_fc(phonon.primitive, constants)


def _lowest_optical_at_gamma(phonon: Phonopy) -> float:
    """Lowest frequency (THz) of the dynamical matrix at Γ within the complement of the translations."""
    matrix: Any = phonon.get_dynamical_matrix_at_q([0, 0, 0])
    n_atoms = len(phonon.primitive)
    if n_atoms == 1:
        return 0.0
    translations = np.kron(np.sqrt(phonon.primitive.masses)[:, None], np.eye(3))
    complement = np.linalg.svd(translations)[0][:, 3:]
    lowest = float(np.linalg.eigvalsh(complement.T @ matrix @ complement)[0])
    return float(np.sign(lowest) * np.sqrt(abs(lowest)) * phonon.unit_conversion_factor)


@dataclass(frozen=True, eq=False)
class BandStructure:
    """Phonon frequencies along a path through the Brillouin zone, segment by segment.

    qpoints: per segment (k, 3), in the basis of the primitive cell's reciprocal lattice.
    distances: per segment (k,), along the whole path, 1/Å without 2 pi.
    frequencies_THz: per segment (k, 3 N), ascending, negative where imaginary.
    labels: of the special points along the path; segments that connect share one.
    path_connections: per segment, whether the next one starts where it ends.
    """

    qpoints: Sequence[FloatArray]
    distances: Sequence[FloatArray]
    frequencies_THz: Sequence[FloatArray]
    labels: Sequence[str]
    path_connections: Sequence[bool]

    @property
    def min_frequency_THz(self) -> float:
        """Lowest frequency on the path, translations at Γ included."""
        return float(min(np.min(frequencies) for frequencies in self.frequencies_THz))


def band_structure(force_constants: ForceConstants, *, spacing: float = 0.005) -> BandStructure:
    """Bands along seekpath's path for the space group (Hinuma et al., Comput. Mater. Sci. 128, 140 (2017)).

    spacing: largest distance between q-points, 1/Å without 2 pi.
    The path is expressed in the primitive cell as it is, not in the standardised one.
    """
    cells = force_constants.primitive.cells
    assert cells is not None
    fractional = force_constants.primitive.positions[0] @ np.linalg.inv(cells[0])
    numbers = force_constants.primitive.numbers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of edge cases, such as a tetragonal cell with a = c
        path = seekpath.get_path_orig_cell((cells[0], fractional, numbers))
    segments, distances, start = [], [], 0.0
    for ends in path["path"]:
        first, last = (np.array(path["point_coords"][name]) for name in ends)
        length = float(np.linalg.norm(np.linalg.inv(cells[0]) @ (last - first)))
        fraction = np.linspace(0, 1, max(2, int(np.ceil(length / spacing)) + 1))
        segments.append(first + fraction[:, None] * (last - first))
        distances.append(start + fraction * length)
        start += length
    phonon: Any = force_constants.phonopy()
    phonon.run_qpoints(np.concatenate(segments))
    cuts = np.cumsum([len(segment) for segment in segments])[:-1]
    labels, connections = _labels(path["path"])
    return BandStructure(segments, distances, np.split(phonon.qpoints.frequencies, cuts), labels, connections)


def _labels(path: Sequence[tuple[str, str]]) -> tuple[list[str], list[bool]]:
    """Labels of the special points and whether each segment connects to the next, as phonopy lists them."""
    labels, connections = [_label(path[0][0])], []
    for (_, last), following in zip(path, [*path[1:], None], strict=True):
        labels.append(_label(last))
        connections.append(following is not None and following[0] == last)
        if following is not None and not connections[-1]:
            labels.append(_label(following[0]))
    return labels, connections


def _label(name: str) -> str:
    """seekpath's GAMMA, X, X_1, SIGMA_0 as mathtext."""
    letter, _, index = name.partition("_")
    letter = re.sub(r"^(GAMMA|SIGMA|DELTA|LAMBDA)$", lambda greek: "\\" + greek[0].capitalize(), letter)
    letter = letter if letter.startswith("\\") else f"\\mathrm{{{letter}}}"
    return f"${letter}_{{{index}}}$" if index else f"${letter}$"
