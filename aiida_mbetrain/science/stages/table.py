"""Heavy stages by name.  A new stage is one function and one entry in ``STAGES``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecular_dynamics import Checkpoint, MDRun, run_molecular_dynamics
from aiida_mbetrain.science.phonons import calculate_force_constants
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import ShouldStop
from aiida_mbetrain.science.reference_labels import FragmentLabels, backend_of, label_fragments
from aiida_mbetrain.science.relaxation import isolated_molecule as compute_molecule
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.stages.checkpoint_file import Interval, Savings, stopped
from aiida_mbetrain.science.stages.evaluation_log import ReplayedPotential
from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.science.stages.labels_in_batches import label_in_pieces
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import FreeEnergy, Inference, MDSampling, ReferenceLabels

ATOMS_PER_PIECE = {"cpu": 2048, "cuda": 32768}
"""What force constants and labels evaluate between two savings, on each device: seconds of work."""


FRAGMENT_INTERVAL_s = 5.0
"""Least time between two savings of reference labels: a kill loses one long calculation, or some short ones."""

DEFAULT_MEMORY_MB = 4000.0


def relaxation(job: Job) -> dict[str, Any]:
    """structure -> relaxed (one frame with energy, forces, stress) and facts about the way there."""
    potential = ReplayedPotential(job.potential, Savings(job, "relaxation"))
    settings = FreeEnergy(**job.settings)
    result = relax(job.inputs["structure"], potential, settings, pressure_GPa=settings.pressure_GPa, report=job.report)
    facts = {
        "label": result.crystal_name,
        "algorithm": result.algorithm,
        "n_steps": int(result.n_steps),
        "max_force": float(result.max_force),
        "max_stress": float(result.max_stress),
        "space_group_input": result.space_group_input,
        "space_group": result.space_group,
    }
    return {"relaxed": result.structure, "summary": facts}


def isolated_molecule(job: Job) -> dict[str, Any]:
    """structure (finite) -> relaxed, vibrations (frequencies), and facts about the molecule."""
    potential = ReplayedPotential(job.potential, Savings(job, "isolated_molecule"))
    found = compute_molecule(job.inputs["structure"], potential, FreeEnergy(**job.settings), report=job.report)
    vibrations = Table({"frequency_THz": found.frequencies_THz})
    return {"relaxed": found.structure, "vibrations": vibrations, "summary": found.facts()}


def molecular_dynamics(job: Job) -> dict[str, Any]:
    """supercell -> trajectory (stored frames) and thermodynamics (series from t = 0)."""
    settings = MDSampling(**job.settings)

    def piece(start: Checkpoint | None, should_stop: ShouldStop) -> MDRun:
        return run_molecular_dynamics(
            job.inputs["supercell"],
            job.potential,
            settings.md_crystal,
            temperature_K=settings.temperature_K,
            pressure_GPa=settings.pressure_GPa,
            features=job.inference.features == "all",
            checkpoint=start,
            report=job.report,
            observe=job.observe,
            should_stop=should_stop,
        )

    run = _md_in_pieces(job, piece)
    return {"trajectory": run.frames, "thermodynamics": Table(run.series)}


def _md_in_pieces(job: Job, piece: Callable[[Checkpoint | None, ShouldStop], MDRun]) -> MDRun:
    """Run pieces that last one checkpoint interval each, and save between them."""
    path = job.checkpoint
    start = Checkpoint.load(path) if path is not None and path.exists() else None
    while True:
        interval = Interval(job.checkpoint_interval_s)
        run = piece(start, lambda: job.should_stop() or (path is not None and interval.over()))  # noqa: B023
        start = run.checkpoint
        if start is None:
            return run
        if path is not None:
            start.save(path)
        if job.should_stop():
            raise stopped()


def force_constants(job: Job) -> dict[str, Any]:
    """structure -> force_constants."""
    savings = Savings(job, "force_constants")

    def on_batch(forces: FloatArray) -> None:
        savings.offer(lambda: {"forces": forces})
        savings.stop_if_asked()

    constants = calculate_force_constants(
        job.inputs["structure"],
        job.potential,
        FreeEnergy(**job.settings),
        done=savings.found.get("forces"),
        atoms_per_batch=_atoms_per_piece(job.potential),
        on_batch=on_batch,
        report=job.report,
    )
    return {"force_constants": constants}


def labels(job: Job) -> dict[str, Any]:
    """Frames and cluster sets under any names -> the same, labelled."""
    # periodic frames first: they may get features where clusters do not, and pieces do not mix the two
    names = sorted(job.inputs, key=lambda name: isinstance(job.inputs[name], ClusterSet))
    values = [job.inputs[name] for name in names]
    labelled = label_in_pieces(
        [value.configurations if isinstance(value, ClusterSet) else value for value in values],
        job.potential,
        Savings(job, "labels"),
        features=_wants_features(values, job.inference),
        atoms_per_piece=_atoms_per_piece(job.potential),
        report=job.report,
    )
    return {
        name: replace(value, configurations=new) if isinstance(value, ClusterSet) else new
        for name, value, new in zip(names, values, labelled, strict=True)
    }


def _wants_features(values: Sequence[Any], inference: Inference) -> list[bool]:
    """Selection of the sets that get feature vectors, by ``Inference.features``."""
    wanted = {"all": (Configurations, ClusterSet), "clusters": (ClusterSet,), "none": ()}[inference.features]
    return [isinstance(value, wanted) for value in values]


def _atoms_per_piece(potential: Potential) -> int:
    return ATOMS_PER_PIECE[str(potential.describe().get("device", "cpu"))]


def reference_labels(job: Job) -> dict[str, Any]:
    """fragments -> labels by quantum chemistry, and the number of calculations that failed.

    Threads and memory are the job's: OMP_NUM_THREADS, as for all programs, and MBETRAIN_MEMORY_MB.
    """
    settings = ReferenceLabels(**job.settings)
    backend = backend_of(
        settings.method,
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
        memory_MB=float(os.environ.get("MBETRAIN_MEMORY_MB", DEFAULT_MEMORY_MB)),
    )
    interval = min(job.checkpoint_interval_s, FRAGMENT_INTERVAL_s)
    savings = Savings(replace(job, checkpoint_interval_s=interval), "reference_labels")
    fragments, method = job.inputs["fragments"], settings.method.hash
    done = FragmentLabels.from_arrays(savings.found) if savings.found else FragmentLabels.empty(fragments, method)
    savings.offer(done.to_arrays)  # starts the clock: the first fragment may take hours

    def on_fragment(labels: FragmentLabels) -> None:
        savings.offer(labels.to_arrays)
        if np.count_nonzero(labels.labelled) + len(labels.failures) < len(fragments):
            savings.stop_if_asked()

    labels = label_fragments(fragments, backend, method, done=done, on_fragment=on_fragment, report=job.report)
    facts = {"n_fragments": len(fragments), "n_failed": len(labels.failures), "programs": list(labels.programs)}
    return {"labels": labels, "summary": facts}


STAGES: dict[str, Callable[[Job], dict[str, Any]]] = {
    "relaxation": relaxation,
    "isolated_molecule": isolated_molecule,
    "molecular_dynamics": molecular_dynamics,
    "force_constants": force_constants,
    "labels": labels,
    "reference_labels": reference_labels,
}
"""Name of a stage -> the function that does its work."""
