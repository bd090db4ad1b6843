"""Cost of a training set before anything is computed; needs no profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
KIBIBYTE = 1024
"""Unit of AiiDA's option ``max_memory_kb``."""
SECONDS_PER_PROCESS = 0.4
"""CPU time of AiiDA and SQLite for one process with its nodes, measured with the demo."""
SECONDS_PER_MEGABYTE = 0.03
"""CPU time of writing, hashing and reading back one megabyte of arrays, measured with the demo."""
SECONDS_OF_START_AND_REPORT = 50.0
"""CPU time of imports, pictures and the report, measured with the demo."""


def print_cost(
    console: Console,
    structure: str,
    model: str,
    protocol: str | None,
    overrides: dict[str, Any],
    options: Mapping[str, object],
) -> None:
    """Print the cost of a run of a structure file with a model, a file or the pk or uuid of a registered one.

    options: ``metadata.options`` of the jobs.
    """
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.science.io import read_frames
    from aiida_mbetrain.science.potentials import load_mace
    from aiida_mbetrain.workflows.protocols import protocol_settings

    settings: Any = protocol_settings(protocol, overrides)
    [atoms] = read_frames(structure, what="a structure as cif, xyz or POSCAR")
    inference = settings["inference"]
    potential = load_mace(model, inference) if Path(model).exists() else _registered(model, inference)
    crystal = Configurations.from_atoms([atoms])
    print_estimate(console, crystal, potential, settings, find_modes=True, options=options)


def _registered(model: str, inference: Inference) -> Potential:
    from aiida_mbetrain.calculations.functions.in_process import load_potential

    load_profile_of_command()
    return load_potential(read_model(model), inference)


def print_estimate(
    console: Console,
    crystal: Configurations,
    potential: Potential,
    settings: Any,
    *,
    find_modes: bool = False,
    options: Mapping[str, object],
) -> None:
    """Print the cost of the run, with speed and memory measured on one supercell; raise what the run would raise.

    find_modes: relax the cell for its modes at Γ, which tell the number of phonon frames, instead of giving a bound.
    options: ``metadata.options`` of the jobs.
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
    inference = settings["inference"]
    probe = probe_potential(supercell, potential, batch_atoms=inference.batch_atoms)
    formula = crystal.to_atoms()[0].get_chemical_formula()
    milliseconds = probe.seconds_per_atom * 1e3
    console.print(f"{formula}: {crystal.n_atoms} atoms per cell; {milliseconds:.3f} ms per atom here")
    console.print(_estimate_table(stages, probe, inference))
    note += f"Dynamics: time steps of {dynamics.time_step_fs:g} fs; masses are {dynamics.masses}"
    note += f", from {masses.min():.3g} to {masses.max():.3g} u.\n"
    console.print(note + _notes(stages, probe, inference), soft_wrap=True, highlight=False)
    for warning in _warnings(stages, probe, inference, options.get("max_memory_kb")):
        console.print(f"Warning: {warning}", soft_wrap=True, highlight=False, style="bold", markup=False)
    console.print(_supercell_table(price_supercells(crystal, free_energy), free_energy.keep_point_group))


def _warnings(stages: Sequence[StageEstimate], probe: Probe, inference: Inference, memory_kB: object) -> Iterator[str]:
    """Results that will be left out, and jobs that ask for less memory than was measured here."""
    for stage in stages:
        left_out = stage.bytes_left_out(probe.n_features, inference)
        if left_out:
            yield (
                f"{stage.name}: feature vectors of {_megabytes(left_out)} will be left out, more than "
                f"Inference.max_features_GB = {inference.max_features_GB:g}; None stores any size."
            )
        peak = probe.peak_bytes(stage, inference)
        if isinstance(memory_kB, int) and peak is not None and peak > KIBIBYTE * memory_kB:
            yield (
                f"{stage.name} takes {_megabytes(peak)} here, and the options ask for max_memory_kb = {memory_kB} "
                f"({_megabytes(KIBIBYTE * memory_kB)}): raise it, or lower Inference.batch_atoms."
            )


def _notes(stages: Sequence[StageEstimate], probe: Probe, inference: Inference) -> str:
    """Footnotes to the rows on time and memory, and the totals."""
    model = sum(_model_seconds(stage, probe) for stage in stages)
    around = SECONDS_OF_START_AND_REPORT + sum(_aiida_seconds(stage, probe, inference) for stage in stages)
    each = [stage.bytes_stored(probe.n_features, inference) for stage in stages]
    return (
        f"CPU time: {(model + around) / 60:,.1f} min in all, of which {around / 60:,.1f} min for imports, AiiDA, files "
        "and pictures. It counts all threads together, so that a busy machine does not change it.\n"
        f"Disk: {_megabytes(2 * sum(each))} in the profile, for each array in its node and in the file that is a node; "
        f"{_megabytes(sum(each))} in the file that is written; up to {_megabytes(2 * max(each))} beside a stage that "
        f"runs, for results and checkpoint.\n{_memory_note(probe)}"
    )


def _model_seconds(stage: StageEstimate, probe: Probe) -> float:
    return stage.atom_evaluations * probe.seconds_per_atom


def _aiida_seconds(stage: StageEstimate, probe: Probe, inference: Inference) -> float:
    """CPU time of AiiDA's processes of a stage and of its files."""
    n_processes = next(number for name, number in PROCESSES.items() if stage.name.startswith(name))
    megabytes = stage.bytes_stored(probe.n_features, inference) / 1e6
    return SECONDS_PER_PROCESS * n_processes + SECONDS_PER_MEGABYTE * megabytes


def _estimate_table(stages: Sequence[StageEstimate], probe: Probe, inference: Inference) -> Table:
    """A column for every stage."""
    rows: dict[str, Callable[[StageEstimate], str]] = {
        "atoms per supercell": lambda stage: f"{stage.n_atoms:,}",
        "displacements": lambda stage: f"{stage.n_displacements:,}" if stage.n_displacements else "-",
        "evaluations": lambda stage: f"{stage.n_evaluations:,}",
        "frames": lambda stage: f"{stage.n_frames:,}",
        "clusters": lambda stage: f"{stage.n_clusters:,}",
        "CPU time, model": lambda stage: f"{_model_seconds(stage, probe) / 60:,.1f} min",
        "CPU time, AiiDA": lambda stage: f"{_aiida_seconds(stage, probe, inference) / 60:,.1f} min",
        "peak memory": lambda stage: _megabytes(probe.peak_bytes(stage, inference)),
        "stored": lambda stage: _megabytes(stage.bytes_stored(probe.n_features, inference)),
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
    return (
        f"Peak memory: of {whose} while the model evaluates, measured on {probe.n_atoms:,} atoms"
        + ("; frames come on top in main memory." if probe.memory.on_device else ", with the frames of the stage.")
        + " Daemon and export pass arrays on in blocks, whatever the number of clusters."
    )


def _megabytes(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / 1e6:,.0f} MB"
