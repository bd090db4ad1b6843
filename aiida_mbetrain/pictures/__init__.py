"""Pictures of what a run did, from arrays: molecular dynamics, phonon bands, clusters.  Nothing here imports aiida.

Every function returns a ``matplotlib.figure.Figure`` and touches no global state of matplotlib.
"""

from aiida_mbetrain.pictures.bands import bands_picture
from aiida_mbetrain.pictures.clusters import clusters_picture
from aiida_mbetrain.pictures.md import md_picture
from aiida_mbetrain.pictures.style import save

__all__ = ["bands_picture", "clusters_picture", "md_picture", "save"]
