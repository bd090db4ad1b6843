"""Harmonic thermodynamics under the file's column names, with the static energy added."""

from __future__ import annotations

import numpy as np
from ase import units

from aiida_mbetrain.datasets import names
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.force_constants import ForceConstants
from aiida_mbetrain.science.tables import Table

KJ_PER_MOL = units.kJ / units.mol
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
}


def fixed_volume_table(
    vibrations: Table, relaxed: Configurations, force_constants: ForceConstants, label: str
) -> Table:
    """The table ``thermodynamics_fixed_volume``, per primitive cell.

    vibrations: columns of :class:`HarmonicThermodynamics`.  relaxed: the crystal with its energy, in any cell.
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
        names.SYSTEM_LABEL_CRYSTAL: np.full(n_rows, label),
        names.FOURIER_INTERP_MESH: np.full(n_rows, mesh),
    }
    return Table(columns)
