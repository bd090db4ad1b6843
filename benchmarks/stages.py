"""One function per stage: what is timed, against what, and the figure to reach."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch

from aiida_mbetrain.demo import crystal
from aiida_mbetrain.science.clusters import ClusterSet, extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import (
    choose_supercell,
    choose_supercell_for_phonons,
    count_displacements,
    make_supercell,
)
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules, unwrap_molecules
from aiida_mbetrain.science.phonons import ForceConstants, calculate_force_constants, plan_displacements, sample_phonons
from aiida_mbetrain.science.stages import compute_labels
from aiida_mbetrain.settings import ClassicalMD, FiniteSubsystemFilter, FreeEnergy, PhononFilter, PhononSampling
from benchmarks import clock
from benchmarks.clock import Timed, grown_memory, seconds, timed
from benchmarks.crystals import CRYSTALS, urea
from benchmarks.figure import Figure
from benchmarks.models import Potentials

TIME_STEP_FS = 0.5
"""The default."""

RULES: dict[str, dict[str, Any]] = {
    "closest_to_center_of_mass": {},
    "closest_to_central_molecule": {},
    "closest_contact_to_central_molecule": {},
    "max_min_distance_to_central_molecule": {"distances": [3.0, 5.0]},
    "max_max_distance_to_central_molecule": {"distances": [9.0, 11.0]},
}


def thermal_frames(n_cells: int, n_frames: int, noise: float = 0.05) -> Configurations:
    """Frames of an n x n x n supercell of the demo crystal with random displacements (Å)."""
    cell = Configurations.from_atoms(crystal())
    supercell = make_supercell(cell, n_cells * np.eye(3, dtype=int))
    positions = np.repeat(supercell.positions, n_frames, axis=0)
    positions = positions + np.random.default_rng(0).normal(scale=noise, size=positions.shape)
    return supercell.with_(positions=positions, cells=np.repeat(supercell.cells, n_frames, axis=0))


def clusters_of(n_cells: int, n_frames: int, rule: FiniteSubsystemFilter | None = None) -> list[ClusterSet]:
    """The clusters of thermal frames."""
    frames = thermal_frames(n_cells, n_frames)
    reference = thermal_frames(n_cells, 1, noise=0.0)
    return extract_clusters(detect_molecules(reference), frames, rule or FiniteSubsystemFilter(broken_molecules="keep"))


def both(call: Callable[[Any], Any], potentials: Potentials) -> tuple[Timed, Timed]:
    """A stage with the default kernels, and with those of MACE."""
    return timed(call, potentials.default), timed(call, potentials.e3nn)


def of_passes(stage: str, what: str, ours: Timed, mace: Timed, limit: float) -> Iterator[Figure]:
    """Time of a stage against the passes of the model that it made, and against those passes as MACE makes them."""
    yield Figure(stage, f"total / floor, {what}", ours.total / ours.passes, limit=limit)
    yield Figure(stage, "total / the same passes with MACE's own kernels", ours.total / mace.passes)


def labels(potentials: Potentials, scratch: Path, n_frames: int) -> Iterator[Figure]:
    """Energy, forces and features of clusters of 1 to 8 molecules, against the model and against ASE's calculator."""
    sets = [item.configurations for item in clusters_of(3, n_frames)]
    some = min(n_frames, 4)
    few = [part.select(slice(some)) for part in sets]
    stage = f"labels, {potentials.name}"
    for potential in (potentials.default, potentials.e3nn):
        compute_labels([part.select([0]) for part in sets], potential)
    total = seconds(lambda: compute_labels(few, potentials.default))
    path = scratch / "clusters.xyz"
    ase.io.write(path, [atoms for part in few for atoms in part.to_atoms()])
    ratio = _one_by_one(potentials, path) / total
    yield Figure(stage, "speed against one at a time with MACECalculator", ratio, "x", 3.0, at_least=True)
    times = both(lambda potential: compute_labels(sets, potential), potentials)
    yield from of_passes(stage, f"{8 * n_frames} clusters", *times, limit=1.15)


