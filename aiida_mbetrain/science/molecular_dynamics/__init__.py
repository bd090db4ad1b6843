"""Molecular dynamics with classical nuclei.

Integrators are ASE's, with the degrees of freedom corrected.  A run records frames and a thermodynamic series, stops
itself where it becomes unstable, and continues bit for bit from a saved state.
"""

from aiida_mbetrain.science.molecular_dynamics.restart_state import Checkpoint
from aiida_mbetrain.science.molecular_dynamics.run import MDRun, run_molecular_dynamics

__all__ = ["Checkpoint", "MDRun", "run_molecular_dynamics"]
