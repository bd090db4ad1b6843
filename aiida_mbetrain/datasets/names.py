"""Names in a dataset file, code point for code point.

The names carry unusual characters on purpose, because other programs look them up by exactly these: the
ångström is U+212B ANGSTROM SIGN (not the letter U+00C5), and the slash inside a unit is U+2215 DIVISION SLASH,
since a plain slash separates groups in HDF5.  They are spelled by their escapes here, so that no editor that
normalises text (NFC turns U+212B into U+00C5) can change them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ANGSTROM = "\u212b"
PER = "\u2215"
SQUARED = "\u00b2"
CUBED = "\u00b3"
RHO = "\u03c1"
MIDDLE_DOT = "\u00b7"
ROOT = "\u221a"

# Structures and trajectories
POSITIONS = f"positions ({ANGSTROM})"
VELOCITIES = f"velocities ({ANGSTROM}{PER}fs)"
FORCES = f"forces (eV{PER}{ANGSTROM})"
STRESS = f"stress (eV{PER}{ANGSTROM}{CUBED})"
CELL_VECTORS = f"cell_vectors ({ANGSTROM})"
ATOMIC_NUMBERS = "atomic_numbers"
MASSES = "masses (u)"
DYNAMICAL_MASSES = "dynamical_masses (u)"
FEATURE_VECTORS = "feature_vectors"
TIME = "time (fs)"
TEMPERATURE = "T (K)"
PRESSURE = "p (GPa)"
VOLUME = f"V ({ANGSTROM}{CUBED}{PER}atom)"
E_KIN = f"E_kin (eV{PER}atom)"
E_POT = f"E_pot (eV{PER}atom)"
E_CONSERVED = f"E_conserved (eV{PER}atom)"
E_TRANS_DRIFT = f"E_trans_drift (eV{PER}atom)"

# Molecules and clusters
CENTERS_OF_MASS = f"centers_of_mass ({ANGSTROM})"
MIN_DISTANCES = f"min_distances_to_central_molecule ({ANGSTROM})"
MAX_DISTANCES = f"max_distances_to_central_molecule ({ANGSTROM})"
INDEX_MAP = "index_map"
IMAGE_OFFSETS = "image_offsets"
BONDS = "bonds"
BOND_OFFSETS = "bond_offsets"
MOLECULE_INDICES = "molecule_indices"
LATTICE_TRANSLATIONS = "lattice_translations"
E_INTERACTION = "E_interaction (eV)"
MISSING_FRAGMENTS = "missing_fragments"

# Phonons
FORCE_CONSTANTS = f"force_constants (eV{PER}{ANGSTROM}{SQUARED})"
SUPERCELL_MATRIX = "supercell_matrix"
PATH_CONNECTIONS = "path_connections"
LABELS = "labels"
FREQUENCY = "frequency (THz)"
SIGMA = f"sigma ({ANGSTROM}{MIDDLE_DOT}{ROOT}u)"
AMPLITUDES = "amplitudes (sigma)"
Q_POINTS = "q_points"
MODE_INDICES = "mode_indices"

# Thermodynamics
T_COLUMN = "T (K)"
F_VIB_CRYSTAL = f"F_vib_crystal (kJ{PER}mol{PER}unit cell)"
E_VIB_CRYSTAL = f"E_vib_crystal (kJ{PER}mol{PER}unit cell)"
ZPE_CRYSTAL = f"ZPE_crystal (kJ{PER}mol{PER}unit cell)"
E_EL_CRYSTAL = f"E_el_crystal (kJ{PER}mol{PER}unit cell)"
F_TOT_CRYSTAL = f"F_tot_crystal (kJ{PER}mol{PER}unit cell)"
S_VIB_CRYSTAL = f"S_vib_crystal (J{PER}K{PER}mol{PER}unit cell)"
C_V_VIB_CRYSTAL = f"C_V_vib_crystal (J{PER}K{PER}mol{PER}unit cell)"
V_CRYSTAL = f"V_crystal ({ANGSTROM}{CUBED}{PER}unit cell)"
RHO_CRYSTAL = f"{RHO}_crystal (g{PER}cm{CUBED})"
N_ATOMS_UNIT_CELL = "n_atoms_unit_cell"
SPACE_GROUP = "space_group"
ACOUSTIC_FREQS_REAL = "acoustic_freqs_real_crystal"
OPTICAL_FREQS_REAL = "optical_freqs_real_crystal"
ACOUSTIC_FREQ_MIN = "acoustic_freq_min (THz)"
OPTICAL_FREQ_MIN = "optical_freq_min (THz)"
N_MODES = "n_modes_crystal"
N_IMAGINARY_MODES = "n_imaginary_modes_crystal"
N_LEFT_OUT_MODES = "n_left_out_modes_crystal"
N_LEFT_OUT_OPTICAL_MODES = "n_left_out_optical_modes_crystal"
SYSTEM_LABEL_CRYSTAL = "system_label_crystal"
FOURIER_INTERP_MESH = "Fourier_interp_mesh"
V_EOS = f"V_eos ({ANGSTROM}{CUBED}{PER}unit cell)"
F_TOT_EOS = f"F_tot_eos (kJ{PER}mol{PER}unit cell)"
B_EOS = "B_eos (GPa)"
B_PRIME_EOS = "B_prime_eos"
P_THERMAL_EOS = "p_thermal_eos (GPa)"
ALPHA_V_EOS = f"alpha_V_eos (1{PER}K)"
MIN_BRACKETED = "min_bracketed"
USED_IN_FIT = "used_in_fit"
PER_MOLECULE = f"(kJ{PER}mol{PER}molecule)"
PER_MOLECULE_K = f"(J{PER}K{PER}mol{PER}molecule)"
SUBLIMATION: Mapping[str, str] = {
    "F_vib_molecule_kJ_per_mol": f"F_vib_molecule {PER_MOLECULE}",
    "E_vib_molecule_kJ_per_mol": f"E_vib_molecule {PER_MOLECULE}",
    "ZPE_molecule_kJ_per_mol": f"ZPE_molecule {PER_MOLECULE}",
    "E_el_molecule_kJ_per_mol": f"E_el_molecule {PER_MOLECULE}",
    "G_molecule_kJ_per_mol": f"G_molecule {PER_MOLECULE}",
    "S_molecule_J_per_K_mol": f"S_molecule {PER_MOLECULE_K}",
    "n_imaginary_molecule": "n_imaginary_molecule",
    "E_lattice_kJ_per_mol": f"E_latt {PER_MOLECULE}",
    "E_sub_kJ_per_mol": f"E_sub {PER_MOLECULE}",
    "H_sub_kJ_per_mol": f"H_sub {PER_MOLECULE}",
    "G_sub_kJ_per_mol": f"G_sub {PER_MOLECULE}",
    "S_sub_J_per_K_mol": f"S_sub {PER_MOLECULE_K}",
}
"""Column of a sublimation table -> name in the tables of thermodynamics."""
V_SAMPLED = f"V_sampled ({ANGSTROM}{CUBED}{PER}unit cell)"
F_SAMPLED = f"F_sampled (kJ{PER}mol{PER}unit cell)"
V_INTERP = f"V_interp ({ANGSTROM}{CUBED}{PER}unit cell)"
F_INTERP = f"F_interp (kJ{PER}mol{PER}unit cell)"
V_MIN = f"V_min ({ANGSTROM}{CUBED}{PER}unit cell)"
F_MIN = f"F_min (kJ{PER}mol{PER}unit cell)"

# Groups
TRAJECTORY = "trajectory"
TIME_SERIES = "time_series"
MOLECULAR_CRYSTAL = "molecular_crystal"
SUPERCELL = "supercell"
PRIMITIVE = "primitive"
REFERENCE = "reference"
FRAMES = "frames"
FINITE_SUBSYSTEMS = "finite_subsystems"
CLUSTER_OF_MOLECULES = "cluster_of_molecules"
ORIGIN = "origin"
REFERENCE_LABELS = "reference_labels"
MODES = "modes"
STRUCTURES = "structures"
PHONONS = "phonons"
FORCE_CONSTANTS_GROUP = "force_constants"
BRILLOUIN_ZONE_PATH = "brillouin_zone_path"
THERMODYNAMICS_FIXED_VOLUME = "thermodynamics_fixed_volume"
THERMODYNAMICS_EQUILIBRIUM_VOLUME = "thermodynamics_equilibrium_volume"
EOS_SAMPLED = "eos_sampled"
EOS_INTERPOLATED = "eos_interpolated"

# Attributes
DATACLASS = "dataclass"
FEATURE_VECTORS_TYPE = "feature_vectors_type"
N_FRAMES = "n_frames"
N_ATOMS = "n_atoms"
PERIODIC = "periodic"
ENSEMBLE = "ensemble"
TARGET_TEMPERATURE = "target_temperature (K)"
TARGET_PRESSURE = "target_pressure (GPa)"
TIME_EQUILIBRATION = "time_equilibration (fs)"
N_REMOVED_TRANS_DOF = "n_removed_trans_dof"
N_REMOVED_ROT_DOF = "n_removed_rot_dof"
N_MOLECULES = "n_molecules"
N_REPEATED_MOLECULES = "n_repeated_molecules"
ORBIT = "orbit"
MULTIPLICITY = "multiplicity"
IDENTICAL_COMPOSITION = "identical_composition"
CENTRAL_MOLECULE_INDEX = "central_molecule_index"
N_SEGMENTS = "n_segments"
N_BANDS = "n_bands"
N_LEFT_OUT = "n_left_out_modes"
N_TEMPERATURES = "n_temperatures"
N_VOLUMES = "n_volumes"
N_INTERP = "n_interp"
ACOUSTIC_SUM_RULE_VIOLATION = f"acoustic_sum_rule_violation (eV{PER}{ANGSTROM}{SQUARED})"
PERMUTATION_ASYMMETRY = f"permutation_asymmetry (eV{PER}{ANGSTROM}{SQUARED})"
MIN_FREQUENCY_GAMMA = "min_frequency_gamma (THz)"
N_DISPLACEMENTS = "n_displacements"
N_OPERATIONS = "n_operations"
N_OPERATIONS_KEPT = "n_operations_kept"
SUPERPOSED = "superposed"
LEVEL_OF_THEORY = "level_of_theory"
METHOD_HASH = "method_hash"
N_LABELLED = "n_labelled"
STATISTICS = "statistics"
FORCE_CONSTANTS_KEY = "force_constants_key"
SECTION = "section"
SCHEMA_VERSION = "schema_version"
CONTENT_SHA256 = "content_sha256"
ARRAY_SHA256 = "sha256"
"""Attribute of every array: its digest, from which ``content_sha256`` is made."""
UNITS = "units"
"""Attribute of an array: its unit, in ordinary characters (:func:`unit_of`)."""
TITLE = "title"
WRITTEN_BY = "written_by"
FORMAT = "format"
PROVENANCE_PREFIX = "provenance."
"""Attributes that name nodes, processes and versions; they are no part of ``content_sha256``."""

SERIES_COLUMNS: Mapping[str, tuple[str, bool]] = {
    "time_fs": (TIME, False),
    "temperature_K": (TEMPERATURE, False),
    "pressure_GPa": (PRESSURE, False),
    "volume_A3": (VOLUME, True),
    "potential_energy_eV": (E_POT, True),
    "kinetic_energy_eV": (E_KIN, True),
    "conserved_energy_eV": (E_CONSERVED, True),
}
"""Column of a molecular dynamics series -> name in the file, and whether the file has it per atom."""

ORIGIN_COLUMNS: Mapping[str, str] = {
    "time_fs": TIME,
    "frequency_THz": FREQUENCY,
    "temperature_K": TEMPERATURE,
    "amplitude": "amplitude (sigma)",
}
"""Entry of ``Configurations.origin`` -> name in the file; other entries keep their names."""


def unit_of(name: str) -> str | None:
    """Unit in the name of an array, in ordinary characters: ``eV/Å``; None without one."""
    found = re.search(r" \(([^()]+)\)$", name)
    return None if found is None else found[1].replace(ANGSTROM, "\u00c5").replace(PER, "/")


def method_group(level_of_theory: str) -> str:
    """Group of the labels of a method, such as ``PBE-D4∕def2-SVP``: a plain slash separates groups."""
    return level_of_theory.replace("/", PER)


def md_crystal_name(temperature_K: float, pressure_GPa: float | None) -> str:
    """``crystal[dyn:T=298.15,p=0.00010]``; without pressure (NVT) ``crystal[dyn:T=298.15]``."""
    pressure = "" if pressure_GPa is None else f",p={pressure_GPa:.5f}"
    return f"crystal[dyn:T={temperature_K:.2f}{pressure}]"


def frequencies_segment(i: int) -> str:
    """Frequencies along the i-th segment of the band path."""
    return f"frequencies_segment_{i} (THz)"


def distances_segment(i: int) -> str:
    """Path lengths along the i-th segment of the band path."""
    return f"distances_segment_{i}"


def kpoints_segment(i: int) -> str:
    """Reduced q-points along the i-th segment of the band path."""
    return f"kpoints_segment_{i}"


MEMBERS = "members"
"""Group of a campaign's file with the table of its members."""
