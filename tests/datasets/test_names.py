"""The names of the file, code point for code point."""

from __future__ import annotations

import unicodedata

import pytest

from aiida_mbetrain.datasets import names

EXPECTED = {
    "POSITIONS": "positions (\N{ANGSTROM SIGN})",
    "VELOCITIES": "velocities (\N{ANGSTROM SIGN}\N{DIVISION SLASH}fs)",
    "FORCES": "forces (eV\N{DIVISION SLASH}\N{ANGSTROM SIGN})",
    "CELL_VECTORS": "cell_vectors (\N{ANGSTROM SIGN})",
    "VOLUME": "V (\N{ANGSTROM SIGN}\N{SUPERSCRIPT THREE}\N{DIVISION SLASH}atom)",
    "E_KIN": "E_kin (eV\N{DIVISION SLASH}atom)",
    "E_POT": "E_pot (eV\N{DIVISION SLASH}atom)",
    "E_TRANS_DRIFT": "E_trans_drift (eV\N{DIVISION SLASH}atom)",
    "CENTERS_OF_MASS": "centers_of_mass (\N{ANGSTROM SIGN})",
    "MIN_DISTANCES": "min_distances_to_central_molecule (\N{ANGSTROM SIGN})",
    "MAX_DISTANCES": "max_distances_to_central_molecule (\N{ANGSTROM SIGN})",
    "FORCE_CONSTANTS": "force_constants (eV\N{DIVISION SLASH}\N{ANGSTROM SIGN}\N{SUPERSCRIPT TWO})",
    "F_VIB_CRYSTAL": "F_vib_crystal (kJ\N{DIVISION SLASH}mol\N{DIVISION SLASH}unit cell)",
    "S_VIB_CRYSTAL": "S_vib_crystal (J\N{DIVISION SLASH}K\N{DIVISION SLASH}mol\N{DIVISION SLASH}unit cell)",
    "C_V_VIB_CRYSTAL": "C_V_vib_crystal (J\N{DIVISION SLASH}K\N{DIVISION SLASH}mol\N{DIVISION SLASH}unit cell)",
    "V_CRYSTAL": "V_crystal (\N{ANGSTROM SIGN}\N{SUPERSCRIPT THREE}\N{DIVISION SLASH}unit cell)",
    "RHO_CRYSTAL": "\N{GREEK SMALL LETTER RHO}_crystal (g\N{DIVISION SLASH}cm\N{SUPERSCRIPT THREE})",
    "V_SAMPLED": "V_sampled (\N{ANGSTROM SIGN}\N{SUPERSCRIPT THREE}\N{DIVISION SLASH}unit cell)",
    "F_MIN": "F_min (kJ\N{DIVISION SLASH}mol\N{DIVISION SLASH}unit cell)",
    "MASSES": "masses (u)",
    "DYNAMICAL_MASSES": "dynamical_masses (u)",
    "TIME": "time (fs)",
    "PRESSURE": "p (GPa)",
    "TARGET_TEMPERATURE": "target_temperature (K)",
    "TARGET_PRESSURE": "target_pressure (GPa)",
    "TIME_EQUILIBRATION": "time_equilibration (fs)",
}
ALLOWED = {0x212B, 0x2215, 0x00B2, 0x00B3, 0x03C1, 0x00B7, 0x221A}


def all_names() -> dict[str, str]:
    return {key: value for key, value in vars(names).items() if key.isupper() and isinstance(value, str)}


@pytest.mark.parametrize("constant", sorted(EXPECTED))
def test_names_have_the_code_points_that_other_programs_look_up(constant: str) -> None:
    assert [hex(ord(c)) for c in getattr(names, constant)] == [hex(ord(c)) for c in EXPECTED[constant]]


def test_no_name_holds_any_other_character_beyond_ascii() -> None:
    strange = {ord(c) for value in all_names().values() for c in value if ord(c) > 127}
    assert strange == ALLOWED


def test_no_name_is_a_path() -> None:
    assert [value for value in all_names().values() if "/" in value] == []


def test_names_would_not_survive_normalisation() -> None:
    """Why the names are spelled by escapes: NFC replaces the ångström sign."""
    assert unicodedata.normalize("NFC", names.POSITIONS) != names.POSITIONS


def test_labels_have_the_documented_number_of_decimals() -> None:
    assert names.md_crystal_name(298.15, 1e-4) == "crystal[dyn:T=298.15,p=0.00010]"
    assert names.md_crystal_name(300, None) == "crystal[dyn:T=300.00]"


def test_force_constants_lie_where_the_settings_default_says() -> None:
    from aiida_mbetrain.settings import PhononSampling

    groups = ("training/quasi_harmonic", names.PHONONS, "crystal[opt:atoms,shape]", names.FORCE_CONSTANTS_GROUP)
    assert "/".join(groups) == PhononSampling().force_constants_key
