"""Thermodynamics and equations of state under the file's column names, per primitive cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units

from aiida_mbetrain.datasets import names
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.phonons import ForceConstants
from aiida_mbetrain.science.tables import Table

G_PER_CM3 = 1e-3 * units.kg / 1e24
"""Of amu and Å³."""

RENAMED = {
    "temperature_K": names.T_COLUMN,
    "F_vib_kJ_per_mol": names.F_VIB_CRYSTAL,
    "E_vib_kJ_per_mol": names.E_VIB_CRYSTAL,
    "ZPE_kJ_per_mol": names.ZPE_CRYSTAL,
    "S_vib_J_per_K_mol": names.S_VIB_CRYSTAL,
    "C_V_vib_J_per_K_mol": names.C_V_VIB_CRYSTAL,
    "n_atoms_unit_cell": names.N_ATOMS_UNIT_CELL,
    "acoustic_freq_min_THz": names.ACOUSTIC_FREQ_MIN,
    "optical_freq_min_THz": names.OPTICAL_FREQ_MIN,
    "acoustic_freqs_real": names.ACOUSTIC_FREQS_REAL,
    "optical_freqs_real": names.OPTICAL_FREQS_REAL,
    "n_modes": names.N_MODES,
    "n_imaginary_modes": names.N_IMAGINARY_MODES,
    "n_left_out_modes": names.N_LEFT_OUT_MODES,
    "n_left_out_optical_modes": names.N_LEFT_OUT_OPTICAL_MODES,
}

EQUILIBRIUM = {
    "V_A3": names.V_EOS,
    "F_tot_kJ_per_mol": names.F_TOT_EOS,
    "bulk_modulus_GPa": names.B_EOS,
    "bulk_modulus_prime": names.B_PRIME_EOS,
    "thermal_pressure_GPa": names.P_THERMAL_EOS,
    "expansion_coefficient_per_K": names.ALPHA_V_EOS,
    "bracketed": names.MIN_BRACKETED,
}
CURVES = {
    "temperatures_K": names.T_COLUMN,
    "sampled_free_energies": names.F_SAMPLED,
    "curve_free_energies": names.F_INTERP,
    "volumes": names.V_MIN,
    "free_energies": names.F_MIN,
}


def fixed_volume_table(vibrations: Table, relaxed: Configurations, force_constants: ForceConstants, name: str) -> Table:
    """The table ``thermodynamics_fixed_volume``, per primitive cell.

    vibrations: columns of ``HarmonicThermodynamics``.  relaxed: the crystal with its energy, in any cell.
    """
    n_rows = len(vibrations["temperature_K"])
    primitive = force_constants.primitive
    assert relaxed.energies is not None
    static = float(relaxed.energies[0]) * primitive.n_atoms / relaxed.n_atoms / KJ_PER_MOL
    volume = float(primitive.volumes[0])
    columns = {new: vibrations[old] for old, new in RENAMED.items()}
    mesh = "x".join(str(int(n)) for n in vibrations["q_mesh"][0])
    columns |= {
        names.E_EL_CRYSTAL: np.full(n_rows, static),
        names.F_TOT_CRYSTAL: static + vibrations["F_vib_kJ_per_mol"],
        names.V_CRYSTAL: np.full(n_rows, volume),
        names.RHO_CRYSTAL: np.full(n_rows, primitive.masses.sum() / volume / G_PER_CM3),
        names.SPACE_GROUP: np.full(n_rows, force_constants.space_group),
        names.SYSTEM_LABEL_CRYSTAL: np.full(n_rows, name),
        names.FOURIER_INTERP_MESH: np.full(n_rows, mesh),
    }
    return Table(columns)


def stacked(tables: Sequence[Table]) -> Table:
    """Rows of tables with the same columns, one after another."""
    return Table({name: np.concatenate([table[name] for table in tables]) for name in tables[0].columns})


def sampled_table(tables: Sequence[Table], used: Sequence[bool]) -> Table:
    """The table ``eos_sampled``: every sampled crystal at every temperature, and whether it entered the fits."""
    flags = [np.full(len(table[names.T_COLUMN]), flag) for table, flag in zip(tables, used, strict=True)]
    return Table({**stacked(tables).columns, names.USED_IN_FIT: np.concatenate(flags)})


def interpolated_table(curves: Table) -> Table:
    """The table ``eos_interpolated``: sampled points and fits by temperature, (T, n) each."""
    columns = {new: curves[old] for old, new in CURVES.items()}
    n_temperatures = len(curves["temperatures_K"])
    columns[names.V_SAMPLED] = np.tile(curves["sampled_volumes"], (n_temperatures, 1))
    columns[names.V_INTERP] = np.tile(curves["curve_volumes"], (n_temperatures, 1))
    return Table(columns)


def equilibrium_table(tables: Sequence[Table], equilibrium: Table) -> Table:
    """The table ``thermodynamics_equilibrium_volume``: the crystal at V(T), one row per temperature that has one.

    tables: one row each.  equilibrium: columns of ``ThermalExpansion``.
    """
    rows = np.flatnonzero(np.isfinite(equilibrium["V_A3"]))
    return Table({**stacked(tables).columns, **{new: equilibrium[old][rows] for old, new in EQUILIBRIUM.items()}})


def with_sublimation(table: Table, sublimation: Table) -> Table:
    """The table with the columns of sublimation, row by row."""
    return Table({**table.columns, **{new: sublimation[old] for old, new in names.SUBLIMATION.items()}})
