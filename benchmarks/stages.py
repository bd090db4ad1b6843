"""One function per stage: what is timed, against what, and the figure to reach."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mbetrain.demo import crystal
from aiida_mbetrain.science.clusters import ClusterSet, extract_clusters
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.force_constants import ForceConstants, calculate_force_constants, plan_displacements
from aiida_mbetrain.science.labels import compute_labels
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules, unwrap_molecules
from aiida_mbetrain.science.phonon_sampling import sample_phonons
from aiida_mbetrain.science.supercells import (
    choose_supercell,
    choose_supercell_for_phonons,
    count_displacements,
    make_supercell,
)
from aiida_mbetrain.settings import ClassicalMD, FiniteSubsystemFilter, FreeEnergy, PhononFilter, PhononSampling
from benchmarks.clock import cpu_seconds, exponent, floor_of

RULES: dict[str, dict[str, Any]] = {
    "closest_to_center_of_mass": {},
    "closest_to_central_molecule": {},
    "closest_contact_to_central_molecule": {},
    "max_min_distance_to_central_molecule": {"distances": [3.0, 5.0]},
    "max_max_distance_to_central_molecule": {"distances": [9.0, 11.0]},
}


@dataclass(frozen=True)
class Figure:
    """One measured figure.  limit: to stay at or below (or, with ``at_least``, to reach); None: for information."""

    stage: str
    what: str
    value: float
    unit: str = ""
    limit: float | None = None
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """None where there is nothing to reach."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


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


def labels(potential: Any, name: str, n_frames: int) -> Iterator[Figure]:
    """Energy, forces and features of clusters of 1 to 8 molecules, against the model and against ASE's calculator."""
    sets = [item.configurations for item in clusters_of(3, n_frames)]
    compute_labels([part.select([0]) for part in sets[:1]], potential)
    with floor_of(potential) as floor:
        total = cpu_seconds(lambda: compute_labels(sets, potential), repeat=1)
    yield Figure(f"labels, {name}", f"total / floor, {8 * n_frames} clusters", total / floor.seconds, limit=1.15)
    one_by_one = cpu_seconds(lambda: _one_by_one(potential, sets, 1), repeat=1) * n_frames
    yield Figure(
        f"labels, {name}", "speed against one at a time, three calls each", one_by_one / total, "x", 3.0, at_least=True
    )


def _one_by_one(potential: Any, sets: list[Configurations], n_frames: int) -> None:
    """What a script with MACECalculator does: energy, forces, descriptors of one configuration after another."""
    from mace.calculators import MACECalculator

    calculator = MACECalculator(models=[potential._model], device="cpu", default_dtype="float64")
    for part in sets:
        for atoms in part.select(slice(n_frames)).to_atoms():
            plain = Atoms(atoms.numbers, atoms.positions)
            plain.calc = calculator
            plain.get_potential_energy()
            plain.get_forces()
            calculator.get_descriptors(plain)


def force_constants(potential: Any, name: str, n_cells: int) -> tuple[ForceConstants, list[Figure]]:
    """All displacements of the demo crystal against the model's passes."""
    cell = Configurations.from_atoms(crystal())
    matrix = (n_cells * np.eye(3, dtype=int)).tolist()
    settings = FreeEnergy(thermal_expansion=False, supercell_matrix=matrix)
    with floor_of(potential) as floor:
        result: list[ForceConstants] = []
        total = cpu_seconds(lambda: result.append(calculate_force_constants(cell, potential, settings)), repeat=1)
    plan = plan_displacements(cell, settings)
    return result[0], [
        Figure(f"force constants, {name}", "total / floor", total / floor.seconds, limit=1.15),
        Figure(f"force constants, {name}", "displacements", plan.n_displacements),
    ]


def molecular_dynamics(potential: Any, name: str, n_cells: int, n_steps: int) -> Iterator[Figure]:
    """One NPT step against one model evaluation, early and late in a run."""
    supercell = thermal_frames(n_cells, 1, noise=0.0)
    settings = ClassicalMD(
        ensemble="NPT",
        time_total_fs=float(n_steps),
        time_equilibration_fs=0.0,
        time_step_fs=1.0,
        sampling_interval_fs=10.0,
    )

    def run() -> None:
        run_molecular_dynamics(supercell, potential, settings, temperature_K=298.15, pressure_GPa=1e-4, features=True)

    with floor_of(potential) as floor:
        total = cpu_seconds(run, repeat=1)
    what = f"step / model evaluation, {supercell.n_atoms} atoms"
    yield Figure(f"molecular dynamics, {name}", what, total / floor.seconds, limit=1.10)
    yield Figure(f"molecular dynamics, {name}", "model evaluations per step", (floor.calls - 1) / n_steps, limit=1.0)