def _one_by_one(potentials: Potentials, configurations: Path) -> float:
    """Seconds of a plain script with MACECalculator, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.one_by_one", str(potentials.path), str(configurations)]
    command += [potentials.device, str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu, elapsed = next(line for line in done.stdout.splitlines() if line.startswith("SECONDS")).split()[1:]
    return float(elapsed if clock.is_wall_time() else cpu)


def kernels(potentials: Potentials, n_frames: int) -> Iterator[Figure]:
    """One pass over the crystal, and over clusters, with each of the kernels that are installed."""
    crystals = [thermal_frames(2, n_frames)]
    clusters = [item.configurations for item in clusters_of(3, n_frames)]
    names = ["e3nn", "fused"] + ["cueq"] * (find_spec("cuequivariance_torch") is not None)
    stage, times, forces = f"kernels, {potentials.name}", {}, {}
    for name in names:
        potential = potentials.with_kernels(name)
        for what, sets in (("crystals", crystals), ("clusters", clusters)):
            forces[name, what] = compute_labels(sets, potential)[0].forces
            times[name, what] = seconds(lambda: compute_labels(sets, potential))  # noqa: B023
    for name in names[1:]:
        for what in ("crystals", "clusters"):
            yield Figure(stage, f"{name} against e3nn, {what}", times["e3nn", what] / times[name, what], "x")
        change = max(
            float(np.abs(forces[name, what] - forces["e3nn", what]).max()) for what in ("crystals", "clusters")
        )
        yield Figure(stage, f"{name}: largest change of a force", change, "eV/Å")
    atoms = n_frames * crystals[0].n_atoms
    yield Figure(
        stage,
        f"a pass over crystals of {crystals[0].n_atoms} atoms",
        1e6 * times["fused", "crystals"] / atoms,
        "µs/atom",
    )


def precision(potentials: Potentials, n_frames: int) -> Iterator[Figure]:
    """Speed and errors of float32 relative to float64."""
    sets = [item.configurations for item in clusters_of(3, n_frames)]
    found, times = [], []
    for potential in (potentials.default, potentials.single):
        compute_labels([part.select([0]) for part in sets], potential)
        times.append(seconds(lambda: found.append(compute_labels(sets, potential)), repeat=1))  # noqa: B023
    stage = f"float32, {potentials.name}"
    yield Figure(stage, "labels: speed against float64", times[0] / times[1], "x")
    pairs = list(zip(*found, strict=True))
    force = max(float(np.abs(one.forces - other.forces).max()) for one, other in pairs)
    energy = max(float(np.abs(one.energies - other.energies).max() / one.n_atoms) for one, other in pairs)
    yield Figure(stage, "largest change of a force", 1000 * force, "meV/Å")
    yield Figure(stage, "largest change of an energy", 1000 * energy, "meV/atom")


def force_constants(potentials: Potentials, n_cells: int) -> tuple[ForceConstants, list[Figure]]:
    """All displacements of the demo crystal against the model's passes."""
    cell = Configurations.from_atoms(crystal())
    matrix = (n_cells * np.eye(3, dtype=int)).tolist()
    settings = FreeEnergy(thermal_expansion=False, supercell_matrix=matrix)
    plan = plan_displacements(cell, settings)
    found: list[ForceConstants] = []
    times = both(lambda potential: found.append(calculate_force_constants(cell, potential, settings)), potentials)
    what = f"{plan.n_displacements} displacements of {plan.frames.n_atoms} atoms"
    return found[0], list(of_passes(f"force constants, {potentials.name}", what, *times, limit=1.15))


def molecular_dynamics(potentials: Potentials, n_steps: int) -> Iterator[Figure]:
    """One NPT step against one model evaluation; two frames are stored."""
    supercell = make_supercell(Configurations.from_atoms(crystal()), np.diag((2, 2, 3)))
    settings = ClassicalMD(
        ensemble="NPT",
        time_total_fs=n_steps * TIME_STEP_FS,
        time_equilibration_fs=0.0,
        time_step_fs=TIME_STEP_FS,
        sampling_interval_fs=n_steps // 2 * TIME_STEP_FS,
    )

    def run(potential: Any) -> None:
        run_molecular_dynamics(supercell, potential, settings, temperature_K=298.15, pressure_GPa=1e-4, features=True)

    stage = f"molecular dynamics, {potentials.name}"
    ours, mace = both(run, potentials)
    yield from of_passes(stage, f"NPT steps of {supercell.n_atoms} atoms", ours, mace, limit=1.10)
    yield Figure(stage, "time of a step", 1e3 * ours.total / n_steps, "ms")
    yield Figure(stage, "model evaluations per step", (ours.n_passes - 1) / n_steps, limit=1.0)


def molecules(n_frames: int) -> Iterator[Figure]:
    """Detection, unwrapping and the five rules, at about 512 atoms."""
    frames, reference = thermal_frames(3, n_frames), thermal_frames(3, 1, noise=0.0)
    share = frames.n_atoms * n_frames / (512 * 200)
    crystal_ = detect_molecules(reference)
    found = seconds(lambda: unwrap_molecules(detect_molecules(reference), frames))
    yield Figure("molecules", "detection and unwrapping, 512 atoms x 200 frames", found / share, "s CPU", 0.3)
    for rule, options in RULES.items():
        chosen = FiniteSubsystemFilter(selection_rule=rule, broken_molecules="keep", **options)
        spent = seconds(lambda: extract_clusters(crystal_, frames, chosen))  # noqa: B023
        yield Figure("clusters", f"{rule}, 512 atoms x 200 frames", spent / share, "s CPU", 0.3)


