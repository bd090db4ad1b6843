"""Stability limits at which a molecular dynamics run stops itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.errors import UnstableDynamics
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.settings import ClassicalMD

REMEDY = (
    "reduce time_step_fs, start from the relaxed crystal (relax_first in the settings of the sampling, "
    "`aiida-mbetrain run --relax-first`), or check the model on such configurations"
)


@dataclass
class StabilityGuard:
    """Compares every step with the windows of the settings.

    Forces and the energy are checked at every evaluation, before an integrator uses them, and the volume after
    every step.  The temperature is checked once ``thermostat_time_fs`` has passed: a structure far from its
    minimum, or exactly at it, starts far from equipartition, and the thermostat gets one relaxation time to
    mend that; an explosion in this time is caught by its forces.

    temperature_K: the target.  volume_A3: volume at t = 0; None for finite systems.
    step: the step that is being made; the owner keeps it up to date.
    """

    settings: ClassicalMD
    temperature_K: float
    volume_A3: float | None
    step: int = 0

    def check_evaluation(self, energy: float, forces: FloatArray) -> None:
        """Raise UnstableDynamics for a force above max_force, and for numbers that are not finite.

        energy: eV; forces: (N, 3), eV/Å.
        """
        squares = np.einsum("ia,ia->i", forces, forces)
        largest = float(np.sqrt(squares.max()))
        if not largest <= self.settings.max_force:
            atom = int(np.argmax(squares))
            self._stop(f"the force on atom {atom} is {largest:.4g} eV/Å, max_force = {self.settings.max_force:g} eV/Å")
        if not np.isfinite(energy):
            self._stop(f"the energy is {energy} eV")

    def check_state(self, temperature_K: float, volume_A3: float | None) -> None:
        """Raise UnstableDynamics when the instantaneous temperature or the volume has left its window."""
        settle = self.step * self.settings.time_step_fs <= self.settings.thermostat_time_fs
        if not (settle and np.isfinite(temperature_K)):
            self._check_ratio("temperature", temperature_K, self.temperature_K, "K")
        if volume_A3 is not None and self.volume_A3 is not None:
            self._check_ratio("volume", volume_A3, self.volume_A3, "Å³")

    def _check_ratio(self, quantity: str, value: float, reference: float, unit: str) -> None:
        low, high = getattr(self.settings, f"{quantity}_window")
        if not low <= value / reference <= high:
            self._stop(
                f"the {quantity} is {value:.5g} {unit}, {value / reference:.3g} times {reference:.5g} {unit}, "
                f"outside {quantity}_window = ({low:g}, {high:g})"
            )

    def _stop(self, what: str) -> None:
        time_fs = self.step * self.settings.time_step_fs
        raise UnstableDynamics(f"Molecular dynamics stopped at step {self.step} ({time_fs:g} fs): {what}; {REMEDY}.")
