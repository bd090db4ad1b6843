"""Pictures of dynamics, phonons, thermal expansion, clusters and models, from arrays; nothing here imports aiida.

Every function returns a ``matplotlib.figure.Figure`` and touches no global state of matplotlib.
"""

from aiida_mbetrain.pictures.bands import bands_picture
from aiida_mbetrain.pictures.clusters import clusters_picture
from aiida_mbetrain.pictures.density_of_states import density_of_states_picture
from aiida_mbetrain.pictures.lattice_energy import lattice_energy_picture
from aiida_mbetrain.pictures.learning_curve import learning_curve_picture
from aiida_mbetrain.pictures.md import md_picture
from aiida_mbetrain.pictures.parity import parity_picture
from aiida_mbetrain.pictures.style import save
from aiida_mbetrain.pictures.thermal_expansion import expansion_picture, free_energy_picture

__all__ = [
    "bands_picture",
    "clusters_picture",
    "density_of_states_picture",
    "expansion_picture",
    "free_energy_picture",
    "lattice_energy_picture",
    "learning_curve_picture",
    "md_picture",
    "parity_picture",
    "save",
]
