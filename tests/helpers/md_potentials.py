"""Potentials for molecular dynamics tests whose frame costs tens of microseconds: springs, and nothing at all."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import Potential

SPRING_LENGTH = 2.5


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
        self.has_features = has_features
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


class SpringCrystal(MDPotential):
    """Springs k (|r| - SPRING_LENGTH)^2 / 2 (eV, Å) between the nearest neighbours of a reference crystal.

    The bonds are listed once, so the crystal can neither melt nor cost a neighbour search.  The spring's length
    makes it anharmonic: a purely harmonic crystal is not ergodic under a Nose-Hoover chain.
    """

    def __init__(self, crystal: Configurations, *, k: float = 1.0, has_features: bool = False) -> None:
        super().__init__(has_features=has_features)
        self.k = k
        i, j, shifts = neighbor_list("ijS", crystal.to_atoms()[0], 1.2 * SPRING_LENGTH)
        order = np.array([(b > a) or (a == b and tuple(s) > (0, 0, 0)) for a, b, s in zip(i, j, shifts, strict=True)])
        self.i, self.j, self.shifts = i[order], j[order], shifts[order].astype(float)
        bonds = np.arange(order.sum())
        self.incidence = np.zeros((crystal.n_atoms, len(bonds)))
        np.add.at(self.incidence, (self.i, bonds), 1.0)
        np.add.at(self.incidence, (self.j, bonds), -1.0)

    def frame(self, positions, cell):
        vectors = positions[self.j] - positions[self.i] + self.shifts @ cell
        lengths = np.sqrt((vectors * vectors).sum(axis=1))
        stretch = lengths - SPRING_LENGTH
        pulls = (self.k * stretch / lengths)[:, None] * vectors
        return 0.5 * self.k * float(stretch @ stretch), self.incidence @ pulls, vectors.T @ pulls


def spring_structure() -> Configurations:
    """Eight atoms of the fcc lattice in a triclinic cell: no two angles equal, none of them right."""
    atoms = bulk("Ar", "fcc", a=SPRING_LENGTH * np.sqrt(2))
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]]) @ atoms.cell.array, scale_atoms=False)
    return Configurations.from_atoms(atoms.repeat(2))
