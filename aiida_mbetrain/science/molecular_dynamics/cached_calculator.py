"""The calculator that an integrator sees: one evaluation per geometry, whatever is asked of it and how often."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from aiida_mbetrain.science.configurations import FloatArray

Results = dict[str, Any]
"""Of an ASE calculator, by the name of the property."""


class SinglePass:
    """Holds energy, forces, stress and features of the current geometry, evaluated together.

    ASE's own cache compares whole Atoms objects on every question (a millisecond per step of MTKNPT), computes
    a property that was not asked for first in a second pass, and lives in the calculator, where a restart
    cannot put it back.  Here the questions of one step cost one comparison of positions and cell each, what a
    pass computes is decided before the step, and :attr:`results` can be restored.

    Forces are handed to the integrator without their net force (shared out by mass, so that only the centre of
    mass is affected): an isolated or periodic system has none, the rounding of a float32 model has, and over
    10^5 steps it would set the crystal adrift.  :attr:`results` keeps the forces as the potential gave them.

    wants_stress, wants_features: whether the next evaluation includes them.
    results: of the latest evaluation; ``energy`` (eV), ``forces`` (N, 3) eV/Å, ``stress`` (6,) eV/Å³ in
        Voigt order and ``features`` (N, D) if evaluated.
    """

    def __init__(self, calculator: Calculator, masses: FloatArray, check: Callable[[float, FloatArray], None]) -> None:
        """masses: (N,); check: called with energy and forces of every evaluation, may raise."""
        self.wants_stress = self.wants_features = False
        self.results: Results = {}
        self._calculator = calculator
        self._shares = (masses / masses.sum())[:, None]
        self._check = check
        self._positions: FloatArray | None = None
        self._cell: FloatArray = np.zeros((3, 3))

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Energy in eV."""
        results = self._current(atoms)
        energy: float = results["free_energy" if force_consistent and "free_energy" in results else "energy"]
        return energy

    def get_forces(self, atoms: Atoms) -> FloatArray:
        """Forces (N, 3) in eV/Å whose sum is zero."""
        forces: FloatArray = self._current(atoms)["forces"]
        balanced: FloatArray = forces - self._shares * forces.sum(axis=0)
        return balanced

    def get_stress(self, atoms: Atoms) -> FloatArray:
        """Stress (6,) in eV/Å³, a copy: ASE adds the kinetic part in place."""
        if "stress" not in self._current(atoms):
            self.wants_stress = True
            self._evaluate(atoms)
        stress: FloatArray = self.results["stress"].copy()
        return stress

    def restore(self, atoms: Atoms, results: Results) -> None:
        """Take over the results that a checkpoint holds for this geometry."""
        self.results = dict(results)
        self._remember(atoms)

    def _current(self, atoms: Atoms) -> Results:
        if (
            self._positions is None
            or not np.array_equal(atoms.arrays["positions"], self._positions)
            or not np.array_equal(atoms.cell.array, self._cell)
        ):
            self._evaluate(atoms)
        return self.results

    def _evaluate(self, atoms: Atoms) -> None:
        properties = ["energy", "forces"] + ["stress"] * self.wants_stress + ["features"] * self.wants_features
        changes = all_changes if self._positions is None else ["positions", "cell"]
        # The low-level call names all properties at once; stale results of an earlier geometry must not survive.
        self._calculator.reset()
        self._calculator.calculate(atoms, properties, changes)
        results = dict(self._calculator.results)
        results["energy"] = float(results["energy"])
        results["forces"] = np.array(results["forces"], dtype=np.float64)
        if "stress" in results:
            results["stress"] = _voigt(np.array(results["stress"], dtype=np.float64))
        self._check(results["energy"], results["forces"])
        self.results = results
        self._remember(atoms)

    def _remember(self, atoms: Atoms) -> None:
        self._positions = atoms.get_positions()
        self._cell = atoms.cell.array.copy()


def _voigt(stress: FloatArray) -> FloatArray:
    """A symmetric (3, 3) tensor, or one in Voigt order already, as (xx, yy, zz, yz, xz, xy)."""
    return stress if stress.shape == (6,) else stress.ravel()[[0, 4, 8, 5, 2, 1]]
