"""An isolated molecule: relaxation, vibrations, rotational symmetry number.

Rigid rotor and harmonic oscillator: translations and rotations are projected out of the mass-weighted Hessian, so
that 3 N - 6 vibrations (3 N - 5 for a linear molecule, none for an atom) are left whatever the residual forces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mbetrain.errors import InvalidStructure, RelaxationNotConverged
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.constants import THZ_PER_ROOT_EIGENVALUE
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.relaxation.crystal import ALGORITHMS
from aiida_mbetrain.settings import FreeEnergy

Geometry = Literal["monatomic", "linear", "nonlinear"]
MOLECULE_NAME = "molecule[opt:atoms]"
"""Name of a relaxed molecule in a dataset."""
LINEAR = 1e-3
"""A molecule is linear where its smallest moment of inertia is below this fraction of the largest."""


@dataclass(frozen=True, eq=False)
class IsolatedMolecule:
    """A relaxed molecule of N atoms and its vibrations.

    structure: one finite frame with energy (eV) and forces (eV/Å).
    frequencies_THz: of the vibrations, ascending, negative where imaginary.
    symmetry_number: proper rotations that map the molecule onto itself (1 for an atom).
    n_steps, algorithm, max_force: of the relaxation; eV/Å.
    """

    structure: Configurations
    frequencies_THz: FloatArray
    geometry: Geometry
    symmetry_number: int
    n_steps: int
    algorithm: str
    max_force: float

    def facts(self) -> dict[str, str | int | float]:
        """All fields but the structure and the frequencies."""
        names = ("geometry", "symmetry_number", "n_steps", "algorithm", "max_force")
        return {"label": MOLECULE_NAME} | {name: getattr(self, name) for name in names}


def isolated_molecule(
    structure: Configurations, potential: Potential, settings: FreeEnergy, *, report: Report = silent
) -> IsolatedMolecule:
    """Relax the first frame without a cell and compute its vibrations by central differences.

    Settings used: relax_algo_primary and _fallback, max_n_steps, max_force_on_atom, supercell_displacement,
    symmetry_tolerance_loose, molecule_symmetry_number.
    Raises InvalidStructure for a periodic structure, RelaxationNotConverged, ElementsNotInModel.
    """
    if structure.periodic:
        raise InvalidStructure("The isolated molecule is periodic: give a structure with pbc = (False, False, False).")
    potential.require_elements(structure.numbers)
    relaxed, algorithm, n_steps = _relaxed(structure, potential, settings, report)
    assert relaxed.forces is not None
    counted = symmetry_number(relaxed, tolerance=settings.symmetry_tolerance_loose)
    return IsolatedMolecule(
        structure=relaxed,
        frequencies_THz=vibrations(relaxed, potential, displacement=settings.supercell_displacement),
        geometry=geometry(relaxed),
        symmetry_number=settings.molecule_symmetry_number or counted,
        n_steps=n_steps,
        algorithm=algorithm,
        max_force=float(np.linalg.norm(relaxed.forces[0], axis=1).max()),
    )


def _relaxed(
    structure: Configurations, potential: Potential, settings: FreeEnergy, report: Report
) -> tuple[Configurations, str, int]:
    """The relaxed frame with energy and forces, the algorithm that converged, steps of all algorithms."""
    atoms = structure.select([0]).to_atoms()[0]
    atoms.calc = potential.calculator()
    names = list(dict.fromkeys([settings.relax_algo_primary, settings.relax_algo_fallback]))
    done = 0
    for name in names:
        converged, n_steps = _optimize(atoms, name, settings)
        done += n_steps
        report(done, done if converged else settings.max_n_steps * len(names))
        if converged:
            [labelled] = potential.evaluate([Configurations.from_atoms(atoms)])
            return labelled, name, done
    force = np.linalg.norm(atoms.get_forces(), axis=1).max()
    raise RelaxationNotConverged(
        f"After {done} steps of {' and '.join(names)} the largest force on the isolated molecule is {force:.2e} eV/Å, "
        f"above max_force_on_atom = {settings.max_force_on_atom:.2e}: raise max_n_steps = {settings.max_n_steps} or "
        "start from a better geometry."
    )


def _optimize(atoms: Atoms, algorithm: str, settings: FreeEnergy) -> tuple[bool, int]:
    """Run one algorithm; return whether it converged and its number of steps."""
    optimizer = ALGORITHMS[algorithm](atoms, precon=None, logfile=None)
    try:
        converged = bool(optimizer.run(fmax=settings.max_force_on_atom, steps=settings.max_n_steps))
    except RuntimeError as error:
        # ASE has no class of its own for a line search that finds no lower energy.
        if "linesearch" not in str(error).lower().replace(" ", ""):
            raise
        converged = False
    return converged, int(optimizer.nsteps)


def geometry(molecule: Configurations) -> Geometry:
    """Geometry of the first frame by its moments of inertia: nonlinear, linear or monatomic."""
    if molecule.n_atoms == 1:
        return "monatomic"
    moments = molecule.to_atoms()[0].get_moments_of_inertia()
    return "linear" if moments.min() < LINEAR * moments.max() else "nonlinear"


def vibrations(molecule: Configurations, potential: Potential, *, displacement: float) -> FloatArray:
    """Frequencies of the first frame without translations and rotations, (3 N - 6,), THz, negative where imaginary."""
    n = molecule.n_atoms
    if n == 1:
        return np.zeros(0)
    steps = displacement * np.eye(3 * n).reshape(3 * n, n, 3)
    moved = molecule.positions[:1] + np.concatenate([steps, -steps])
    [labelled] = potential.evaluate([Configurations(molecule.numbers, moved)])
    assert labelled.forces is not None
    forward, backward = labelled.forces.reshape(2, 3 * n, 3 * n)
    hessian = (backward - forward) / (2 * displacement)
    masses = np.repeat(molecule.masses, 3)
    weighted = (hessian + hessian.T) / 2 / np.sqrt(np.outer(masses, masses))
    basis = _internal_motions(molecule)
    eigenvalues = np.linalg.eigvalsh(basis.T @ weighted @ basis)
    frequencies: FloatArray = np.sign(eigenvalues) * np.sqrt(np.abs(eigenvalues)) * THZ_PER_ROOT_EIGENVALUE
    return frequencies


def _internal_motions(molecule: Configurations) -> FloatArray:
    """Orthonormal basis, mass-weighted, of all motions but translations and rotations, (3 N, n_vibrations)."""
    positions, masses = molecule.positions[0], molecule.masses
    centred = positions - masses @ positions / masses.sum()
    translations = np.broadcast_to(np.eye(3)[:, None], (3, molecule.n_atoms, 3))
    rotations = np.cross(np.eye(3)[:, None], centred[None])
    rigid = np.concatenate([translations, rotations]) * np.sqrt(masses)[None, :, None]
    vectors, values, _ = np.linalg.svd(rigid.reshape(6, -1).T)
    n_rigid = {"linear": 5, "nonlinear": 6, "monatomic": 3}[geometry(molecule)]
    assert values[n_rigid - 1] > 0
    return vectors[:, n_rigid:]


def symmetry_number(molecule: Configurations, *, tolerance: float) -> int:
    """Number of proper rotations that map the first frame onto itself within a tolerance (Å).

    Linear molecules: 2 with a centre of inversion, else 1, the rotations about the axis not counted.
    """
    positions = molecule.positions[0] - molecule.masses @ molecule.positions[0] / molecule.masses.sum()
    kind = geometry(molecule)
    if kind == "monatomic":
        return 1
    if kind == "linear":
        return 1 + _maps_onto_itself(-positions, positions, molecule, tolerance)
    return sum(
        _maps_onto_itself(positions @ rotation.T, positions, molecule, tolerance)
        for rotation in _candidate_rotations(positions, molecule, tolerance)
    )


def _maps_onto_itself(moved: FloatArray, positions: FloatArray, molecule: Configurations, tolerance: float) -> bool:
    distances = np.linalg.norm(moved[:, None] - positions, axis=-1)
    distances[molecule.kinds[:, None] != molecule.kinds] = np.inf
    if (distances.min(axis=1) > tolerance).any():
        return False
    return len(set(distances.argmin(axis=1).tolist())) == len(positions)


def _candidate_rotations(positions: FloatArray, molecule: Configurations, tolerance: float) -> Iterator[FloatArray]:
    """The rotations that take two given atoms to atoms of the same kind, distance and angle."""
    radii = np.linalg.norm(positions, axis=1)
    first = int(np.argmax(radii))
    areas = np.linalg.norm(np.cross(positions[first], positions), axis=1)
    second = int(np.argmax(areas))
    frame = _frame(positions[first], positions[second])

    def alike(atom: int) -> list[int]:
        same = (molecule.kinds == molecule.kinds[atom]) & (np.abs(radii - radii[atom]) < tolerance)
        return np.flatnonzero(same).tolist()

    apart = np.linalg.norm(positions[first] - positions[second])
    for a in alike(first):
        for b in alike(second):
            if a != b and abs(np.linalg.norm(positions[a] - positions[b]) - apart) < 2 * tolerance:
                yield _frame(positions[a], positions[b]) @ frame.T


def _frame(a: FloatArray, b: FloatArray) -> FloatArray:
    """Right-handed orthonormal axes as columns: along a, then towards b."""
    x = a / np.linalg.norm(a)
    z = np.cross(a, b)
    z /= np.linalg.norm(z)
    return np.column_stack([x, np.cross(z, x), z])
