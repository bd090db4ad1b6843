"""Digest of everything that decides the numbers of a job: a checkpoint continues only the job that it belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from aiida_mbetrain.science.stages.job import Job

FREE_INFERENCE = ("device", "kernels", "batch_atoms", "tune_malloc")
"""Inference settings that may change between the pieces of a job: they choose the machine and its memory."""

FREE_OF_POTENTIAL = ("device", "device_name", "kernels")
"""Facts about a potential that may change, beside the versions of packages."""


def fingerprint(job: Job, stage: str, settings: Mapping[str, object]) -> str:
    """sha256 of stage, settings, inference, potential and inputs.

    settings: those of the stage that decide its numbers, as plain data, defaults included.
    The potential counts with all that its ``describe()`` says, such as name, parameters, model file, head and dtype,
    apart from the machine and the versions of packages.
    """
    record = {
        "stage": stage,
        "settings": dict(settings),
        "inference": {name: value for name, value in job.inference.to_dict().items() if name not in FREE_INFERENCE},
        "potential": {
            name: value
            for name, value in job.potential.describe().items()
            if name not in FREE_OF_POTENTIAL and not name.endswith("_version")
        },
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for name, value in sorted(job.inputs.items()):
        facts = value.attributes() if hasattr(value, "attributes") else {}
        digest.update(json.dumps([name, facts], sort_keys=True).encode())
        for key, array in sorted(value.to_arrays().items()):
            values = np.ascontiguousarray(array)
            # type and shape delimit the bytes: the same bytes in another shape are another array
            digest.update(json.dumps([key, values.dtype.str, values.shape]).encode())
            digest.update(values.data if values.size else b"")
    return digest.hexdigest()
