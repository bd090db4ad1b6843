"""Heavy stages by name: the work of a compute job and of an in-process calcfunction.

A stage takes science objects and settings and gives science objects back.  Each can be interrupted and continued from
its checkpoint file.  The cost of every stage is estimated before anything expensive starts.
"""

from aiida_mbetrain.science.stages.cost_estimate import (
    SupercellPrice,
    estimate_all,
    estimate_force_constants,
    estimate_md,
    estimate_phonons,
    expected_modes,
    price_supercells,
)
from aiida_mbetrain.science.stages.fingerprint import FREE_INFERENCE
from aiida_mbetrain.science.stages.job import Job, Walltime
from aiida_mbetrain.science.stages.labels import compute_labels
from aiida_mbetrain.science.stages.labels_in_parts import join_parts
from aiida_mbetrain.science.stages.memory_use import Growth, measured
from aiida_mbetrain.science.stages.potential_probe import Probe, probe_potential
from aiida_mbetrain.science.stages.stage_estimate import StageEstimate
from aiida_mbetrain.science.stages.table import STAGES

__all__ = [
    "FREE_INFERENCE",
    "STAGES",
    "Growth",
    "Job",
    "Probe",
    "StageEstimate",
    "SupercellPrice",
    "Walltime",
    "compute_labels",
    "estimate_all",
    "estimate_force_constants",
    "estimate_md",
    "estimate_phonons",
    "expected_modes",
    "join_parts",
    "measured",
    "price_supercells",
    "probe_potential",
]
