"""Feature vectors that a stage stores: none above the size that the settings allow."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.science.stages.job import Job


def stores_features(job: Job, n_atoms: int) -> bool:
    """Return True if the features of this many atoms, of all frames together, are stored; warn if they are too large.

    n_atoms: of the frames that get features by ``Inference.features``.
    """
    limit_GB = job.inference.max_features_GB
    size_GB = n_atoms * job.potential.feature_length * np.dtype(job.inference.features_dtype).itemsize / 1e9
    if limit_GB is not None and size_GB > limit_GB:
        job.warn(
            f"Feature vectors were left out: those of {n_atoms:,} atoms take {size_GB:.3g} GB, more than "
            f"Inference.max_features_GB = {limit_GB:g}. Set it to None to store them all the same."
        )
        return False
    return size_GB > 0
