"""Analytic potentials for tests: molecular crystals, argon, and a crystal that is harmonic to machine precision.

All of them work on any cell, supercell, wrapping or cluster of the crystals below, because molecules are told
from their surroundings by distance and lattice sites by position, never by index.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.spacegroup import crystal
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list

from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent


class PotentialCalculator(Calculator):
    """ASE's view of a :class:`FramePotential`."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, potential: FramePotential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        cell = self.atoms.cell.array if self.atoms.pbc.all() else None
        energy, forces, stress = self.potential.frame(self.atoms.numbers, self.atoms.positions, cell)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        self.potential.n_evaluated += 1
        if cell is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


class FramePotential(Potential):
    """A potential that treats one frame at a time; ``n_evaluated`` counts frames."""

    n_evaluated = 0

    @abstractmethod
    def frame(self, numbers: IntArray, positions: FloatArray, cell: FloatArray | None):
        """Energy (eV), forces (N, 3) eV/Å and stress (3, 3) eV/Å³ of one frame."""

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        total, done, results = sum(part.n_frames * part.n_atoms for part in sets), 0, []
        for part in sets:
            self.require_elements(part.numbers)
            frames = []
            for k in range(part.n_frames):
                cell = None if part.cells is None else part.cells[k]
                frames.append(self.frame(part.numbers, part.positions[k], cell))
                self.n_evaluated += 1
                done += part.n_atoms
                report(done, total)
            energies, forces, stress = (np.array(values) for values in zip(*frames, strict=True))
            results.append(part.with_(energies=energies, forces=forces, stress=stress if part.periodic else None))
        return results

    def calculator(self) -> Calculator:
        return PotentialCalculator(self)

    def describe(self) -> dict[str, str | float | int | None]:
        return {"name": type(self).__name__, "device": "cpu", "dtype": "float64"}


class PairPotential(FramePotential):
    """Any sum of isotropic pair energies."""

    receptive_field: float

    @abstractmethod
    def pair(self, numbers_i: IntArray, numbers_j: IntArray, distances: FloatArray):
        """Energy and its derivative for each pair, eV and eV/Å."""

    def frame(self, numbers, positions, cell):
        atoms = Atoms(numbers, positions, cell=cell, pbc=cell is not None)
        if cell is None:
            atoms.center(vacuum=1.0)
        i, j, d, vectors = neighbour_list("ijdD", atoms, self.receptive_field)
        energy, slope = self.pair(numbers[i], numbers[j], d)
        pulls = 0.5 * (slope / d)[:, None] * vectors
        forces = np.zeros((len(numbers), 3))
        np.add.at(forces, i, pulls)
        np.add.at(forces, j, -pulls)
        virial = np.einsum("pa,pb->ab", pulls, vectors)
        volume = 1.0 if cell is None else abs(np.linalg.det(cell))
        return 0.5 * float(energy.sum()), forces, virial / volume


def _switched_lennard_jones(d: FloatArray, epsilon: FloatArray, sigma: FloatArray, start: float, end: float):
    """Lennard-Jones brought to zero between start and end with two continuous derivatives."""
    power = (sigma / d) ** 6
    energy = 4 * epsilon * (power**2 - power)
    slope = 4 * epsilon * (-12 * power**2 + 6 * power) / d
    x = np.clip((d - start) / (end - start), 0.0, 1.0)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x**2)
    switch_slope = -30 * x**2 * (1 - x) ** 2 / (end - start)
    return energy * switch, slope * switch + energy * switch_slope


class LennardJones(PairPotential):
    """One kind of atom (argon by default), switched off smoothly between 6.5 and 8 Å."""

    def __init__(self, *, epsilon: float = 0.0104, sigma: float = 3.40, cutoff: float = 8.0) -> None:
        self.epsilon, self.sigma, self.receptive_field = epsilon, sigma, cutoff

    def pair(self, numbers_i, numbers_j, distances):
        end = self.receptive_field
        return _switched_lennard_jones(distances, self.epsilon, self.sigma, 0.8 * end, end)


class MolecularSpringLJ(PairPotential):
    """Springs inside molecules, Lennard-Jones between them.

    springs: {(Z1, Z2): (k eV/Å², r0 Å, r_max Å)}, Z1 <= Z2; a pair closer than r_max is a spring
        k (r - r0)^2 / 2, any other interacts by Lennard-Jones.  r_max must lie between the distances inside
        a molecule and the contacts between molecules; the energy jumps where a pair crosses it.
    lennard_jones: {Z: (epsilon eV, sigma Å)}, combined by the Lorentz-Berthelot rules.
    """

    def __init__(
        self,
        springs: Mapping[tuple[int, int], tuple[float, float, float]],
        lennard_jones: Mapping[int, tuple[float, float]],
        *,
        cutoff: float = 8.0,
    ) -> None:
        self.receptive_field = cutoff
        self.elements = frozenset(lennard_jones)
        self._springs = np.zeros((3, 120, 120))
        for (a, b), values in springs.items():
            self._springs[:, a, b] = self._springs[:, b, a] = values
        self._lj = np.zeros((2, 120))
        for number, values in lennard_jones.items():
            self._lj[:, number] = values

    def pair(self, numbers_i, numbers_j, distances):
        k, r0, r_max = self._springs[:, numbers_i, numbers_j]
        epsilon = np.sqrt(self._lj[0, numbers_i] * self._lj[0, numbers_j])
        sigma = 0.5 * (self._lj[1, numbers_i] + self._lj[1, numbers_j])
        end = self.receptive_field
        energy, slope = _switched_lennard_jones(distances, epsilon, sigma, 0.8 * end, end)
        bonded, stretch = distances < r_max, distances - r0
        return np.where(bonded, 0.5 * k * stretch**2, energy), np.where(bonded, k * stretch, slope)


