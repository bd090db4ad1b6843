"""Potentials for molecular dynamics tests whose frame costs tens of microseconds: springs, and nothing at all."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import Potential

SPRING_LENGTH = 2.5
ARGON_REACH = 6.0


class CountingCalculator(Calculator):
    """Computes only the properties that are asked for, like a calculator for which each costs something."""

    implemented_properties = ["energy", "forces", "stress", "features"]  # noqa: RUF012

    def __init__(self, potential: MDPotential) -> None:
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:
        self.potential.n_passes += 1
        energy, forces, virial = self.potential.frame(atoms.positions, atoms.cell.array)
        values = {"energy": energy, "forces": forces}
        if "features" in properties:
            self.potential.n_features += 1
            values["features"] = np.outer(np.ones(len(atoms)), [energy, self.potential.n_passes])
        if "stress" in properties:
            values["stress"] = virial.ravel()[[0, 4, 8, 5, 2, 1]] / atoms.cell.volume
        self.results |= {name: value for name, value in values.items() if name in properties}


class MDPotential(Potential):
    """Counts the passes of its calculator, and those with features: (energy, number of the pass) on every atom."""

    def __init__(self, *, has_features: bool = False) -> None:
        self.feature_length = 2 if has_features else 0
        self.n_passes = self.n_features = 0

    def frame(self, positions, cell):
        """No interaction: energy, forces and virial are zero."""
        return 0.0, np.zeros_like(positions), np.zeros((3, 3))

    def evaluate(self, sets, *, features=False, report=None):
        results = []
        for part in sets:
            frames = [self.frame(r, h) for r, h in zip(part.positions, part.cells, strict=True)]
            energies, forces, virials = (np.array(values) for values in zip(*frames, strict=True))
            stress = virials / part.volumes[:, None, None]
            results.append(part.with_(energies=energies, forces=forces, stress=stress))
        return results

    def calculator(self) -> Calculator:
        return CountingCalculator(self)

    def describe(self):
        return {"name": type(self).__name__}


class BondedCrystal(MDPotential):
    """Pair energies between the neighbours of a reference crystal within a reach (Å).

    The pairs are listed once, so the crystal can neither melt nor cost a neighbour search.
    """

    def __init__(self, crystal: Configurations, reach: float, *, has_features: bool = False) -> None:
        super().__init__(has_features=has_features)
        i, j, shifts = neighbor_list("ijS", crystal.to_atoms()[0], reach)
        order = np.array([(b > a) or (a == b and tuple(s) > (0, 0, 0)) for a, b, s in zip(i, j, shifts, strict=True)])
        self.i, self.j, self.shifts = i[order], j[order], shifts[order].astype(float)
        bonds = np.arange(order.sum())
        self.incidence = np.zeros((crystal.n_atoms, len(bonds)))
        np.add.at(self.incidence, (self.i, bonds), 1.0)
        np.add.at(self.incidence, (self.j, bonds), -1.0)

    @abstractmethod
    def pairs(self, lengths):
        """Energy of all pairs, eV, and its derivative by each length, eV/Å."""

    def frame(self, positions, cell):
        vectors = positions[self.j] - positions[self.i] + self.shifts @ cell
        lengths = np.sqrt((vectors * vectors).sum(axis=1))
        energy, slopes = self.pairs(lengths)
        pulls = (slopes / lengths)[:, None] * vectors
        return energy, self.incidence @ pulls, vectors.T @ pulls


class SpringCrystal(BondedCrystal):
    """Springs k (|r| - SPRING_LENGTH)^2 / 2 (eV, Å) between the nearest neighbours of a reference crystal.

    The spring's length makes it anharmonic: a purely harmonic crystal is not ergodic under a Nose-Hoover chain.
    """

    def __init__(self, crystal: Configurations, *, k: float = 1.0, has_features: bool = False) -> None:
        super().__init__(crystal, 1.2 * SPRING_LENGTH, has_features=has_features)
        self.k = k

    def pairs(self, lengths):
        stretch = lengths - SPRING_LENGTH
        return 0.5 * self.k * float(stretch @ stretch), self.k * stretch


class LennardJonesCrystal(BondedCrystal):
    """Solid argon: Lennard-Jones between the first two shells of neighbours.

    anisotropy: how much stronger pairs along the reference crystal's z axis are than those across it; the strength
        belongs to the pair, so that energies do not change when the crystal is rotated.
    """

    def __init__(self, crystal: Configurations, *, anisotropy: float = 0.0) -> None:
        super().__init__(crystal, ARGON_REACH)
        vectors = crystal.positions[0][self.j] - crystal.positions[0][self.i] + self.shifts @ crystal.cells[0]
        along = (vectors[:, 2] ** 2) / (vectors * vectors).sum(axis=1)
        self.strengths = 4 * 0.0104 * (1 + anisotropy * along)

    def pairs(self, lengths):
        power = (3.40 / lengths) ** 6
        return float(self.strengths @ (power * power - power)), self.strengths * (6 - 12 * power) * power / lengths


def spring_structure() -> Configurations:
    """Eight atoms of the fcc lattice in a triclinic cell: no two angles equal, none of them right."""
    atoms = bulk("Ar", "fcc", a=SPRING_LENGTH * np.sqrt(2))
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]]) @ atoms.cell.array, scale_atoms=False)
    return Configurations.from_atoms(atoms.repeat(2))


class DumbbellCrystal(BondedCrystal):
    """Carbon and hydrogen at 1.09 Å, as stiff as in molecules, held by soft springs to the neighbours.

    Every pair rests at its length in the reference crystal, which is therefore the minimum.
    """

    def __init__(self, crystal: Configurations, *, stiff: float = 30.0, soft: float = 2.0) -> None:
        super().__init__(crystal, 4.2)
        vectors = crystal.positions[0][self.j] - crystal.positions[0][self.i] + self.shifts @ crystal.cells[0]
        self.rest = np.sqrt((vectors * vectors).sum(axis=1))
        self.bonds = self.rest < 1.2
        self.k = np.where(self.bonds, stiff, soft)

    def pairs(self, lengths):
        stretch = lengths - self.rest
        return 0.5 * float(self.k @ (stretch * stretch)), self.k * stretch

    def bond_lengths(self, frames: Configurations):
        """Lengths of the stiff bonds, (F, B), Å."""
        i, j, shifts = self.i[self.bonds], self.j[self.bonds], self.shifts[self.bonds]
        vectors = frames.positions[:, j] - frames.positions[:, i] + shifts @ frames.cells
        return np.sqrt((vectors * vectors).sum(axis=2))


def dumbbell_structure() -> Configurations:
    """Eight dumbbells in a triclinic cell; some of them lie across its boundary."""
    cell = np.array([[3.3, 0.0, 0.0], [0.5, 3.4, 0.0], [0.3, 0.6, 3.6]])
    atoms = Atoms("CH", [[0.1, 0.2, 3.0], [0.43, 0.53, 3.98]], cell=cell, pbc=True)
    return Configurations.from_atoms(atoms.repeat(2))
