"""Relaxation of a crystal: atoms, cell shape and volume, within the symmetry it came with.

Convergence: the largest force on an atom is below ``max_force_on_atom`` f, and, where the cell relaxes, the largest
component of the virial per atom, V |stress| / N, is below f x 1 Å (at f = 1e-4 eV/Å and 9 Å³ per atom: 1.8 MPa).
At constant volume only the deviatoric part of the stress counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms, units
from ase.constraints import FixConstraint
from ase.filters import FrechetCellFilter
from ase.optimize.precon import PreconFIRE, PreconLBFGS
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from aiida_mbetrain.errors import BrokenSymmetry, InvalidStructure, RelaxationNotConverged
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.crystal import SpaceGroup
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.relaxation.preconditioner import StretchingSprings
from aiida_mbetrain.settings import FreeEnergy

Mode = Literal["full", "constant_volume", "only_atoms"]

CRYSTAL_NAMES: dict[Mode, str] = {
    "full": "crystal[opt:atoms,shape,V]",
    "constant_volume": "crystal[opt:atoms,shape]",
    "only_atoms": "crystal[opt:atoms]",
}
"""What is relaxed -> name of the relaxed crystal in a dataset."""
ALGORITHMS: dict[str, type[PreconLBFGS | PreconFIRE]] = {"PreconLBFGS": PreconLBFGS, "PreconFIRE": PreconFIRE}
MAX_SYMMETRY_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Relaxation:
    """A relaxed crystal and how it was reached.

    structure: one frame with energies (eV), forces (eV/Å) and stress (eV/Å³), atoms in the order of the input.
    algorithm: the one that converged.  n_steps: optimizer steps of all algorithms together.
    max_force: largest force on an atom after symmetrisation, eV/Å.
    max_stress: largest component of the stress that was to vanish, eV/Å³ (deviatoric at constant volume, the
        deviation from the applied pressure otherwise; of the whole stress where only atoms relax).
    space_group_input, space_group: symbols, at the loose tolerance before and the strict one after.
    crystal_name: name of the structure in a dataset.
    """

    structure: Configurations
    algorithm: str
    n_steps: int
    max_force: float
    max_stress: float
    space_group_input: str
    space_group: str
    crystal_name: str


def relax(
    structure: Configurations,
    potential: Potential,
    settings: FreeEnergy,
    *,
    mode: Mode | None = None,
    pressure_GPa: float = 0.0,
    report: Report = silent,
) -> Relaxation:
    """Relax the first frame by the primary algorithm, then by the fallback from where that stopped.

    With ``symmetrize_unit_cell`` the space group of the input (loose tolerance) is imposed at the start and kept
    by every step; when the result has a higher one (strict tolerance), that is imposed and the relaxation goes
    on from there, so that the reported forces are those of the reported structure.
    mode: overrides ``relax_input_cell``.  pressure_GPa: applied in mode full.
    report: counts optimizer steps of at most max_n_steps per algorithm; at the end, of as many as there were.
    Raises RelaxationNotConverged, BrokenSymmetry, InvalidStructure, ElementsNotInModel.
    """
    mode = mode or settings.relax_input_cell
    if structure.cells is None:
        raise InvalidStructure("A finite structure was given: the relaxation of a crystal needs a cell.")
    potential.require_elements(structure.numbers)
    group = SpaceGroup.of(structure, symprec=settings.symmetry_tolerance_loose)
    run = _Run(potential, settings, mode, pressure_GPa * units.GPa, report)
    current = structure
    for _ in range(MAX_SYMMETRY_ROUNDS):
        constraint = None
        if settings.symmetrize_unit_cell:
            current = _imposed(group, current, mode)
            constraint = _KeepSymmetry(group)
        current = run.converge(current, constraint)
        found = SpaceGroup.of(current, symprec=settings.symmetry_tolerance_strict)
        if not settings.symmetrize_unit_cell or len(found.rotations) <= len(group.rotations):
            break
        group = found
    if settings.symmetrize_unit_cell and len(found.rotations) < len(group.rotations):
        raise BrokenSymmetry(
            f"The relaxed structure has space group {found.symbol} within symmetry_tolerance_strict = "
            f"{settings.symmetry_tolerance_strict} Å instead of {group.symbol}: raise the tolerance, or set "
            "symmetrize_unit_cell to False to let the symmetry go."
        )
    report(run.n_steps, run.n_steps)
    return run.result(structure, current, found.symbol)


def _imposed(group: SpaceGroup, structure: Configurations, mode: Mode) -> Configurations:
    """The symmetrised structure; the volume (the whole cell where only atoms relax) is that of the input."""
    symmetric = group.symmetrized(structure)
    assert symmetric.cells is not None
    if mode == "full":
        return symmetric
    scale = (structure.volumes[0] / symmetric.volumes[0]) ** (1 / 3)
    return symmetric.with_(positions=symmetric.positions * scale, cells=symmetric.cells * scale)


class _KeepSymmetry(FixConstraint):
    """Projects forces, stress and steps onto the invariants of a space group; ASE calls the methods."""

    def __init__(self, group: SpaceGroup) -> None:
        self.group = group

    def adjust_positions(self, atoms: Atoms, new: FloatArray) -> None:
        new[:] = atoms.positions + self.group.symmetrized_vectors(new - atoms.positions, atoms.cell.array)

    def adjust_forces(self, atoms: Atoms, forces: FloatArray) -> None:
        forces[:] = self.group.symmetrized_vectors(forces, atoms.cell.array)

    def adjust_stress(self, atoms: Atoms, stress: FloatArray) -> None:
        full = self.group.symmetrized_tensor(voigt_6_to_full_3x3_stress(stress), atoms.cell.array)
        stress[:] = full_3x3_to_voigt_6_stress(full)

    def adjust_cell(self, atoms: Atoms, cell: FloatArray) -> None:
        cell[:] = self.group.symmetrized_cell(np.asarray(cell))


class _CellFilter(FrechetCellFilter):
    """FrechetCellFilter of ASE for calculators without a force-consistent energy.

    An optimizer asks for the forces five times a step, and each answer takes a logarithm and nine derivatives of
    an exponential of matrices: it is kept as long as the geometry stays.
    """

    _geometry: tuple[bytes, bytes] | None = None

    def get_potential_energy(self, **kwargs: object) -> float:  # type: ignore[override]  # ASE names one argument
        return float(super().get_potential_energy(force_consistent=False))

    def get_forces(self, **kwargs: object) -> FloatArray:
        geometry = self.atoms.positions.tobytes(), self.atoms.cell.array.tobytes()
        if geometry != self._geometry:
            self._forces, self._geometry = super().get_forces(**kwargs), geometry
        forces: FloatArray = self._forces.copy()
        return forces


@dataclass
class _Run:
    """The optimizers' runs on one crystal, and what they took."""

    potential: Potential
    settings: FreeEnergy
    mode: Mode
    pressure: float
    report: Report
    n_steps: int = 0
    algorithm: str = ""

    @property
    def algorithms(self) -> Sequence[str]:
        """Primary and fallback algorithm; the same one twice is restarted from where it stopped."""
        return [self.settings.relax_algo_primary, self.settings.relax_algo_fallback]

    def converge(self, structure: Configurations, constraint: _KeepSymmetry | None) -> Configurations:
        """The relaxed frame; raises RelaxationNotConverged when every algorithm stopped short."""
        atoms = structure.to_atoms()[0]
        atoms.calc = self.potential.calculator()
        if constraint is not None:
            atoms.set_constraint(constraint)
        for algorithm in self.algorithms:
            self.algorithm = algorithm
            # A line search may also fail where nothing is left to gain.
            if self._optimize(atoms, algorithm) or not self._unmet_criteria(atoms):
                return Configurations.from_atoms(atoms)
        raise RelaxationNotConverged(
            f"After {self.n_steps} steps of {' and '.join(self.algorithms)} "
            f"{' and '.join(self._unmet_criteria(atoms))}: raise max_n_steps = {self.settings.max_n_steps}, raise "
            "max_force_on_atom, or start from a better structure."
        )

    def _unmet_criteria(self, atoms: Atoms) -> list[str]:
        """The criteria of convergence that are not met, each with its value and threshold."""
        allowed, unmet = self.settings.max_force_on_atom, []
        force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        if not force < allowed:
            unmet.append(f"the largest force is {force:.2e} eV/Å, above max_force_on_atom = {allowed:.2e}")
        if self.mode != "only_atoms":
            stress = float(np.abs(self._to_vanish(atoms.get_stress(voigt=False))).max())
            threshold = self._allowed_stress(atoms)
            if not stress < threshold:
                kind = "deviatoric stress" if self.mode == "constant_volume" else "stress"
                unmet.append(
                    f"the largest component of the {kind} is {stress:.2e} eV/Å³, above max_force_on_atom x 1 Å x N / V "
                    f"= {threshold:.2e}"
                )
        return unmet

    def _allowed_stress(self, atoms: Atoms) -> float:
        return self.settings.max_force_on_atom * len(atoms) / float(atoms.get_volume())

    def _optimize(self, atoms: Atoms, algorithm: str) -> bool:
        target: Atoms | _CellFilter = atoms
        if self.mode != "only_atoms":
            pressure = self.pressure if self.mode == "full" else 0.0
            target = _CellFilter(atoms, constant_volume=self.mode == "constant_volume", scalar_pressure=pressure)
        # PreconLBFGS learns the stiffness of bonds within a few steps and does better without; PreconFIRE cannot.
        precon = StretchingSprings() if algorithm == "PreconFIRE" else None
        optimizer = ALGORITHMS[algorithm](target, precon=precon, logfile=None)
        done, limit = self.n_steps, self.settings.max_n_steps
        optimizer.attach(lambda: self.report(done + optimizer.nsteps, limit * len(self.algorithms)))
        try:
            converged = optimizer.run(
                fmax=self.settings.max_force_on_atom, steps=limit, smax=self._allowed_stress(atoms)
            )
        except RuntimeError as error:
            # ASE has no class of its own for a line search that finds no lower energy.
            if "linesearch" not in str(error).lower().replace(" ", ""):
                raise
            converged = False
        self.n_steps += optimizer.nsteps
        return bool(converged)

    def result(self, before: Configurations, after: Configurations, symbol: str) -> Relaxation:
        """The frame with the potential's own forces and stress, not those the constraint lets through."""
        [labelled] = self.potential.evaluate([after])
        assert labelled.forces is not None
        assert labelled.stress is not None
        loose = SpaceGroup.of(before, symprec=self.settings.symmetry_tolerance_loose)
        return Relaxation(
            structure=labelled,
            algorithm=self.algorithm,
            n_steps=self.n_steps,
            max_force=float(np.linalg.norm(labelled.forces[0], axis=1).max()),
            max_stress=float(np.abs(self._to_vanish(labelled.stress[0])).max()),
            space_group_input=loose.symbol,
            space_group=symbol,
            crystal_name=CRYSTAL_NAMES[self.mode],
        )

    def _to_vanish(self, stress: FloatArray) -> FloatArray:
        if self.mode == "constant_volume":
            deviatoric: FloatArray = stress - np.eye(3) * np.trace(stress) / 3
            return deviatoric
        return stress + np.eye(3) * (self.pressure if self.mode == "full" else 0.0)