class HarmonicCrystal(FramePotential):
    """Springs between lattice sites: E = 1/2 Σ_bonds e·K·e with e = bond vector - its reference.

    Exactly quadratic in the displacements, with the analytic Hessian :meth:`hessian`.  Atoms are assigned to
    sites by position (displacements and strains must stay small), so any supercell in any atom order works.
    Not invariant under rotation, so strained cells must not be rotated.

    reference: the crystal at rest; k: longitudinal stiffness, eV/Å² (it decays as 1/d² with the bond's length);
    transverse: ratio of the transverse to the longitudinal stiffness.
    """

    def __init__(self, reference: Atoms, *, cutoff: float, k: float = 3.0, transverse: float = 0.2) -> None:
        self.cell, self.numbers = reference.cell.array, reference.numbers
        self.fractional = reference.get_scaled_positions(wrap=True)
        wrapped = Atoms(self.numbers, cell=self.cell, pbc=True, scaled_positions=self.fractional)
        self._i, self._j, d, self._d0, self._shift = neighbour_list("ijdDS", wrapped, cutoff)
        self.receptive_field = cutoff
        along = self._d0[:, :, None] * self._d0[:, None, :] / d[:, None, None] ** 2
        stiffness = k * (d.min() / d) ** 2
        self._k = stiffness[:, None, None] * ((1 - transverse) * along + transverse * np.eye(3))

    def _bonds(self, numbers, positions, cell):
        """For every bond of every atom: its two atoms, its vector and the index of its reference bond."""
        matrix = np.rint(cell @ np.linalg.inv(self.cell)).astype(int)
        fractional = positions @ np.linalg.inv(cell) @ matrix
        away = fractional[:, None] - self.fractional
        distance = np.linalg.norm((away - np.rint(away)) @ self.cell, axis=-1)
        distance[numbers[:, None] != self.numbers] = np.inf
        site = distance.argmin(axis=1)
        lattice = np.rint(away[np.arange(len(site)), site]).astype(int)
        bonds_of = [np.flatnonzero(self._i == s) for s in range(len(self.numbers))]
        atom = np.concatenate([np.full(len(bonds_of[s]), a) for a, s in enumerate(site)])
        bond = np.concatenate([bonds_of[s] for s in site])
        known = {self._key(s, t, matrix): a for a, (s, t) in enumerate(zip(site, lattice, strict=True))}
        target = lattice[atom] + self._shift[bond]
        other = np.array([known[self._key(s, t, matrix)] for s, t in zip(self._j[bond], target, strict=True)])
        whole = np.rint((target - lattice[other]) @ np.linalg.inv(matrix))
        vectors = positions[other] + whole @ cell - positions[atom]
        return atom, other, vectors, bond

    @staticmethod
    def _key(site, lattice, matrix):
        inside = lattice @ np.linalg.inv(matrix)
        return int(site), *np.rint((inside - np.floor(inside + 1e-6)) @ matrix).astype(int)

    def frame(self, numbers, positions, cell):
        i, j, vectors, bond = self._bonds(np.asarray(numbers), positions, cell)
        strain = vectors - self._d0[bond]
        pull = 0.5 * np.einsum("pab,pb->pa", self._k[bond], strain)
        forces = np.zeros((len(numbers), 3))
        np.add.at(forces, i, pull)
        np.add.at(forces, j, -pull)
        virial = np.einsum("pa,pb->ab", pull, vectors) / abs(np.linalg.det(cell))
        return 0.5 * float(np.sum(pull * strain)), forces, 0.5 * (virial + virial.T)

    def hessian(self, atoms: Atoms) -> FloatArray:
        """d²E/dx_i dx_j of a supercell, (N, N, 3, 3), eV/Å²."""
        i, j, _, bond = self._bonds(atoms.numbers, atoms.positions, atoms.cell.array)
        hessian = np.zeros((len(atoms), len(atoms), 3, 3))
        half = 0.5 * self._k[bond]
        for rows, columns, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            np.add.at(hessian, (rows, columns), sign * half)
        return hessian


def argon(a: float = 5.30) -> Atoms:
    """Face-centred cubic argon, primitive cell of one atom."""
    return bulk("Ar", "fcc", a=a)


def nitrogen(a: float = 5.45) -> Atoms:
    """Alpha-N2, Pa-3, four molecules of two atoms."""
    x = 1.098 / (2 * np.sqrt(3) * a)
    return crystal("N", [(x, x, x)], spacegroup=205, cellpar=[a, a, a, 90, 90, 90])


def carbon_dioxide(a: float = 5.60) -> Atoms:
    """Dry ice, Pa-3, four molecules of three atoms."""
    x = 1.16 / (np.sqrt(3) * a)
    return crystal("CO", [(0, 0, 0), (x, x, x)], spacegroup=205, cellpar=[a, a, a, 90, 90, 90])


def sodium_chloride(a: float = 5.64) -> Atoms:
    """Rock salt, primitive cell of two atoms."""
    return bulk("NaCl", "rocksalt", a=a)


def nitrogen_potential() -> MolecularSpringLJ:
    """For :func:`nitrogen`: a stiff bond and atom-atom Lennard-Jones."""
    return MolecularSpringLJ({(7, 7): (140.0, 1.098, 1.8)}, {7: (0.00315, 3.31)})


def carbon_dioxide_potential() -> MolecularSpringLJ:
    """For :func:`carbon_dioxide`; the O-O spring pushes and the C-O springs pull, which stiffens the bending."""
    return MolecularSpringLJ(
        {(6, 8): (90.0, 1.06, 1.8), (8, 8): (60.0, 2.47, 2.75)}, {6: (0.0024, 2.76), 8: (0.0069, 3.03)}
    )
