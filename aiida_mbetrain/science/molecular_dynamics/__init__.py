"""Molecular dynamics with classical nuclei.

Integrators are ASE's, with the degrees of freedom corrected.  A run records frames and a thermodynamic series, stops
itself where it becomes unstable, and continues bit for bit from the restart state of any step.  Several runs of one
crystal can be made together, their evaluations as one batch.
"""

from aiida_mbetrain.science.molecular_dynamics.masses import dynamical_masses
from aiida_mbetrain.science.molecular_dynamics.replicas import ReplicaState, run_replicas
from aiida_mbetrain.science.molecular_dynamics.restart_state import FREE_TO_CHANGE, RestartState
from aiida_mbetrain.science.molecular_dynamics.run import MDRun, run_molecular_dynamics
from aiida_mbetrain.science.molecular_dynamics.trajectory import Schedule

__all__ = [
    "FREE_TO_CHANGE",
    "MDRun",
    "ReplicaState",
    "RestartState",
    "Schedule",
    "dynamical_masses",
    "run_molecular_dynamics",
    "run_replicas",
]
