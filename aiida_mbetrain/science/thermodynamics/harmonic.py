"""Harmonic thermodynamics of a crystal from its force constants, per primitive cell.

Vibrations are quantum oscillators on a Γ-centred q-point mesh, reduced by the symmetry that the supercell of the
force constants keeps.  Left out of every sum are the
three translations at Γ and modes without a real frequency (f <= 0), however close to zero; how many of the latter is
part of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase import units
from numpy.typing import NDArray

from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.science.constants import EV_PER_THZ, J_PER_MOL, KJ_PER_MOL
from aiida_mbetrain.science.phonons import ForceConstants, irreducible_mesh, mesh_from_length


@dataclass(frozen=True, eq=False)
class HarmonicThermodynamics:
    """Vibrational properties at T temperatures, per primitive cell of N atoms.

    temperatures_K: (T,).
    free_energies, energies: Helmholtz and internal energy, zero point included, (T,), kJ/mol.
    zero_point_energy: kJ/mol.
    entropies, heat_capacities: S and C_V, (T,), J/K/mol.
    mesh: divisions of the reciprocal cell.
    n_modes: 3 N times the number of q-points of the whole mesh.
    n_left_out: modes without a real frequency, which entered no sum; the three translations at Γ are not counted.
    n_left_out_optical: how many of these are optical.  n_imaginary: how many of them lie below the threshold.
    acoustic_freq_min_THz: lowest frequency of the three lowest bands, translations at Γ excepted.
    optical_freq_min_THz: lowest of the other bands; nan for a single atom, which has none.
    acoustic_freqs_real, optical_freqs_real: whether that minimum is above the threshold.
    """

    temperatures_K: FloatArray
    free_energies: FloatArray
    energies: FloatArray
    zero_point_energy: float
    entropies: FloatArray
    heat_capacities: FloatArray
    n_atoms: int
    mesh: tuple[int, int, int]
    n_modes: int
    n_imaginary: int
    n_left_out: int
    n_left_out_optical: int
    acoustic_freq_min_THz: float
    optical_freq_min_THz: float
    acoustic_freqs_real: bool
    optical_freqs_real: bool

    def columns(self) -> dict[str, AnyArray]:
        """One array per quantity with one row per temperature, units in the names; ``q_mesh`` is (T, 3)."""
        n = len(self.temperatures_K)
        return {
            "temperature_K": self.temperatures_K,
            "F_vib_kJ_per_mol": self.free_energies,
            "E_vib_kJ_per_mol": self.energies,
            "ZPE_kJ_per_mol": np.full(n, self.zero_point_energy),
            "S_vib_J_per_K_mol": self.entropies,
            "C_V_vib_J_per_K_mol": self.heat_capacities,
            "n_atoms_unit_cell": np.full(n, self.n_atoms),
            "acoustic_freq_min_THz": np.full(n, self.acoustic_freq_min_THz),
            "optical_freq_min_THz": np.full(n, self.optical_freq_min_THz),
            "acoustic_freqs_real": np.full(n, self.acoustic_freqs_real),
            "optical_freqs_real": np.full(n, self.optical_freqs_real),
            "n_modes": np.full(n, self.n_modes),
            "n_imaginary_modes": np.full(n, self.n_imaginary),
            "n_left_out_modes": np.full(n, self.n_left_out),
            "n_left_out_optical_modes": np.full(n, self.n_left_out_optical),
            "q_mesh": np.tile(self.mesh, (n, 1)),
        }

    @classmethod
    def from_columns(cls, columns: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`columns`."""
        a, b, c = (int(n) for n in columns["q_mesh"][0])
        return cls(
            temperatures_K=columns["temperature_K"],
            free_energies=columns["F_vib_kJ_per_mol"],
            energies=columns["E_vib_kJ_per_mol"],
            zero_point_energy=float(columns["ZPE_kJ_per_mol"][0]),
            entropies=columns["S_vib_J_per_K_mol"],
            heat_capacities=columns["C_V_vib_J_per_K_mol"],
            n_atoms=int(columns["n_atoms_unit_cell"][0]),
            mesh=(a, b, c),
            n_modes=int(columns["n_modes"][0]),
            n_imaginary=int(columns["n_imaginary_modes"][0]),
            n_left_out=int(columns["n_left_out_modes"][0]),
            n_left_out_optical=int(columns["n_left_out_optical_modes"][0]),
            acoustic_freq_min_THz=float(columns["acoustic_freq_min_THz"][0]),
            optical_freq_min_THz=float(columns["optical_freq_min_THz"][0]),
            acoustic_freqs_real=bool(columns["acoustic_freqs_real"][0]),
            optical_freqs_real=bool(columns["optical_freqs_real"][0]),
        )


