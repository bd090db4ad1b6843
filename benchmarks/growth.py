"""Time and memory of the stages against atoms, frames and clusters, over a decade, with the fitted exponent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aiida_mbetrain.science.clusters import extract_clusters
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules, unwrap_molecules
from aiida_mbetrain.science.phonons import ForceConstants, sample_phonons
from aiida_mbetrain.science.stages import compute_labels
from aiida_mbetrain.settings import ClassicalMD, FiniteSubsystemFilter
from benchmarks.clock import exponent, grown_memory, seconds
from benchmarks.figure import Figure
from benchmarks.stages import all_modes, clusters_of, export_dataset, thermal_frames

LINEAR = 1.2
"""Exponent up to which a stage counts as linear on a noisy machine."""


def against(stage: str, what: str, sizes: Sequence[int], work: Callable[[int], Callable[[], Any]]) -> Iterator[Figure]:
    """Exponent and memory of ``work(size)``, the call for a size; what precedes the call is not counted."""
    calls = [work(size) for size in sizes]
    times = [seconds(call) for call in calls]
    text = f"exponent in {what}, {sizes[0]:,} to {sizes[-1]:,}"
    yield Figure(stage, text, exponent([float(size) for size in sizes], times), limit=LINEAR)
    memory = [grown_memory(call) for call in calls]
    for size, grown in ((sizes[0], memory[0]), (sizes[-1], memory[-1])):
        if grown is not None:
            yield Figure(stage, f"memory for {size:,} {what}", grown, "MB")


def with_model(potential: Any, name: str, *, small: bool) -> Iterator[Figure]:
    """Labels against clusters, dynamics against atoms and against frames already stored."""
    stage = f"growth, {name}"
    clusters = clusters_of(3, 10 if small else 40)

    def label(n_clusters: int) -> Callable[[], Any]:
        sets = [item.configurations.select(slice(n_clusters // len(clusters))) for item in clusters]
        return lambda: compute_labels(sets, potential)

    yield from against(f"{stage}: labels", "clusters", (8, 24, 80) if small else (32, 96, 320), label)
    cells = {(edge**3) * 22: edge for edge in (1, 2, 3)}
    steps = 5 if small else 20
    yield from against(
        f"{stage}: dynamics, {steps} steps",
        "atoms",
        list(cells),
        lambda n_atoms: lambda: _dynamics(potential, cells[n_atoms], steps, 1.0),
    )
    counts = (10, 30, 100) if small else (50, 150, 500)
    yield from against(
        f"{stage}: dynamics, every step stored",
        "frames",
        counts,
        lambda n_frames: lambda: _dynamics(potential, 1, n_frames, 1.0),
    )


def _dynamics(potential: Any, n_cells: int, n_steps: int, interval_fs: float) -> None:
    settings = ClassicalMD(
        time_total_fs=float(n_steps), time_equilibration_fs=0.0, time_step_fs=1.0, sampling_interval_fs=interval_fs
    )
    supercell = thermal_frames(n_cells, 1, noise=0.0)
    run_molecular_dynamics(supercell, potential, settings, temperature_K=298.15, pressure_GPa=1e-4, features=False)


def without_model(constants: ForceConstants | None, folder: Path, *, small: bool) -> Iterator[Figure]:
    """Molecules, clusters, phonon frames and the file."""
    edges = {(edge**3) * 22: edge for edge in ((2, 4, 5) if small else (2, 4, 8))}
    references = {size: thermal_frames(edge, 1, noise=0.0) for size, edge in edges.items()}
    yield from against(
        "growth: detection", "atoms", list(edges), lambda size: lambda: detect_molecules(references[size])
    )
    counts = (20, 60, 200)
    frames, crystal = thermal_frames(3, counts[-1]), detect_molecules(thermal_frames(3, 1, noise=0.0))
    parts = {count: frames.select(slice(count)) for count in counts}
    yield from against(
        "growth: unwrapping", "frames", counts, lambda count: lambda: unwrap_molecules(crystal, parts[count])
    )
    rule = FiniteSubsystemFilter(broken_molecules="keep")
    yield from against(
        "growth: clusters", "frames", counts, lambda count: lambda: extract_clusters(crystal, parts[count], rule)
    )
    if constants is not None:
        counts = (40, 120, 400) if small else (100, 300, 1000)
        yield from against(
            "growth: phonons", "frames", counts, lambda count: lambda: sample_phonons(constants, all_modes(count))
        )
    counts = (400, 1200, 4000) if small else (1000, 3000, 10000)
    yield from against("growth: export", "clusters", counts, lambda count: export_dataset(folder, count // 8)[0])
