"""Force constants, normal modes and displacements sampled along them.

Force constants come from phonopy's finite displacements in one supercell.  Normal modes at commensurate q points, in a
gauge that no LAPACK decides, give frames displaced with thermal amplitudes, phonon bands and the density of states.
"""

from aiida_mbetrain.science.phonons.bands import BandStructure, band_structure
from aiida_mbetrain.science.phonons.density_of_states import SMEARING_THZ, DensityOfStates, density_of_states
from aiida_mbetrain.science.phonons.force_constants import (
    DisplacementPlan,
    ForceConstants,
    calculate_force_constants,
    plan_displacements,
)
from aiida_mbetrain.science.phonons.irreducible_mesh import irreducible_mesh
from aiida_mbetrain.science.phonons.phonopy_cells import primitive_cell
from aiida_mbetrain.science.phonons.q_points import mesh_from_length, q_points
from aiida_mbetrain.science.phonons.thermal_displacements import PhononFrames, sample_phonons

__all__ = [
    "SMEARING_THZ",
    "BandStructure",
    "DensityOfStates",
    "DisplacementPlan",
    "ForceConstants",
    "PhononFrames",
    "band_structure",
    "calculate_force_constants",
    "density_of_states",
    "irreducible_mesh",
    "mesh_from_length",
    "plan_displacements",
    "primitive_cell",
    "q_points",
    "sample_phonons",
]
