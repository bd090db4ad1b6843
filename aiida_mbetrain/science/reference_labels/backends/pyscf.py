"""Hartree-Fock, density functionals, MP2 and CCSD(T) by PySCF, with ghost atoms."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.data import chemical_symbols

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.reference_labels.backends.base import Backend, Evaluation
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import PyscfMethod

if TYPE_CHECKING:
    from pyscf.cc.ccsd import CCSD
    from pyscf.gto import Mole
    from pyscf.mp.mp2 import MP2
    from pyscf.scf.hf import SCF

FORCE_UNIT = units.Hartree / units.Bohr
SCF_GRADIENT_Eh = 1e-6
"""Orbital gradient of a converged density: forces are first order in it, energies second."""


class PyscfBackend(Backend):
    """One PySCF method; threads and memory (MB) are those of the job.

    Open shells are unrestricted.  Forces of functionals leave out the motion of the integration grid, as is common:
    at grid level 3 they differ by less than 1 meV/Å from the derivative of the energy.
    """

    package = "pyscf"
    has_ghosts = True

    def __init__(self, method: PyscfMethod, *, threads: int = 1, memory_MB: float = 4000.0) -> None:
        """Raise InvalidSettings for a functional that PySCF does not know, and where a package is missing."""
        self._method, self._memory_MB = method, memory_MB
        try:
            from pyscf import lib
            from pyscf.dft import libxc

            if method.dispersion is not None:
                import pyscf.dispersion  # noqa: F401
        except ImportError as error:
            raise InvalidSettings(f"PyscfMethod needs a package that is missing: install it ({error}).") from error
        lib.num_threads(threads)
        if method.functional:
            try:
                libxc.parse_xc(method.method)
            except (KeyError, ValueError) as error:
                raise InvalidSettings(
                    f"PyscfMethod.method = {method.method!r} is none of HF, MP2, CCSD(T) and no functional ({error}). "
                    "A dispersion correction is a setting of its own."
                ) from error

    def require_elements(self, symbols: list[str]) -> None:
        """Refuse a basis set that is unknown or lacks an element."""
        from pyscf import gto
        from pyscf.lib.exceptions import BasisNotFoundError

        for symbol in symbols:
            try:
                with warnings.catch_warnings():  # of other packages that may have the basis
                    warnings.simplefilter("ignore", UserWarning)
                    gto.basis.load(self._method.basis, symbol)
            except (BasisNotFoundError, KeyError, RuntimeError) as error:
                raise InvalidSettings(
                    f"PyscfMethod.basis = {self._method.basis!r} does not exist or has no functions for {symbol}: "
                    "take another basis set."
                ) from error

    def evaluate(self, fragment: Fragment) -> Evaluation:
        """One single point, from PySCF's own guess."""
        method = self._method
        try:
            molecule = self._molecule(fragment)
            field = self._mean_field(molecule)
            field.kernel()
            if not field.converged:
                raise ReferenceCalculationFailed(
                    f"pyscf: SCF not converged in {method.max_iterations} cycles, E = {field.e_tot:.8f} E_h"
                )
            wave_function = self._correlation(field, fragment) if method.correlated else field
            energy, gradient = wave_function.e_tot, None
            if method.method.upper() == "CCSD(T)":
                if not wave_function.converged:
                    raise ReferenceCalculationFailed("pyscf: coupled cluster not converged")
                energy += wave_function.ccsd_t()
            if method.gives_forces:
                gradient = wave_function.nuc_grad_method().kernel()
        except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
            raise ReferenceCalculationFailed(f"pyscf: {type(error).__name__}: {error}") from error
        forces = None if gradient is None else -gradient * FORCE_UNIT
        if method.dispersion is not None:
            dispersion, pull = self._dispersion(fragment)
            assert forces is not None
            energy, forces = energy + dispersion, forces + pull * FORCE_UNIT
        return Evaluation(float(energy) * units.Hartree, forces)

    def _molecule(self, fragment: Fragment, *, only_real: bool = False) -> Mole:
        from pyscf import gto

        positions = fragment.positions / units.Bohr  # in ASE's unit of length, as the forces are
        atoms = [
            (f"ghost-{chemical_symbols[number]}" if ghost else chemical_symbols[number], position)
            for number, position, ghost in zip(fragment.numbers, positions, fragment.ghosts, strict=True)
            if not (only_real and ghost)
        ]
        return gto.M(
            atom=atoms,
            unit="Bohr",
            basis=self._method.basis,
            ecp=None if only_real else self._effective_core(fragment),
            charge=fragment.charge,
            spin=fragment.multiplicity - 1,
            max_memory=self._memory_MB,
            verbose=0,
        )

    def _effective_core(self, fragment: Fragment) -> dict[str, str]:
        """The effective core potentials that belong to the basis: PySCF takes them only when they are named."""
        from pyscf import gto

        symbols = {chemical_symbols[number] for number in fragment.numbers[~fragment.ghosts]}
        found = {}
        for symbol in symbols:
            try:
                if gto.basis.load_ecp(self._method.basis, symbol):
                    found[symbol] = self._method.basis
            except (KeyError, RuntimeError):  # an all-electron basis
                continue
        return found

    def _mean_field(self, molecule: Mole) -> SCF:
        from pyscf import dft, scf

        method = self._method
        if method.functional:
            field = (dft.RKS if molecule.spin == 0 else dft.UKS)(molecule, xc=method.method)
            field.grids.level = method.grid_level
        else:
            field = (scf.RHF if molecule.spin == 0 else scf.UHF)(molecule)
        if method.density_fitting:
            field = field.density_fit()
        field.conv_tol, field.max_cycle = method.scf_convergence_Eh, method.max_iterations
        field.conv_tol_grad = SCF_GRADIENT_Eh
        return field

    def _correlation(self, field: SCF, fragment: Fragment) -> CCSD | MP2:
        """Converged MP2 or CCSD of the valence electrons, or of all."""
        from pyscf import cc, gto, mp
        from pyscf.data.elements import chemcore

        frozen = chemcore(self._molecule(fragment, only_real=True)) if self._method.frozen_core else 0
        if self._method.method.upper() == "CCSD(T)":
            return cc.CCSD(field, frozen=frozen or None).run()
        assert isinstance(field.mol, gto.Mole)
        return mp.MP2(field, frozen=frozen or None).run()

    def _dispersion(self, fragment: Fragment) -> tuple[float, FloatArray]:
        """Energy (E_h) and force (E_h/bohr) of the correction, of real atoms alone: ghosts have no dispersion."""
        from pyscf.dispersion import dftd3, dftd4

        molecule, version = self._molecule(fragment, only_real=True), self._method.dispersion
        name = self._method.method.lower()
        if version == "d4":
            model = dftd4.DFTD4Dispersion(molecule, xc=name)
        else:
            model = dftd3.DFTD3Dispersion(molecule, xc=name, version=version)
        results = model.get_dispersion(grad=True)
        forces = np.zeros(fragment.positions.shape)
        forces[~fragment.ghosts] = -np.asarray(results["gradient"])
        return float(results["energy"]), forces
