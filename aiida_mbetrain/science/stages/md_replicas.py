"""Replicas of one crystal as a stage: one job, one checkpoint, and the outcome of every replica by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from aiida_mbetrain.errors import UnstableDynamics
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.molecular_dynamics import FREE_TO_CHANGE, MDRun, ReplicaState, Schedule, run_replicas
from aiida_mbetrain.science.stages.checkpoint_file import CheckpointFile, Progress
from aiida_mbetrain.science.stages.feature_storage import stores_features
from aiida_mbetrain.science.stages.job import Job
from aiida_mbetrain.settings import MDReplicas

FINISHED = "finished"


def md_replicas(job: Job) -> dict[str, object]:
    """supercell -> ``replicas.NAME.trajectory``, ``replicas.NAME.thermodynamics``, and the outcomes of all.

    outcomes: status and message by name; the status of a replica that became unstable is that of UnstableDynamics,
    which is raised when all have ended, with the outputs of all.
    """
    settings = MDReplicas(**job.settings)
    dynamics = settings.sampling.md_crystal
    checkpoint = CheckpointFile(job, "md_replicas", _decisive(settings))

    def before_step(states: Callable[[], dict[str, ReplicaState]]) -> None:
        checkpoint.offer(lambda: _progress(states()))
        checkpoint.stop_if_asked()

    supercell = job.inputs["supercell"]
    # of one replica, so that the features of a training set do not depend on which others share its job
    n_atoms = Schedule.from_settings(dynamics).n_frames * supercell.n_atoms
    ended = run_replicas(
        supercell,
        job.potential,
        dynamics,
        settings.replicas,
        features=job.inference.features == "all" and stores_features(job, n_atoms),
        features_dtype=job.inference.features_dtype,
        start=None if checkpoint.found is None else _found(checkpoint.found),
        before_step=before_step,
        report=job.report,
        observe=job.observe,
    )
    return _results(ended)


def _results(ended: dict[str, MDRun | UnstableDynamics]) -> dict[str, object]:
    outcomes: dict[str, object] = {}
    outputs: dict[str, object] = {"outcomes": outcomes}
    for name, run in ended.items():
        if isinstance(run, UnstableDynamics):
            outcomes[name], made = {"status": run.status, "message": run.message}, run.results
        else:
            outcomes[name], made = {"status": FINISHED, "message": ""}, run.outputs()
        outputs |= {f"replicas.{name}.{output}": value for output, value in made.items()}
    failed = {name: run for name, run in ended.items() if isinstance(run, UnstableDynamics)}
    if failed:
        name, first = next(iter(failed.items()))
        error = UnstableDynamics(f"{len(failed)} of {len(ended)} replicas became unstable; {name}: {first.message}")
        error.results = outputs
        raise error
    return outputs


def _decisive(settings: MDReplicas) -> dict[str, object]:
    """Settings that decide the numbers."""
    dynamics = settings.sampling.md_crystal
    free = (*FREE_TO_CHANGE, "rng_seed")
    no_pressure = {"pressure_GPa": None} if dynamics.ensemble == "NVT" else {}
    return {
        "md_crystal": {name: value for name, value in dynamics.to_dict().items() if name not in free},
        "replicas": {name: replica.to_dict() | no_pressure for name, replica in settings.replicas.items()},
    }


def _progress(states: dict[str, ReplicaState]) -> Progress:
    """Rows and arrays of all replicas, under their names."""
    recorded = {name: {} if state.restart is None else state.restart.recorded for name, state in states.items()}
    return Progress(
        {f"{name}.{key}": rows for name, values in recorded.items() for key, rows in values.items()},
        {f"{name}.{key}": array for name, state in states.items() for key, array in state.to_arrays().items()},
    )


def _found(progress: Progress) -> dict[str, ReplicaState]:
    """The inverse of ``_progress``."""
    rows, arrays = defaultdict[str, dict[str, AnyArray]](dict), defaultdict[str, dict[str, AnyArray]](dict)
    for groups, values in ((rows, progress.rows), (arrays, progress.state)):
        for key, value in values.items():
            name, _, rest = key.partition(".")
            groups[name][rest] = np.asarray(value)
    return {name: ReplicaState.from_arrays(arrays[name], rows[name]) for name in arrays}
