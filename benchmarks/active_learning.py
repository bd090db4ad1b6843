"""Labels that uncertainty saves: held-out error against number and cost of labels, beside random choice, five seeds.

``python -m benchmarks.active_learning [--frames N] [--pool FILE] [--picture FILE] [--json FILE]``: the demo crystal at 298.15 K,
molecules to trimers of N frames, GFN2-xTB beside the demo model, and the ridge model on the features of the latter.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mbetrain.demo import ROOM_TEMPERATURE, crystal, model_path
from aiida_mbetrain.science.active_learning import FeatureUncertainty, choose_greedily
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import make_supercell
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.science.reference_labels import backend_of, expand, label_fragments
from aiida_mbetrain.science.stages import compute_labels
from aiida_mbetrain.science.training import (
    TEST,
    TRAIN,
    VALID,
    LabelledClusters,
    LabelledFrames,
    fit_ridge,
    fit_shifts,
    frames_of_clusters,
    shifted_targets,
)
from aiida_mbetrain.settings import ClassicalMD, FiniteSubsystemFilter, Inference, ReferenceLabels

SUPERCELL = [[1, -1, 1], [2, 1, 0], [1, 2, 2]]
"""Of the demo: nine molecules."""
SIZES = (1, 2, 3)
INTERVAL_FS = 20.0
EQUILIBRATION_FS = 500.0
METHODS = ("random", "uncertainty", "variance_reduction")
FIRST, STEP, LAST = 16, 8, 160
"""Labels of the first round, of each further one, and of all together."""
COST_EXPONENT = 3.0
SEEDS = range(5)


def pool(n_frames: int) -> LabelledFrames:
    """Clusters of a trajectory of the demo crystal with both labels; a frame is a unit."""
    potential = load_mace(model_path(), Inference(device="cpu"))
    supercell = make_supercell(Configurations.from_atoms(crystal(ROOM_TEMPERATURE)), np.array(SUPERCELL))
    times = {"time_equilibration_fs": EQUILIBRATION_FS, "time_total_fs": EQUILIBRATION_FS + n_frames * INTERVAL_FS}
    settings = ClassicalMD(time_step_fs=1.0, sampling_interval_fs=INTERVAL_FS, thermostat_time_fs=50.0, **times)
    run = run_molecular_dynamics(supercell, potential, settings, temperature_K=298.15)
    molecules = detect_molecules(supercell)
    clusters = extract_clusters(molecules, run.frames, FiniteSubsystemFilter(n_molecules=list(SIZES)))
    labelled = compute_labels([item.configurations for item in clusters], potential)
    sets = {
        item.cluster.key: replace(item, configurations=found) for item, found in zip(clusters, labelled, strict=True)
    }
    reference = ReferenceLabels()
    expansion = expand(sets, dict.fromkeys(sets, molecules), reference)
    labels = label_fragments(expansion.fragments, backend_of(reference.method), reference.method.hash)
    parts = []
    for name, item in sets.items():
        composed = expansion.clusters[name].compose(labels)
        frames = item.configurations.with_(energies=composed.energies, forces=composed.forces)
        rows = np.arange(len(frames))
        uids = np.array([f"{name}_{row}" for row in rows])
        unknown = np.full(len(frames), np.nan)
        parts.append(LabelledClusters(item, molecules, frames, unknown, 0 * rows, rows, uids, "md", name))
    facts = {"level_of_theory": reference.name, "method_hash": reference.method.hash, "baseline": "demo"}
    return frames_of_clusters(parts, **facts)


def held_out(frames: LabelledFrames, seed: int) -> LabelledFrames:
    """Two tenths of the trajectory for the test, one for the calibration, in blocks with a frame left out between."""
    n_units = int(frames.units.max()) + 1
    blocks = np.random.default_rng([seed, 1]).permutation(10)
    block = frames.units * 10 // n_units
    subsets = np.select([np.isin(block, blocks[:2]), block == blocks[2]], [TEST, VALID], TRAIN)
    at_seam = np.isin(
        frames.units, [unit for unit in range(1, n_units) if unit * 10 // n_units != (unit - 1) * 10 // n_units]
    )
    return replace(frames, subsets=subsets).select(~at_seam | (subsets != TRAIN))


def error_per_molecule(frames: LabelledFrames, chosen: Any) -> tuple[float, float, FeatureUncertainty]:
    """RMSE of the test set, meV per molecule, ratio of error and calibrated uncertainty there, and the uncertainty."""
    used = np.concatenate([chosen, np.flatnonzero(frames.subsets != TRAIN)])
    part = frames.select(used)
    shifts = fit_shifts(part)
    targets = shifted_targets(part, shifts)
    ridge = fit_ridge(part, targets)
    uncertainty = FeatureUncertainty.of_labelled(part.features[part.subsets == TRAIN], ridge.strength)
    errors = targets - ridge.predict(part.features)
    valid, test = part.subsets == VALID, part.subsets == TEST
    uncertainty = uncertainty.calibrated(part.features[valid], errors[valid])
    rmse = float(np.sqrt(np.mean((errors[test] / part.n_molecules[test]) ** 2)))
    ratio = float(np.sqrt(np.mean(errors[test] ** 2 / uncertainty.variances(part.features[test]))))
    return 1000 * rmse, ratio, uncertainty


def curve(frames: LabelledFrames, method: str, seed: int, *, by_cost: bool) -> Iterator[dict[str, float]]:
    """Error after every round; the first round is chosen at random, the same for every method."""
    rng = np.random.default_rng([seed, 2])
    candidates = np.flatnonzero(frames.subsets == TRAIN)
    sizes = frames.n_molecules.astype(np.float64)
    costs = sizes**COST_EXPONENT
    chosen = rng.choice(candidates, FIRST, replace=False)
    while True:
        error, ratio, uncertainty = error_per_molecule(frames, chosen)
        yield {"labels": len(chosen), "cost": float(costs[chosen].sum()), "error": error, "ratio": ratio}
        left = np.setdiff1d(candidates, chosen)
        if len(chosen) >= LAST or not len(left):
            return
        picked = choose_greedily(
            uncertainty.vectors(frames.features[left]),
            costs[left] if by_cost else np.ones(len(left)),
            frames.n_molecules[left],
            STEP,
            criterion=method,  # type: ignore[arg-type]
            rng=rng,
        )
        chosen = np.concatenate([chosen, left[picked.rows]])


def main() -> None:
    """Compute, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--pool", type=Path, help="keep the labelled clusters here")
    arguments = parser.parse_args()
    if arguments.pool and arguments.pool.exists():
        frames = LabelledFrames.from_arrays(np.load(arguments.pool))
    else:
        frames = pool(arguments.frames)
        if arguments.pool:
            np.savez(arguments.pool, **frames.to_arrays())


if __name__ == "__main__":
    main()
