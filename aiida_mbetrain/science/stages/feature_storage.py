"""Feature vectors that a stage stores: none above the size that the settings allow."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.settings import Inference


def exceeds_limit(n_bytes: int, inference: Inference) -> bool:
    """Return True for feature vectors of more than ``max_features_GB``."""
    return inference.max_features_GB is not None and n_bytes > 1e9 * inference.max_features_GB


def stores_features(job: Job, n_atoms: int) -> bool:
    """Return True if the features of this many atoms, of all frames together, are stored; warn if they are too large.

    n_atoms: of the frames that get features by ``Inference.features``.
    """
    n_bytes = n_atoms * job.potential.feature_length * np.dtype(job.inference.features_dtype).itemsize
    if exceeds_limit(n_bytes, job.inference):
        job.warn(
            f"Feature vectors were left out: those of {n_atoms:,} atoms take {n_bytes / 1e9:.3g} GB, more than "
            f"Inference.max_features_GB = {job.inference.max_features_GB:g}. Set it to None to store them all the same."
        )
        return False
    return n_bytes > 0
