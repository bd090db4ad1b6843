"""CIF files of a few sites in a cubic cell without symmetry."""

from __future__ import annotations

from pathlib import Path

HEADER = """data_example
_cell_length_a 5.3
_cell_length_b 5.3
_cell_length_c 5.3
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


def write_cif(path: Path, *sites: str, occupancies: bool = True) -> Path:
    """A file whose sites are lines such as ``Ar1 Ar 0 0 0 1.0``."""
    path.write_text(HEADER + "_atom_site_occupancy\n" * occupancies + "\n".join(sites) + "\n")
    return path
