"""Cost of a training set before anything is computed; needs no profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from aiida_mbetrain.cli.common import load_profile_of_command, read_model

if TYPE_CHECKING:
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.science.potentials import Potential
    from aiida_mbetrain.science.stages import Probe, StageEstimate, SupercellPrice
    from aiida_mbetrain.settings import Inference

PROCESSES = {"molecular dynamics": 6, "force constants": 6, "phonon sampling": 6}
"""Processes in the profile of each stage."""
SECONDS_PER_PROCESS = 0.4
"""CPU time of AiiDA and SQLite for one process with its nodes, measured with the demo."""
COPIES = 3
"""Of every stored array: in its node, in the file that is a node, and in the file that is written."""
SECONDS_PER_MEGABYTE = 0.03
"""CPU time of writing, hashing and reading back one megabyte of arrays, measured with the demo."""
SECONDS_OF_START_AND_REPORT = 50.0
"""CPU time of imports, pictures and the report, measured with the demo."""


def print_cost(console: Console, structure: str, model: str, protocol: str | None, overrides: dict[str, Any]) -> None:
    """Print the cost of a run of a structure file with a model, a file or the pk or uuid of a registered one."""
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.science.io import read_frames
    from aiida_mbetrain.science.potentials import load_mace
    from aiida_mbetrain.workflows.protocols import protocol_settings

    settings: Any = protocol_settings(protocol, overrides)
    [atoms] = read_frames(structure, what="a structure as cif, xyz or POSCAR")
    inference = settings["inference"]
    potential = load_mace(model, inference) if Path(model).exists() else _registered(model, inference)
    print_estimate(console, Configurations.from_atoms([atoms]), potential, settings, find_modes=True)


def _registered(model: str, inference: Inference) -> Potential:
    from aiida_mbetrain.calculations.functions.in_process import load_potential

    load_profile_of_command()
    return load_potential(read_model(model), inference)


def print_estimate(
    console: Console, crystal: Configurations, potential: Potential, settings: Any, *, find_modes: bool = False
) -> None:
    """Print the cost of the run, with speed and memory measured on one supercell; raise what the run would raise.

    find_modes: relax the cell for its modes at Γ, which tell the number of phonon frames, instead of giving a bound.
    """
    from aiida_mbetrain.science.crystal import make_supercell
    from aiida_mbetrain.science.molecular_dynamics import dynamical_masses
    from aiida_mbetrain.science.molecules import check_structure
    from aiida_mbetrain.science.stages import estimate_all, expected_modes, price_supercells, probe_potential

    check_structure(crystal)
    potential.require_elements(crystal.numbers)
    dynamics = settings["md_sampling"].md_crystal
    masses = dynamical_masses(crystal, dynamics)
    sections = settings["md_sampling"], settings["quasi_harmonic"], settings["phonon_sampling"]
    free_energy, phonons = sections[1:]
    stages, note = estimate_all(crystal, *sections), ""
    if find_modes:
        n_modes = expected_modes(crystal, potential, free_energy, phonons.phonon_filter)
        note = f"Phonon frames: of {n_modes} modes, found at Γ of the relaxed cell; at most {stages[-1].n_frames:,}.\n"
        stages = estimate_all(crystal, *sections, n_modes=n_modes)
    supercell = make_supercell(crystal, stages[0].supercell_matrix)
    probe = probe_potential(supercell, potential, batch_atoms=settings["inference"].batch_atoms)
    formula = crystal.to_atoms()[0].get_chemical_formula()
    milliseconds = probe.seconds_per_atom * 1e3
    console.print(f"{formula}: {crystal.n_atoms} atoms per cell; {milliseconds:.3f} ms per atom here")
    console.print(_estimate_table(stages, probe))
    note += f"Dynamics: time steps of {dynamics.time_step_fs:g} fs; masses are {dynamics.masses}"
    note += f", from {masses.min():.3g} to {masses.max():.3g} u.\n"
    console.print(note + _notes(stages, probe), soft_wrap=True, highlight=False)
    console.print(_supercell_table(price_supercells(crystal, free_energy), free_energy.keep_point_group))


def _notes(stages: Sequence[StageEstimate], probe: Probe) -> str:
    """Footnotes to the rows on time and memory, and the totals."""
    model = sum(_model_seconds(stage, probe) for stage in stages)
    around = SECONDS_OF_START_AND_REPORT + sum(_aiida_seconds(stage, probe) for stage in stages)
    stored = sum(stage.bytes_stored(probe.n_features) for stage in stages)
    return (
        f"CPU time: {(model + around) / 60:,.1f} min in all, of which {around / 60:,.1f} min for imports, AiiDA, files "
        "and pictures. It counts all threads together, so that a busy machine does not change it.\n"
        f"Disk: {_megabytes(COPIES * stored)}: each array in its node, in the file as a node, and in the file that is "
        f"written.\n{_memory_note(probe)}"
    )


def _model_seconds(stage: StageEstimate, probe: Probe) -> float:
    return stage.atom_evaluations * probe.seconds_per_atom


def _aiida_seconds(stage: StageEstimate, probe: Probe) -> float:
    """CPU time of AiiDA's processes of a stage and of its files."""
    n_processes = next(number for name, number in PROCESSES.items() if stage.name.startswith(name))
    megabytes = stage.bytes_stored(probe.n_features) / 1e6
    return SECONDS_PER_PROCESS * n_processes + SECONDS_PER_MEGABYTE * megabytes


