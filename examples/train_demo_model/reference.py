"""The reference method of the demo model: GFN1-xTB through tblite, energies, forces and stress.

tblite evaluates periodic systems at the Γ point alone, so a primitive cell is always computed through
its 2x2x2 supercell.
"""

from __future__ import annotations

import numpy as np
import phonopy
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from phonopy.structure.atoms import PhonopyAtoms
from tblite.ase import TBLite

SUPERCELL = (2, 2, 2)


def gfn1() -> TBLite:
    """A silent GFN1-xTB calculator; the accuracy makes forces good to 1e-4 eV/Å."""
    return TBLite(method="GFN1-xTB", verbosity=0, accuracy=0.1)


class Repeated(Calculator):
    """A calculator for a small cell through a calculator for its supercell, averaged over the copies."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, calculator: Calculator, repeats: tuple[int, int, int] = SUPERCELL) -> None:
        super().__init__()
        self.inner, self.repeats = calculator, repeats

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        supercell = bare.repeat(self.repeats)
        supercell.calc = self.inner
        n_copies = int(np.prod(self.repeats))
        self.results = {
            "energy": supercell.get_potential_energy() / n_copies,
            "forces": supercell.get_forces().reshape(n_copies, len(atoms), 3).mean(axis=0),
            "stress": supercell.get_stress(),
        }


def relax(crystal: Atoms, calculator: Calculator, *, fmax: float = 2e-3) -> Atoms:
    """Atoms and cell at their minimum within the space group; ``calculator`` treats the primitive cell."""
    relaxed = crystal.copy()
    relaxed.calc = calculator
    relaxed.set_constraint(FixSymmetry(relaxed))
    BFGS(FrechetCellFilter(relaxed), logfile=None).run(fmax=fmax, steps=200)
    return Atoms(relaxed.numbers, relaxed.positions, cell=relaxed.cell, pbc=True)


def phonons(crystal: Atoms, calculator: Calculator, *, displacement: float = 0.01) -> phonopy.Phonopy:
    """Force constants of the 2x2x2 supercell by symmetric finite displacements; ``calculator`` treats the supercell."""
    cell = PhonopyAtoms(numbers=crystal.numbers, cell=crystal.cell.array, positions=crystal.positions)
    phonon = phonopy.Phonopy(cell, supercell_matrix=np.diag(SUPERCELL), primitive_matrix=np.eye(3), log_level=0)
    phonon.generate_displacements(distance=displacement)
    forces = []
    for displaced in phonon.supercells_with_displacements:
        atoms = Atoms(displaced.numbers, displaced.positions, cell=displaced.cell, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = np.array(forces)
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    return phonon


def commensurate_frequencies(phonon: phonopy.Phonopy) -> np.ndarray:
    """Frequencies (THz), sorted, at the q-points of the 2x2x2 supercell: (8, 3 n); the first row is Γ."""
    qpoints = np.array(list(np.ndindex(SUPERCELL))) / SUPERCELL
    return np.array([phonon.get_frequencies(q) for q in qpoints])


def label(atoms: Atoms) -> Atoms:
    """A copy with GFN1 energy, forces and, where periodic, stress."""
    labelled = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    labelled.calc = gfn1()
    results = {"energy": labelled.get_potential_energy(), "forces": labelled.get_forces()}
    if labelled.pbc.all():
        results["stress"] = labelled.get_stress()
    labelled.info.update(atoms.info)
    labelled.calc = SinglePointCalculator(labelled, **results)
    return labelled