def harmonic_thermodynamics(
    force_constants: ForceConstants,
    temperatures_K: Sequence[float] | FloatArray,
    mesh: float | Sequence[int] | str = 150.0,
    *,
    imaginary_mode_threshold_THz: float = -0.1,
) -> HarmonicThermodynamics:
    """Free energy, energy, entropy and heat capacity of the crystal's vibrations.

    mesh: three divisions, a length (Å) that divided by a cell vector's length gives about its division
        (phonopy's rule), or "gamma".
    """
    frequencies, weights, is_gamma, divisions = _mesh_frequencies(force_constants, mesh)
    # At Γ the three modes nearest to zero are the translations, up to the rounding of the force constants.
    translation = np.zeros(frequencies.shape, dtype=bool)
    translation[is_gamma, np.argsort(np.abs(frequencies[is_gamma]), axis=-1)[..., :3]] = True
    optical = ~translation
    # Away from Γ the three lowest bands count as acoustic.  At Γ only the translations are, so that an unstable
    # optical mode there, which sorts below them, is still an optical one.
    optical[~translation.any(axis=1), :3] = False
    counted = (frequencies > 0) & ~translation
    left_out = ~counted & ~translation
    acoustic = ~optical & ~translation
    acoustic_minimum = float(frequencies[acoustic].min()) if acoustic.any() else 0.0  # Γ alone has no acoustic mode
    optical_minimum = float(frequencies[optical].min()) if optical.any() else float("nan")
    temperatures = np.atleast_1d(np.asarray(temperatures_K, dtype=float))
    share = np.broadcast_to(weights[:, None] / weights.sum(), frequencies.shape)[counted]
    quanta = frequencies[counted] * EV_PER_THZ
    sums = np.array([_oscillators(quanta, temperature, share) for temperature in temperatures])
    below = left_out & (frequencies < imaginary_mode_threshold_THz)
    return HarmonicThermodynamics(
        temperatures_K=temperatures,
        free_energies=sums[:, 0] / KJ_PER_MOL,
        energies=sums[:, 1] / KJ_PER_MOL,
        zero_point_energy=float(share @ quanta) / 2 / KJ_PER_MOL,
        entropies=sums[:, 2] / J_PER_MOL,
        heat_capacities=sums[:, 3] / J_PER_MOL,
        n_atoms=force_constants.primitive.n_atoms,
        mesh=divisions,
        n_modes=int(weights.sum()) * frequencies.shape[1],
        n_imaginary=int(weights @ below.sum(axis=1)),
        n_left_out=int(weights @ left_out.sum(axis=1)),
        n_left_out_optical=int(weights @ (left_out & optical).sum(axis=1)),
        acoustic_freq_min_THz=acoustic_minimum,
        optical_freq_min_THz=optical_minimum,
        acoustic_freqs_real=acoustic_minimum >= imaginary_mode_threshold_THz,
        optical_freqs_real=not optical_minimum < imaginary_mode_threshold_THz,
    )


def _mesh_frequencies(
    force_constants: ForceConstants, mesh: float | Sequence[int] | str
) -> tuple[FloatArray, NDArray[np.int64], int, tuple[int, int, int]]:
    """Frequencies (n_q, 3 N) in THz and weights of the irreducible q-points, which of them is Γ, the divisions."""
    phonon = force_constants.shared_phonopy
    divisions: Any = [1, 1, 1] if mesh == "gamma" else mesh
    kept = force_constants.kept_operations
    if not kept.all():
        if np.ndim(divisions) == 0:
            assert force_constants.primitive.cells is not None
            divisions = mesh_from_length(divisions, force_constants.primitive.cells[0])
        # phonopy reduces by the whole point group of the primitive cell, which these force constants do not have.
        points, multiplicities = irreducible_mesh(divisions, force_constants.symmetry.rotations[kept])
        phonon.run_qpoints(points)
        assert phonon.qpoints is not None
        a, b, c = (int(n) for n in divisions)
        return phonon.qpoints.frequencies, multiplicities, 0, (a, b, c)
    phonon.run_mesh(divisions, is_gamma_center=True)
    result: Any = phonon.mesh
    is_gamma = int(np.flatnonzero(np.abs(result.qpoints).max(axis=1) < 1e-9)[0])
    a, b, c = (int(n) for n in result.mesh_numbers)
    return result.frequencies, np.asarray(result.weights, dtype=np.int64), is_gamma, (a, b, c)


def _oscillators(quanta: FloatArray, temperature: float, share: FloatArray) -> tuple[float, float, float, float]:
    """F, E (eV), S and C_V (eV/K) of oscillators with quanta hf (eV), weighted.

    Wallace, Thermodynamics of Crystals (1972): with x = hf/kT and n = 1/(e^x - 1),
    F = hf/2 + kT ln(1 - e^-x), E = hf (n + 1/2), C_V = k x² n (n + 1), S = (E - F)/T.
    """
    zero_point = float(share @ quanta) / 2
    if temperature == 0:
        return zero_point, zero_point, 0.0, 0.0
    thermal = units.kB * temperature
    x = quanta / thermal
    # In terms of e^-x nothing overflows at low temperature; expm1 keeps the digits of 1 - e^-x at high temperature.
    decay = np.exp(-x)
    occupation = decay / -np.expm1(-x)
    free = zero_point + thermal * float(share @ np.log(-np.expm1(-x)))
    energy = zero_point + float(share @ (quanta * occupation))
    heat = units.kB * float(share @ (x**2 * occupation * (occupation + 1)))
    return free, energy, (energy - free) / temperature, heat
