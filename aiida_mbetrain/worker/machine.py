"""Versions, host and threads of a stage, recorded alike for jobs and stages in process."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from aiida_mbetrain import __version__
from aiida_mbetrain.settings import JsonObject

PACKAGES = ("torch", "mace-torch", "e3nn", "phonopy", "ase", "numpy")


def describe_machine() -> JsonObject:
    """Versions, host and threads."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "aiida_mbetrain": __version__,
        "python": platform.python_version(),
        "versions": versions,
        "hostname": platform.node(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "scheduler_job": os.environ.get("SLURM_JOB_ID"),
    }