def _estimate_table(stages: Sequence[StageEstimate], probe: Probe) -> Table:
    """A column for every stage."""
    rows: dict[str, Callable[[StageEstimate], str]] = {
        "atoms per supercell": lambda stage: f"{stage.n_atoms:,}",
        "displacements": lambda stage: f"{stage.n_displacements:,}" if stage.n_displacements else "-",
        "evaluations": lambda stage: f"{stage.n_evaluations:,}",
        "frames": lambda stage: f"{stage.n_frames:,}",
        "clusters": lambda stage: f"{stage.n_clusters:,}",
        "CPU time, model": lambda stage: f"{_model_seconds(stage, probe) / 60:,.1f} min",
        "CPU time, AiiDA": lambda stage: f"{_aiida_seconds(stage, probe) / 60:,.1f} min",
        "peak memory": lambda stage: _megabytes(probe.peak_bytes(stage)),
        "stored": lambda stage: _megabytes(stage.bytes_stored(probe.n_features)),
    }
    table = Table("", box=None)
    for stage in stages:
        table.add_column(stage.name.replace(" (", "\n("), justify="right")
    for name, cell in rows.items():
        table.add_row(name, *map(cell, stages))
    return table


def _supercell_table(prices: Sequence[SupercellPrice], chosen: bool) -> Table:
    """A row for the supercell of the force constants with and without the whole point group."""
    table = Table("keep_point_group", "atoms", "displacements", "operations kept", title="Force constants", box=None)
    for price in prices:
        name = f"{price.keep_point_group}{' (chosen)' if price.keep_point_group == chosen else ''}"
        atoms = "over max_atoms" if price.n_atoms is None else f"{price.n_atoms:,}"
        displacements = "-" if price.n_displacements is None else f"{price.n_displacements:,}"
        table.add_row(name, atoms, displacements, f"{price.n_operations_kept} of {price.n_operations}")
    return table


def _memory_note(probe: Probe) -> str:
    """Footnote to the row on memory."""
    if probe.memory is None:
        return "Peak memory cannot be measured on this system: it is that of PyTorch and of what is stored."
    whose = "the GPU, at least," if probe.memory.on_device else "this process"
    return f"Peak memory: of {whose} while the model evaluates, measured on {probe.n_atoms:,} atoms" + (
        "; what is stored comes on top." if probe.memory.on_device else ", with what the stage has stored."
    )


def _megabytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / 1e6:,.0f} MB"
