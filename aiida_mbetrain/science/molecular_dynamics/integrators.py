"""ASE's integrators, made to count the degrees of freedom that a periodic cell has, and to be restartable.

The centre-of-mass momentum is zero at the start and conserved, so that a cell of N atoms has 3N - 3 kinetic
degrees of freedom.  ASE 3.29 counts 3N in all four integrators.  What is corrected here, and why that way:

Bussi (csvr).
    The target kinetic energy and the chi-squared noise of equation (A7) both follow from ``ndof``.  Setting
    it to 3N - 3 gives the distribution Gamma((3N - 3)/2, kT) exactly.  A scaled temperature would give the
    right mean with the wrong width.

Nose-Hoover chain.
    With g = 3N in dp_eta1/dt = sum(p^2/m) - g kT' - ..., the density exp(-beta (H + sum p_eta^2/2Q)) is
    stationary only if beta g kT' = 3N - 3 *and* beta kT' = 1, the latter from the chain variables j >= 2.
    No scaled T' meets both.  With g = 3N - 3 and T' = T both hold.  ASE takes g from 3 times the number of
    atoms, and 3 (N - 1) = 3N - 3: the thermostat is told of N - 1 atoms.

MTK barostats (equations of Martyna, Tobias and Klein, J. Chem. Phys. 101, 4177 (1994)).
    The term sum(p^2/m)/N_f of the barostat's force and the factor 1 + 1/N_f in the momenta's equation make
    the compressibility of the flow cancel the cell's.  On the subspace without centre-of-mass motion (N - 1
    momenta, N - 1 relative positions) the invariant measure of the isotropic barostat is
    V^((N-1)/N_f - 1) dV; it is dV, as the isothermal-isobaric ensemble wants, for N_f = N - 1.  The fully
    flexible cell gives V^(-3 + (N-1)/N_f) dh, hence again N_f = N - 1 for V^-2 dh = dV dh_0.  An ideal gas
    then has p <V> = ((N - 1) + 1) kT = N kT exactly (with N_f = N it would be (N - 1/N) kT).
    The kinetic part of the pressure needs no correction: sum(p^2/m)/3V with mean (N - 1) kT/V is what enters
    the equations; a consequence is <(P - p) V> = -kT.

Cell momenta of the fully flexible barostat.
    ASE's cell momentum matrix starts at zero and is driven by the symmetric stress, so it stays symmetric:
    six degrees of freedom, while its thermostat is told of nine and holds the cell at 1.5 T
    (<sum p_g^2>/W = 8.9 kT measured where 6 kT is right).  The barostat's thermostat is told of six.

All corrections set numbers that ASE's own step() reads; no equation of motion is rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from ase import Atoms, units
from ase.md.bussi import Bussi
from ase.md.nose_hoover_chain import (
    MTKNPT,
    IsotropicMTKBarostat,
    IsotropicMTKNPT,
    MTKBarostat,
    NoseHooverChainNVT,
    NoseHooverChainThermostat,
)

from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.settings import ClassicalMD

Integrator = Bussi | NoseHooverChainNVT | IsotropicMTKNPT | MTKNPT

SYMMETRIC_CELL_DOF = 6

CHAIN = ("_thermostat._eta", "_thermostat._p_eta")
BAROSTAT_CHAIN = ("_barostat._xi", "_barostat._p_xi")
STATE: dict[type[Integrator], tuple[str, ...]] = {
    Bussi: ("transferred_energy",),
    NoseHooverChainNVT: CHAIN,
    IsotropicMTKNPT: (*CHAIN, *BAROSTAT_CHAIN, "_eps", "_p_eps", "_cell0", "_volume0"),
    MTKNPT: (*CHAIN, *BAROSTAT_CHAIN, "_p_g"),
}
"""What each integrator remembers between steps besides the positions, momenta and cell of its atoms."""


class _Chain(TypedDict):
    temperature_K: float
    tdamp: float
    tchain: int


class _Barostat(TypedDict):
    pdamp: float
    pchain: int


def maxwell_boltzmann_momenta(masses: FloatArray, temperature_K: float, rng: np.random.Generator) -> FloatArray:
    """Momenta (N, 3) in ASE units of N atoms at a temperature, without centre-of-mass momentum.

    masses: (N,), amu.  A canonical draw: the kinetic energy follows Gamma((3N - 3)/2, kT) and is not rescaled
    to its mean, which would narrow the distribution of the first frames.
    """
    momenta = rng.standard_normal((len(masses), 3)) * np.sqrt(masses * units.kB * temperature_K)[:, None]
    centered: FloatArray = momenta - masses[:, None] * (momenta.sum(axis=0) / masses.sum())
    return centered


def build_integrator(
    atoms: Atoms,
    settings: ClassicalMD,
    *,
    temperature_K: float,
    pressure_GPa: float | None,
    rng: np.random.Generator,
) -> Integrator:
    """The integrator that the settings name, for atoms that carry momenta and a calculator.

    atoms: at least two, with zero total momentum.  pressure_GPa: read in NPT only.
    rng: the source of the stochastic thermostat's noise; the deterministic algorithms leave it alone.
    """
    time_step = settings.time_step_fs * units.fs
    if settings.ensemble == "NVT" and settings.nvt_algo == "csvr":
        return _bussi(atoms, settings, time_step, temperature_K, rng)
    chain: _Chain = {
        "temperature_K": temperature_K,
        "tdamp": settings.thermostat_time_fs * units.fs,
        "tchain": settings.tchain,
    }
    if settings.ensemble == "NVT":
        integrator = NoseHooverChainNVT(atoms, time_step, **chain)
        integrator._thermostat = _thermostat(atoms, **chain)
        return integrator
    assert pressure_GPa is not None
    return _mtk(atoms, settings, time_step, chain, pressure_GPa)


def _bussi(
    atoms: Atoms, settings: ClassicalMD, time_step: float, temperature_K: float, rng: np.random.Generator
) -> Bussi:
    taut = settings.thermostat_time_fs * units.fs
    integrator = Bussi(atoms, time_step, temperature_K=temperature_K, taut=taut, rng=rng)
    integrator.ndof = 3 * len(atoms) - 3
    integrator.target_kinetic_energy = 0.5 * integrator.ndof * units.kB * temperature_K
    return integrator


def _thermostat(atoms: Atoms, *, temperature_K: float, tdamp: float, tchain: int) -> NoseHooverChainThermostat:
    """A chain that counts 3N - 3 degrees of freedom."""
    return NoseHooverChainThermostat(
        num_atoms_global=len(atoms) - 1,
        masses=atoms.get_masses()[:, None],
        temperature_K=temperature_K,
        tdamp=tdamp,
        tchain=tchain,
    )


def _mtk(
    atoms: Atoms, settings: ClassicalMD, time_step: float, chain: _Chain, pressure_GPa: float
) -> IsotropicMTKNPT | MTKNPT:
    n = len(atoms) - 1
    baro: _Barostat = {"pdamp": settings.barostat_time_fs * units.fs, "pchain": settings.pchain}
    pressure_au = pressure_GPa * units.GPa
    integrator: IsotropicMTKNPT | MTKNPT
    if settings.npt_algo == "mtk_isotropic":
        integrator = IsotropicMTKNPT(atoms, time_step, pressure_au=pressure_au, **chain, **baro)
        integrator._barostat = IsotropicMTKBarostat(n, chain["temperature_K"], **baro)
    else:
        integrator = MTKNPT(atoms, time_step, pressure_au=pressure_au, **chain, **baro)
        barostat = MTKBarostat(n, chain["temperature_K"], **baro)
        barostat._R[0] *= SYMMETRIC_CELL_DOF / barostat._cell_dof
        barostat._cell_dof = SYMMETRIC_CELL_DOF
        integrator._barostat = barostat
    integrator._num_atoms_global = n
    integrator._thermostat = _thermostat(atoms, **chain)
    return integrator


def conserved_energy(integrator: Integrator) -> float:
    """The quantity (eV) that the extended dynamics conserve: its drift measures the time step's error.

    For csvr: total energy less what the thermostat has put in (Bussi et al., J. Chem. Phys. 126, 014101 (2007)).
    """
    if isinstance(integrator, Bussi):
        atoms = integrator.atoms
        potential = atoms.get_potential_energy(force_consistent=True)
        return float(potential + atoms.get_kinetic_energy() - integrator.transferred_energy)
    return float(integrator.get_conserved_energy())


def integrator_state(integrator: Integrator) -> dict[str, AnyArray]:
    """Copies of the thermostat and barostat variables, by attribute path; see :data:`STATE`."""
    return {path: np.array(getattr(*_resolve(integrator, path))) for path in STATE[type(integrator)]}


def restore_integrator(integrator: Integrator, state: Mapping[str, AnyArray]) -> None:
    """The inverse of :func:`integrator_state`, for an integrator built on atoms with the same phase-space point.

    Raises KeyError when a variable is missing: the state belongs to another algorithm.
    """
    for path in STATE[type(integrator)]:
        value = np.array(state[path], dtype=np.float64)
        owner, name = _resolve(integrator, path)
        setattr(owner, name, value if value.ndim else value.item())


def _resolve(integrator: Integrator, path: str) -> tuple[object, str]:
    owner, _, name = path.rpartition(".")
    return (getattr(integrator, owner) if owner else integrator), name
