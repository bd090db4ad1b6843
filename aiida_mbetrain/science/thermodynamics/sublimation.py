"""Sublimation: a mole of molecules from the crystal to the ideal gas.

The gas by the rigid-rotor harmonic-oscillator model of ASE (closed shell), at a standard pressure of 1 bar; the
crystal by its harmonic thermodynamics, its pV term neglected (0.01 kJ/mol at 1 bar).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from ase.thermochemistry import IdealGasThermo

from aiida_mbetrain.errors import InvalidStructure
from aiida_mbetrain.science.configurations import AnyArray, Configurations, FloatArray
from aiida_mbetrain.science.constants import EV_PER_THZ, J_PER_MOL, KJ_PER_MOL
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.relaxation import IsolatedMolecule
from aiida_mbetrain.science.thermodynamics.harmonic import HarmonicThermodynamics

STANDARD_PRESSURE_PA = 1e5


def molecules_per_cell(crystal: Configurations, molecule: Configurations) -> int:
    """Z, the number of molecules in the cell of the crystal.

    Raises InvalidStructure where its composition is not a multiple of the molecule's (another molecule, a
    co-crystal, a solvate), and for a periodic molecule.
    """
    if molecule.periodic:
        raise InvalidStructure("The molecule is periodic: give a structure with pbc = (False, False, False).")
    cell, unit = (
        Counter(zip(part.numbers.tolist(), part.masses.tolist(), strict=True)) for part in (crystal, molecule)
    )
    z = crystal.n_atoms // molecule.n_atoms
    if z == 0 or cell != Counter({kind: z * count for kind, count in unit.items()}):
        formulas = (part.to_atoms()[0].get_chemical_formula() for part in (molecule, crystal))
        raise InvalidStructure(
            "The molecule {} does not make up the crystal, whose cell is {}: give the molecule of this crystal, with "
            "the same isotopes; the sublimation of co-crystals and solvates is not computed.".format(*formulas)
        )
    return z


def molecule_of(crystal: Configurations) -> Configurations:
    """The first molecule of the first frame of a crystal, whole and not periodic.

    Raises InvalidStructure, InfiniteNetwork where there are no molecules, and InvalidStructure for a co-crystal or
    solvate.
    """
    found = detect_molecules(crystal.select([0]), assert_identical_composition=False)
    atoms = found.atoms_of(0)
    molecule = Configurations(
        found.numbers[atoms],
        found.positions[None, atoms],
        isotope_masses=None if found.isotope_masses is None else found.isotope_masses[atoms],
    )
    molecules_per_cell(crystal, molecule)
    return molecule


@dataclass(frozen=True, eq=False)
class IdealGas:
    """A molecule of the ideal gas at T temperatures, kJ/mol and J/K/mol.

    vibrational_free_energies, vibrational_energies: zero point included, (T,).
    free_energies: G at 1 bar with the static energy, (T,).  enthalpies: H, (T,).  entropies: at 1 bar, (T,).
    static_energy, zero_point_energy: scalars.  n_imaginary: vibrations left out of everything.
    """

    vibrational_free_energies: FloatArray
    vibrational_energies: FloatArray
    zero_point_energy: float
    static_energy: float
    free_energies: FloatArray
    enthalpies: FloatArray
    entropies: FloatArray
    n_imaginary: int


def ideal_gas(molecule: IsolatedMolecule, temperatures_K: Sequence[float] | FloatArray) -> IdealGas:
    """Thermodynamics of the gas; at 0 K the molecule at rest with its zero-point energy."""
    assert molecule.structure.energies is not None
    quanta = molecule.frequencies_THz[molecule.frequencies_THz > 0] * EV_PER_THZ
    static = float(molecule.structure.energies[0])
    thermo = IdealGasThermo(
        vib_energies=quanta.tolist(),
        geometry=molecule.geometry,
        potentialenergy=static,
        atoms=molecule.structure.to_atoms()[0],
        symmetrynumber=molecule.symmetry_number,
        spin=0.0,
        vib_selection="all",
    )
    rows = [_at(thermo, quanta, static, float(temperature)) for temperature in temperatures_K]
    free, energy, gibbs, enthalpy, entropy = np.array(rows).T
    return IdealGas(
        vibrational_free_energies=free / KJ_PER_MOL,
        vibrational_energies=energy / KJ_PER_MOL,
        zero_point_energy=float(quanta.sum()) / 2 / KJ_PER_MOL,
        static_energy=static / KJ_PER_MOL,
        free_energies=gibbs / KJ_PER_MOL,
        enthalpies=enthalpy / KJ_PER_MOL,
        entropies=entropy / J_PER_MOL,
        n_imaginary=int((molecule.frequencies_THz <= 0).sum()),
    )


def _at(
    thermo: IdealGasThermo, quanta: FloatArray, static: float, temperature: float
) -> tuple[float, float, float, float, float]:
    """Vibrational F and E, G, H (eV) and S (eV/K)."""
    zero_point = float(quanta.sum()) / 2
    if temperature == 0:
        return zero_point, zero_point, static + zero_point, static + zero_point, 0.0
    x = quanta / (units.kB * temperature)
    free = zero_point + units.kB * temperature * float(np.log(-np.expm1(-x)).sum())
    energy = zero_point + float((quanta * np.exp(-x) / -np.expm1(-x)).sum())
    with np.errstate(over="ignore"):  # of e^x at low temperature, in a denominator
        enthalpy = thermo.get_enthalpy(temperature, verbose=False)
        entropy = thermo.get_entropy(temperature, STANDARD_PRESSURE_PA, verbose=False)
    return free, energy, enthalpy - temperature * entropy, enthalpy, entropy


@dataclass(frozen=True, eq=False)
class Sublimation:
    """Crystal to gas per mole of molecules at T temperatures; positive where the crystal is bound.

    lattice_energy: static energy of a molecule in the crystal minus that of the relaxed isolated one, kJ/mol.
    energies: ΔU with zero point, (T,).  enthalpies: ΔH = ΔU + kT, (T,), kJ/mol.
    free_energies: ΔG at 1 bar, (T,), kJ/mol.  entropies: ΔS at 1 bar, (T,), J/K/mol.
    """

    temperatures_K: FloatArray
    lattice_energy: float
    energies: FloatArray
    enthalpies: FloatArray
    free_energies: FloatArray
    entropies: FloatArray
    gas: IdealGas

    def columns(self) -> dict[str, AnyArray]:
        """One row per temperature, units in the names; all per mole of molecules."""
        n, gas = len(self.temperatures_K), self.gas
        return {
            "temperature_K": self.temperatures_K,
            "F_vib_molecule_kJ_per_mol": gas.vibrational_free_energies,
            "E_vib_molecule_kJ_per_mol": gas.vibrational_energies,
            "ZPE_molecule_kJ_per_mol": np.full(n, gas.zero_point_energy),
            "E_el_molecule_kJ_per_mol": np.full(n, gas.static_energy),
            "G_molecule_kJ_per_mol": gas.free_energies,
            "S_molecule_J_per_K_mol": gas.entropies,
            "n_imaginary_molecule": np.full(n, gas.n_imaginary),
            "E_lattice_kJ_per_mol": np.full(n, self.lattice_energy),
            "E_sub_kJ_per_mol": self.energies,
            "H_sub_kJ_per_mol": self.enthalpies,
            "G_sub_kJ_per_mol": self.free_energies,
            "S_sub_J_per_K_mol": self.entropies,
        }


def sublimation(
    crystal: HarmonicThermodynamics, static_energy: float, z: int, molecule: IsolatedMolecule
) -> Sublimation:
    """Sublimation at the temperatures of the crystal's thermodynamics.

    static_energy: of the crystal's primitive cell, eV.  z: molecules in it.
    """
    temperatures = crystal.temperatures_K
    gas = ideal_gas(molecule, temperatures)
    bound = static_energy / z / KJ_PER_MOL
    # H of the crystal is its energy: pV is neglected.  H of the gas holds kT from pV, which ΔU does not.
    enthalpies = gas.enthalpies - (bound + crystal.energies / z)
    return Sublimation(
        temperatures_K=temperatures,
        lattice_energy=bound - gas.static_energy,
        energies=enthalpies - units.kB * temperatures / KJ_PER_MOL,
        enthalpies=enthalpies,
        free_energies=gas.free_energies - (bound + crystal.free_energies / z),
        entropies=gas.entropies - crystal.entropies / z,
        gas=gas,
    )