def molecules(n_frames: int) -> Iterator[Figure]:
    """Detection, unwrapping and the five rules, at about 512 atoms, and their growth with atoms and frames."""
    frames, reference = thermal_frames(3, n_frames), thermal_frames(3, 1, noise=0.0)
    share = frames.n_atoms * n_frames / (512 * 200)
    crystal_ = detect_molecules(reference)
    found = cpu_seconds(lambda: unwrap_molecules(detect_molecules(reference), frames))
    yield Figure("molecules", "detection and unwrapping, 512 atoms x 200 frames", found / share, "s CPU", 0.3)
    for rule, options in RULES.items():
        chosen = FiniteSubsystemFilter(selection_rule=rule, broken_molecules="keep", **options)
        spent = cpu_seconds(lambda: extract_clusters(crystal_, frames, chosen))  # noqa: B023
        yield Figure("clusters", f"{rule}, 512 atoms x 200 frames", spent / share, "s CPU", 0.3)
    references = [thermal_frames(n, 1, noise=0.0) for n in (2, 4, 7)]
    times = [cpu_seconds(lambda: detect_molecules(reference)) for reference in references]  # noqa: B023
    atoms = [float(reference.n_atoms) for reference in references]
    yield Figure("molecules", "exponent of detection in atoms", exponent(atoms, times), limit=1.2)
    counts = [n_frames // 10, n_frames // 3, n_frames]
    times = [cpu_seconds(lambda: unwrap_molecules(crystal_, frames.select(slice(n)))) for n in counts]  # noqa: B023
    yield Figure(
        "molecules", "exponent of unwrapping in frames", exponent([float(n) for n in counts], times), limit=1.2
    )


def supercells(radius: float) -> Iterator[Figure]:
    """The search for supercells, and what the choice for phonons saves."""
    cell = Configurations.from_atoms(crystal())
    assert cell.cells is not None
    spent = cpu_seconds(lambda: choose_supercell(cell.cells[0], radius), repeat=1)
    yield Figure("supercells", f"smallest at {radius:g} Å", spent, "s CPU", 1.0)
    spent = cpu_seconds(lambda: choose_supercell_for_phonons(cell, radius), repeat=1)
    yield Figure("supercells", f"cheapest for phonons at {radius:g} Å", spent, "s CPU", 1.0)
    chosen = choose_supercell_for_phonons(cell, radius)
    diagonal = choose_supercell_for_phonons(cell, radius, diagonal=True)
    ratio = _displaced_atoms(cell, chosen) / _displaced_atoms(cell, diagonal)
    yield Figure("supercells", "displacements x atoms against the best diagonal cell", ratio, limit=1.0)


def _displaced_atoms(cell: Configurations, matrix: Any) -> float:
    return count_displacements(cell, matrix) * cell.n_atoms * float(np.linalg.det(matrix))


def phonon_frames(constants: ForceConstants, n_frames: int) -> Iterator[Figure]:
    """Displaced frames, per 1024 atoms and 200 frames."""
    settings = PhononSampling(
        n_frames=n_frames,
        modes="all",
        amplitude_scan="thermal",
        phonon_filter=PhononFilter(k_point_mesh="commensurate", freq_max_THz=None),
    )
    share = constants.supercell.n_atoms * n_frames / (1024 * 200)
    spent = cpu_seconds(lambda: sample_phonons(constants, settings))
    yield Figure("phonon sampling", "1024 atoms x 200 frames, all modes", spent / share, "s CPU", 1.0)


def export(folder: Path, n_frames: int) -> Iterator[Figure]:
    """The HDF5 file of many clusters."""
    from aiida_mbetrain.datasets.hdf5 import write_dataset
    from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules
    from aiida_mbetrain.science.tables import Table

    frames = thermal_frames(2, n_frames)
    zeros = np.zeros(n_frames)
    times = np.arange(1.0, n_frames + 1)
    frames = frames.with_(
        energies=zeros, forces=frames.positions, velocities=frames.positions, origin={"time_fs": times}
    )
    reference = thermal_frames(2, 1, noise=0.0)
    sets = clusters_of(2, n_frames)
    series = Table({name: times for name in ("time_fs", "temperature_K", "kinetic_energy_eV", "pressure_GPa")})
    section = MDSection(
        root_key="training/md_sampling", ensemble="NPT", temperature_K=300.0, pressure_GPa=1e-4,
        time_equilibration_fs=0.0, trajectory=frames, series=series,
        molecules=Molecules(detect_molecules(reference), frames, tuple(sets)),
    )  # fmt: skip
    path = folder / "dataset.hdf5"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = cpu_seconds(lambda: write_dataset(path, Dataset((section,))), repeat=1)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    n_clusters = len(sets) * n_frames
    yield Figure("export", "10,000 clusters", spent * 10000 / n_clusters, "s CPU", 3.0)
    yield Figure("export", f"growth of peak memory, {n_clusters} clusters", grown, "MB", 300.0)
    raw = sum(item.configurations.positions.nbytes for item in sets) + 3 * frames.positions.nbytes
    yield Figure("export", "file size / raw arrays", path.stat().st_size / raw, limit=1.1)
