"""Phonon density of states of force constants on a q-point mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.phonons.force_constants import ForceConstants

SMEARING_THZ = 0.15
"""Of pictures: narrow bands stay apart, and no peak is a line without width."""


@dataclass(frozen=True, eq=False)
class DensityOfStates:
    """States per THz and primitive cell of N atoms; their integral is 3 N.

    frequencies_THz: (n,), negative where imaginary.  densities: (n,), 1/THz.
    smearing_THz: standard deviation of the Gaussians that broaden the states, 0 without.
    """

    frequencies_THz: FloatArray
    densities: FloatArray
    smearing_THz: float = 0.0

    @property
    def lowest_THz(self) -> float:
        """Lowest frequency with states; 0 where none below it is more than the foot of a Gaussian at 0."""
        low = float(self.frequencies_THz[self.densities > 1e-3 * self.densities.max()].min())
        return low if low < -3.0 * self.smearing_THz else 0.0


def density_of_states(
    force_constants: ForceConstants,
    mesh: float | Sequence[int] | str = 150.0,
    *,
    n_points: int = 801,
    smearing_THz: float | None = None,
) -> DensityOfStates:
    """Density of states by phonopy on a Γ-centred mesh, as in the thermodynamics.

    mesh: three divisions, a length (Å), or "gamma".
    smearing_THz: standard deviation of Gaussians; None is the linear tetrahedron method, which shows the narrow bands
        of a molecular crystal as they are and takes ten times as long.
    """
    phonon: Any = force_constants.shared_phonopy
    # The tetrahedra of a partly reduced mesh are not phonopy's: where operations are lost, none reduces it.
    phonon.run_mesh(
        [1, 1, 1] if mesh == "gamma" else mesh,
        is_gamma_center=True,
        is_mesh_symmetry=bool(force_constants.kept_operations.all()),
    )
    low, high = float(np.min(phonon.mesh.frequencies)), float(np.max(phonon.mesh.frequencies))
    margin = 0.02 * (high - low) + 1e-3 + 3.0 * (smearing_THz or 0.0)
    start, end = min(low, 0.0) - margin, high + margin
    pitch = (end - start) / (n_points - 1)
    phonon.run_total_dos(
        sigma=smearing_THz,
        freq_min=start,
        freq_max=end,
        freq_pitch=pitch,
        use_tetrahedron_method=smearing_THz is None,
    )
    points, densities = np.array(phonon.total_dos.frequency_points), np.array(phonon.total_dos.dos)
    return DensityOfStates(points, densities, smearing_THz or 0.0)
