"""Labels that uncertainty saves: held-out error against number and cost of labels, beside random choice, five seeds.

``python -m benchmarks.active_learning [--frames N] [--pool FILE] [--picture FILE]``: the demo crystal at 298.15 K,
molecules to trimers of N frames, GFN2-xTB beside the demo model, and the ridge model on the features of the latter.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from aiida_mbetrain.demo import ROOM_TEMPERATURE, crystal, model_path
from aiida_mbetrain.science.active_learning import FeatureUncertainty, choose_greedily
from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
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
from aiida_mbetrain.settings import ClassicalMD, Criterion, FiniteSubsystemFilter, Inference, ReferenceLabels

SUPERCELL = [[1, -1, 1], [2, 1, 0], [1, 2, 2]]
"""Of the demo: nine molecules."""
SIZES = (1, 2, 3)
INTERVAL_FS = 20.0
EQUILIBRATION_FS = 500.0
CRITERIA: dict[str, tuple[Criterion, bool]] = {
    "random": ("random", False),
    "random per cost": ("random", True),
    "uncertainty": ("uncertainty", False),
    "uncertainty per cost": ("uncertainty", True),
    "variance reduction": ("variance_reduction", False),
    "variance reduction per cost": ("variance_reduction", True),
}
"""Name -> criterion, and whether it is divided by the cost."""
DRAWN = ("random", "random per cost", "uncertainty per cost", "variance reduction per cost")
FIRST, STEP, LAST = 16, 16, 176
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


def error_per_molecule(frames: LabelledFrames, chosen: IntArray) -> tuple[float, float, FeatureUncertainty]:
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


def curve(frames: LabelledFrames, criterion: Criterion, seed: int, *, by_cost: bool) -> Iterator[dict[str, float]]:
    """Error after every round; the first round is chosen at random, the same for every criterion."""
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
        if criterion == "random" and by_cost:  # by chance, in inverse proportion to the cost
            shares = 1.0 / costs[left]
            added = rng.choice(left, min(STEP, len(left)), replace=False, p=shares / shares.sum())
        else:
            picked = choose_greedily(
                uncertainty.vectors(frames.features[left]),
                costs[left] if by_cost else np.ones(len(left)),
                frames.n_molecules[left],
                STEP,
                criterion=criterion,
                rng=rng,
            )
            added = left[picked.rows]
        chosen = np.concatenate([chosen, added])


def curves(frames: LabelledFrames) -> dict[str, FloatArray]:
    """Labels, cost, error and ratio of error and uncertainty, by criterion: (seeds, rounds, 4)."""
    found = {}
    for label, (criterion, by_cost) in CRITERIA.items():
        rows = [list(curve(held_out(frames, seed), criterion, seed, by_cost=by_cost)) for seed in SEEDS]
        found[label] = np.array([[list(row.values()) for row in one] for one in rows])
    return found


def table_of(found: Mapping[str, FloatArray]) -> str:
    """Markdown: mean and standard error of the mean over the seeds, with the mean cost, by number of labels."""
    lines = [f"| labels | {' | '.join(found)} |", "| --- " * (1 + len(found)) + "|"]
    for number, row in enumerate(next(iter(found.values()))[0]):
        cells = []
        for values in found.values():
            errors = values[:, number, 2]
            mean, scatter = errors.mean(), errors.std(ddof=1) / np.sqrt(len(errors))
            cells.append(f"{mean:.1f} ± {scatter:.1f} ({values[:, number, 1].mean():.0f})")
        lines.append(f"| {row[0]:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def needed(found: Mapping[str, FloatArray], target: float) -> str:
    """Labels and cost at which the mean error stays at or below a target."""
    parts = []
    for label, values in found.items():
        mean = values.mean(axis=0)
        above = np.flatnonzero(mean[:, 2] > target)
        first = 0 if not len(above) else int(above[-1]) + 1
        reached = first < len(mean)
        parts.append(f"{label} {mean[first, 0]:.0f} labels, cost {mean[first, 1]:.0f}" if reached else f"{label} never")
    return f"{target:g} meV per molecule: " + "; ".join(parts)


def draw(found: Mapping[str, FloatArray], path: Path) -> None:
    """Error against labels, and against cost."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    matplotlib.rcParams |= {"svg.hashsalt": "active_learning", "svg.fonttype": "none"}
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
    for label, values in found.items():
        mean = values.mean(axis=0)
        scatter = values[:, :, 2].std(axis=0, ddof=1) / np.sqrt(len(values))
        for axis, column in zip(axes, (0, 1), strict=True):
            axis.errorbar(mean[:, column], mean[:, 2], scatter, marker="o", markersize=3, capsize=2, label=label)
    axes[0].set(xlabel="labels", ylabel="RMSE of the test set, meV per molecule")
    axes[1].set(xlabel="cost of the labels (one molecule: 1)", xscale="log")
    axes[1].xaxis.set_minor_locator(ticker.NullLocator())
    axes[1].set_xticks([200, 500, 1000, 2000], ["200", "500", "1000", "2000"])
    axes[1].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Compute, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150, help="of the trajectory (default 150)")
    parser.add_argument("--pool", type=Path, help="npz file that keeps the labelled clusters for another time")
    parser.add_argument("--picture", type=Path, help="draw the curves here")
    arguments = parser.parse_args()
    if arguments.pool and arguments.pool.exists():
        frames = LabelledFrames.from_arrays(np.load(arguments.pool))
    else:
        frames = pool(arguments.frames)
        if arguments.pool:
            np.savez(arguments.pool, **frames.to_arrays())
    found = curves(frames)
    print(table_of(found))
    for target in (8.0, 7.0, 6.5):
        print(needed(found, target))
    for label, values in found.items():
        print(f"{label}: error of the test set over calibrated uncertainty {values[:, :, 3].mean():.2f}")
    if arguments.picture:
        draw({label: found[label] for label in DRAWN}, arguments.picture)


if __name__ == "__main__":
    main()
