"""Heavy stages by name.  A new stage is one function and one entry in ``STAGES``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecular_dynamics import FREE_TO_CHANGE, RestartState, Schedule, run_molecular_dynamics
from aiida_mbetrain.science.phonons import calculate_force_constants
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.relaxation import isolated_molecule as compute_molecule
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.evaluation_log import RecordedPotential
from aiida_mbetrain.science.stages.feature_storage import stores_features
from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.science.stages.labels_in_batches import label_in_pieces, plan_pieces
from aiida_mbetrain.science.stages.labels_in_parts import rows_of_part
from aiida_mbetrain.science.stages.md_replicas import md_replicas
from aiida_mbetrain.science.stages.reference_labels import reference_labels
from aiida_mbetrain.science.stages.training import training
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import FreeEnergy, MDSampling

ATOMS_PER_PIECE = {"cpu": 2048, "cuda": 32768}
"""Atoms that force constants and labels evaluate between two offers of progress, by device: seconds of work."""


def relaxation(job: Job) -> dict[str, object]:
    """structure -> relaxed (one frame with energy, forces, stress) and facts about the way there."""
    settings = FreeEnergy(**job.settings)
    potential = RecordedPotential(job.potential, CheckpointFile(job, "relaxation", settings.to_dict()))
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


def isolated_molecule(job: Job) -> dict[str, object]:
    """structure (finite) -> relaxed, vibrations (frequencies), and facts about the molecule."""
    settings = FreeEnergy(**job.settings)
    potential = RecordedPotential(job.potential, CheckpointFile(job, "isolated_molecule", settings.to_dict()))
    found = compute_molecule(job.inputs["structure"], potential, settings, report=job.report)
    vibrations = Table({"frequency_THz": found.frequencies_THz})
    return {"relaxed": found.structure, "vibrations": vibrations, "summary": found.facts()}


def molecular_dynamics(job: Job) -> dict[str, Configurations | Table]:
    """supercell -> trajectory (stored frames) and thermodynamics (series from t = 0).

    The error of an unstable run carries the same outputs, as far as they got.
    """
    settings = MDSampling(**job.settings)
    dynamics = settings.md_crystal
    decisive = {
        "temperature_K": settings.temperature_K,
        "pressure_GPa": settings.pressure_GPa if dynamics.ensemble == "NPT" else None,
        "md_crystal": {name: value for name, value in dynamics.to_dict().items() if name not in FREE_TO_CHANGE},
    }
    checkpoint = CheckpointFile(job, "molecular_dynamics", decisive)

    def before_step(restart_state: Callable[[], RestartState]) -> None:
        def progress() -> Progress:
            state = restart_state()
            return Progress(state.recorded, state.to_arrays())

        checkpoint.offer(progress)
        checkpoint.stop_if_asked()

    found, supercell = checkpoint.found, job.inputs["supercell"]
    n_atoms = Schedule.from_settings(dynamics).n_frames * supercell.n_atoms
    return run_molecular_dynamics(
        supercell,
        job.potential,
        dynamics,
        temperature_K=settings.temperature_K,
        pressure_GPa=settings.pressure_GPa,
        features=job.inference.features == "all" and stores_features(job, n_atoms),
        features_dtype=job.inference.features_dtype,
        start=None if found is None else RestartState.from_arrays(found.state, found.rows),
        before_step=before_step,
        report=job.report,
        observe=job.observe,
    ).outputs()


def force_constants(job: Job) -> dict[str, object]:
    """structure -> force_constants."""
    settings = FreeEnergy(**job.settings)
    checkpoint = CheckpointFile(job, "force_constants", settings.to_dict())

    def on_batch(forces: FloatArray) -> None:
        checkpoint.offer(lambda: Progress({"forces": forces}))
        checkpoint.stop_if_asked()

    constants = calculate_force_constants(
        job.inputs["structure"],
        job.potential,
        settings,
        done=None if checkpoint.found is None else np.asarray(checkpoint.found.rows["forces"]),
        atoms_per_batch=_atoms_per_piece(job.potential),
        on_batch=on_batch,
        report=job.report,
    )
    return {"force_constants": constants}


def labels(job: Job) -> dict[str, object]:
    """Frames and cluster sets under any names -> the same, labelled; with the setting ``part``, some frames of some.

    part: number of the part, from 1, and how many there are, see :mod:`.labels_in_parts`.
    """
    # periodic frames first: they may get features where clusters do not, and pieces do not mix the two
    names = sorted(job.inputs, key=lambda name: isinstance(job.inputs[name], ClusterSet))
    values = [job.inputs[name] for name in names]
    sets, features = [_configurations(value) for value in values], _wants_features(values, job)
    atoms_per_piece = _atoms_per_piece(job.potential)
    rows = {index: slice(None) for index in range(len(sets))}
    if "part" in job.settings:
        number, n_parts = cast("tuple[int, int]", job.settings["part"])
        rows = rows_of_part(list(plan_pieces(sets, features, atoms_per_piece)), number, n_parts)
    labelled = label_in_pieces(
        [sets[index].select(frames) for index, frames in rows.items()],
        job.potential,
        CheckpointFile(job, "labels", job.settings),
        features=[features[index] for index in rows],
        features_dtype=job.inference.features_dtype,
        atoms_per_piece=atoms_per_piece,
        report=job.report,
    )
    return {
        names[index]: replace(values[index], configurations=new) if isinstance(values[index], ClusterSet) else new
        for index, new in zip(rows, labelled, strict=True)
    }


def _configurations(value: Configurations | ClusterSet) -> Configurations:
    return value.configurations if isinstance(value, ClusterSet) else value


def _wants_features(values: Sequence[Configurations | ClusterSet], job: Job) -> list[bool]:
    """Selection of the sets that get feature vectors, by the settings of the inference."""
    wanted = {"all": (Configurations, ClusterSet), "clusters": (ClusterSet,), "none": ()}[job.inference.features]
    chosen = [_configurations(value) for value in values if isinstance(value, wanted)]
    stored = stores_features(job, sum(part.n_frames * part.n_atoms for part in chosen))
    return [stored and isinstance(value, wanted) for value in values]


def _atoms_per_piece(potential: Potential) -> int:
    return ATOMS_PER_PIECE[str(potential.describe().get("device", "cpu"))]


STAGES: dict[str, Callable[[Job], Mapping[str, object]]] = {
    "relaxation": relaxation,
    "isolated_molecule": isolated_molecule,
    "molecular_dynamics": molecular_dynamics,
    "md_replicas": md_replicas,
    "force_constants": force_constants,
    "labels": labels,
    "reference_labels": reference_labels,
    "training": training,
}
"""Name of a stage -> the function that does its work."""