def supercells(radius: float) -> Iterator[Figure]:
    """The search for supercells, and what the choice for phonons saves."""
    for name, cell in CRYSTALS.items():
        atoms = Configurations.from_atoms(cell())
        assert atoms.cells is not None
        spent = seconds(lambda: choose_supercell(atoms.cells[0], radius), repeat=1)  # noqa: B023
        yield Figure("supercells", f"{name}: smallest at {radius:g} Å", spent, "s CPU", 1.0)
        spent = seconds(lambda: choose_supercell_for_phonons(atoms, radius), repeat=1)  # noqa: B023
        yield Figure("supercells", f"{name}: cheapest for phonons at {radius:g} Å", spent, "s CPU", 1.0)
        chosen = choose_supercell_for_phonons(atoms, radius)
        diagonal = choose_supercell_for_phonons(atoms, radius, diagonal=True)
        ratio = _displaced_atoms(atoms, chosen) / _displaced_atoms(atoms, diagonal)
        yield Figure("supercells", f"{name}: displacements x atoms / the best diagonal cell's", ratio, limit=1.0)
    atoms = Configurations.from_atoms(urea())
    found = _displaced_atoms(atoms, choose_supercell_for_phonons(atoms, 20.0))
    yield Figure("supercells", "urea: displacements x atoms at 20 Å", found, limit=20480)


def _displaced_atoms(cell: Configurations, matrix: Any) -> float:
    return count_displacements(cell, matrix) * cell.n_atoms * float(np.linalg.det(matrix))


def all_modes(n_frames: int) -> PhononSampling:
    """Every mode that fits the supercell, superposed."""
    return PhononSampling(
        n_frames=n_frames,
        modes="all",
        amplitude_scan="thermal",
        phonon_filter=PhononFilter(k_point_mesh="commensurate", freq_max_THz=None),
    )


def phonon_frames(constants: ForceConstants, n_frames: int) -> Iterator[Figure]:
    """Displaced frames, per 1024 atoms and 200 frames."""
    share = constants.supercell.n_atoms * n_frames / (1024 * 200)
    spent = seconds(lambda: sample_phonons(constants, all_modes(n_frames)))
    yield Figure("phonon sampling", "1024 atoms x 200 frames, all modes", spent / share, "s CPU", 1.0)


def export(folder: Path, n_frames: int) -> Iterator[Figure]:
    """The HDF5 file of many clusters."""
    write, n_clusters, raw_bytes = export_dataset(folder, n_frames)
    yield Figure("export", "10,000 clusters", seconds(write, repeat=1) * 10000 / n_clusters, "s CPU", 3.0)
    grown = grown_memory(write)
    if grown is not None:
        yield Figure("export", f"memory for {n_clusters:,} clusters", grown, "MB", 300.0)
    yield Figure("export", "file size / raw arrays", (folder / "dataset.hdf5").stat().st_size / raw_bytes, limit=1.1)


def export_dataset(folder: Path, n_frames: int) -> tuple[Callable[[], Any], int, int]:
    """The call that writes frames with clusters of 1 to 8 molecules, the number of clusters, bytes of the arrays."""
    from aiida_mbetrain.datasets.hdf5 import write_dataset
    from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules
    from aiida_mbetrain.science.tables import Table

    frames = thermal_frames(2, n_frames)
    zeros, times = np.zeros(n_frames), np.arange(1.0, n_frames + 1)
    frames = frames.with_(
        energies=zeros, forces=frames.positions, velocities=frames.positions, origin={"time_fs": times}
    )
    sets = clusters_of(2, n_frames)
    series = Table({name: times for name in ("time_fs", "temperature_K", "kinetic_energy_eV", "pressure_GPa")})
    section = MDSection(
        root_key="training/md_sampling", ensemble="NPT", temperature_K=300.0, pressure_GPa=1e-4,
        time_equilibration_fs=0.0, trajectory=frames, series=series,
        molecules=Molecules(detect_molecules(thermal_frames(2, 1, noise=0.0)), frames, tuple(sets)),
    )  # fmt: skip
    raw_bytes = sum(item.configurations.positions.nbytes for item in sets) + 3 * frames.positions.nbytes
    path = folder / "dataset.hdf5"
    return lambda: write_dataset(path, Dataset((section,))), len(sets) * n_frames, raw_bytes
