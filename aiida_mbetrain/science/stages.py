"""The heavy stages by name: what a compute job and an in-process calcfunction both run.

A stage takes science objects and settings and gives science objects back.  Adding a stage is one function and
one entry in ``STAGES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.force_constants import calculate_force_constants
from aiida_mbetrain.science.labels import compute_labels
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, ShouldStop, never, silent
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import FreeEnergy, Inference, MDSampling


@dataclass(frozen=True)
class Job:
    """What a stage works on.

    inputs: science objects by port name.  settings: the stage's own settings as plain data.
    """

    inputs: Mapping[str, Any]
    potential: Potential
    settings: Mapping[str, Any] = field(default_factory=dict)
    inference: Inference = field(default_factory=Inference)
    report: Report = silent
    should_stop: ShouldStop = never


def relaxation(job: Job) -> dict[str, Any]:
    """structure -> relaxed (one frame with energy, forces, stress) and facts about the way there."""
    result = relax(job.inputs["structure"], job.potential, FreeEnergy(**job.settings), report=job.report)
    facts = {
        "label": result.label,
        "algorithm": result.algorithm,
        "n_steps": int(result.n_steps),
        "max_force": float(result.max_force),
        "max_stress": float(result.max_stress),
        "space_group_input": result.space_group_input,
        "space_group": result.space_group,
    }
    return {"relaxed": result.structure, "summary": facts}


def molecular_dynamics(job: Job) -> dict[str, Any]:
    """supercell -> trajectory (stored frames) and thermodynamics (series from t = 0)."""
    settings = MDSampling(**job.settings)
    run = run_molecular_dynamics(
        job.inputs["supercell"],
        job.potential,
        settings.md_crystal,
        temperature_K=settings.temperature_K,
        pressure_GPa=settings.pressure_GPa,
        features=job.inference.features == "all",
        report=job.report,
        should_stop=job.should_stop,
    )
    return {"trajectory": run.frames, "thermodynamics": Table(run.series)}


def force_constants(job: Job) -> dict[str, Any]:
    """structure -> force_constants."""
    settings = FreeEnergy(**job.settings)
    return {
        "force_constants": calculate_force_constants(
            job.inputs["structure"], job.potential, settings, report=job.report
        )
    }


def labels(job: Job) -> dict[str, Any]:
    """Frames and cluster sets under any names -> the same, labelled."""
    periodic = {name: value for name, value in job.inputs.items() if isinstance(value, Configurations)}
    finite = {name: value for name, value in job.inputs.items() if isinstance(value, ClusterSet)}
    want = job.inference.features
    total = sum(v.n_frames * v.n_atoms for v in periodic.values())
    total += sum(v.configurations.n_frames * v.configurations.n_atoms for v in finite.values())
    offset = 0

    def report(done: int, _: int) -> None:
        job.report(offset + done, total)

    frames = compute_labels(list(periodic.values()), job.potential, features=want == "all", report=report)
    offset = sum(v.n_frames * v.n_atoms for v in periodic.values())
    clusters = compute_labels(
        [value.configurations for value in finite.values()],
        job.potential,
        features=want != "none",
        report=report,
    )
    labelled = [replace(value, configurations=new) for value, new in zip(finite.values(), clusters, strict=True)]
    return dict(zip(periodic, frames, strict=True)) | dict(zip(finite, labelled, strict=True))


STAGES: dict[str, Callable[[Job], dict[str, Any]]] = {
    "relaxation": relaxation,
    "molecular_dynamics": molecular_dynamics,
    "force_constants": force_constants,
    "labels": labels,
}
