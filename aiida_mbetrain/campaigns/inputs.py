"""Inputs of the stage WorkChains of a campaign."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mbetrain.campaigns.plan import DYNAMICS, PHONONS, QUASI_HARMONIC
from aiida_mbetrain.campaigns.replicas import TOGETHER
from aiida_mbetrain.settings import JsonObject
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain
from aiida_mbetrain.workflows.phonon_sampling import PhononSamplingWorkChain
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
from aiida_mbetrain.workflows.replica_sampling import ReplicaSamplingWorkChain

WORKCHAINS: dict[str, Any] = {
    QUASI_HARMONIC: QuasiHarmonicWorkChain,
    PHONONS: PhononSamplingWorkChain,
    DYNAMICS: MDSamplingWorkChain,
    TOGETHER: ReplicaSamplingWorkChain,
}


def stage_inputs(
    kind: str, settings: JsonObject, inference: orm.Dict, options: JsonObject, code: object, *, label_jobs: int = 1
) -> dict[str, Any]:
    """Inputs of a stage WorkChain but for the model and the structure or force constants.

    label_jobs: that share the labels, of a stage that labels.
    """
    inputs: dict[str, object] = {"settings": orm.Dict(settings), "inference": inference}
    if code is not None:
        inputs["code"] = code
        for heavy in WORKCHAINS[kind].heavy_stages:
            inputs[heavy] = {"metadata": {"options": dict(options)}} if options else {}
        if label_jobs > 1 and "labels" in WORKCHAINS[kind].heavy_stages:
            inputs["n_jobs"] = orm.Int(label_jobs)
    return {name: value for name, value in inputs.items() if value != {}}
