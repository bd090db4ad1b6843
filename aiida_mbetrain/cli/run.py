"""Training set of a given crystal and model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from aiida_mbetrain.cli.common import (
    command_of,
    load,
    load_profile_of_command,
    read_model,
    read_options,
    read_structure,
    stopping_in_order,
)
from aiida_mbetrain.cli.dry_run import print_cost, print_estimate
from aiida_mbetrain.cli.progress import progress_bars
from aiida_mbetrain.cli.single_stage import (
    OUTPUTS,
    builder_of_stage,
    read_force_constants,
    relaxation_inputs,
    relaxation_job,
    run_relaxation,
)
from aiida_mbetrain.errors import InvalidSettings, MbetrainError, UnwritableOutput

LABELLING = (None, "md", "phonons")
"""Values of --only with stages that label; None is all of them."""
STEPS = "aiida.calculations:mbetrain.*"
"""Process types of the calcfunctions and jobs of this plugin, as AiiDA's caching names them."""
OUTPUT = "mbetrain_output"
"""Extra of a run: the file it was to write."""

if TYPE_CHECKING:
    from aiida import orm
    from aiida.engine import ProcessBuilder

    from aiida_mbetrain.calculations.functions.interruption import Interruption
    from aiida_mbetrain.datasets.inspection import VerdictFacts
    from aiida_mbetrain.settings import JsonObject


@click.command("run")
@click.option("--structure", help="Crystal: cif, xyz, POSCAR, anything ASE reads.")
@click.option("--model", help="MACE model: a file, or the pk or uuid of a registered one.")
@click.option("--protocol", help="fast, balanced (default), stringent or reference.")
@click.option("--molecule", help="Its isolated molecule, a file that ASE reads: adds the properties of sublimation.")
@click.option("--overrides", help="YAML file {section: {field: value}} on top of the protocol.")
@click.option("--temperature-k", type=float, help="Temperature of MD and phonon sampling (K).")
@click.option("--pressure-gpa", type=float, help="Pressure of MD (GPa).")
@click.option("--relax-first", is_flag=True, help="Start MD from the relaxed crystal, in NPT with its relaxed cell.")
@click.option("--only", type=click.Choice(list(OUTPUTS)), help="Run this stage alone.")
@click.option("--force-constants", help="With --only phonons: pk of force constants, or of a run that made them.")
@click.option("-o", "--output", help="File to write  [training_set.hdf5, or the name of the stage].")
@click.option("--code", help="mbetrain-worker on some computer (LABEL@COMPUTER): submit to the daemon and return.")
@click.option("--options", help="With --code: YAML file of metadata.options for the jobs (queue, GPU, walltime).")
@click.option("--label-jobs", type=click.IntRange(min=1), help="With --code: jobs that share the labels of a stage.")
@click.option("--dry-run", is_flag=True, help="Print what it would cost and stop.")
@click.option("--continue", "earlier", metavar="PK", help="Go on with a run that was stopped, killed or failed.")
@stopping_in_order
def run(
    structure: str | None,
    model: str | None,
    protocol: str | None,
    molecule: str | None,
    overrides: str | None,
    temperature_k: float | None,
    pressure_gpa: float | None,
    relax_first: bool,
    only: str | None,
    force_constants: str | None,
    output: str | None,
    code: str | None,
    options: str | None,
    label_jobs: int | None,
    dry_run: bool,
    earlier: str | None,
) -> None:
    """Make the training set of a crystal in the current profile and write its HDF5 file.

    It runs in this process, where Ctrl-C stops it and --continue goes on; with --code the heavy stages become jobs,
    and the file is written by `export`.
    """
    console = Console()
    if earlier is not None:
        load_profile_of_command()
        continue_run(console, earlier, output)
        return
    path = Path(output or OUTPUTS.get(only or "", "training_set.hdf5"))
    require_writable(path)
    if label_jobs is not None and (code is None or only not in LABELLING):
        raise InvalidSettings("--label-jobs is about jobs of labels: give --code, and --only md, phonons or nothing.")
    chosen = merged_overrides(overrides, temperature_k, pressure_gpa, relax_first=relax_first)
    metadata = read_options(options)
    if dry_run:
        if only is not None:
            raise InvalidSettings("--dry-run tells the cost of all stages: leave out --only.")
        files = _required("--structure", structure), _required("--model", model)
        print_cost(console, *files, protocol, chosen, metadata)
        return
    load_profile_of_command()
    from aiida import orm

    from aiida_mbetrain.calculations.functions.in_process import load_potential
    from aiida_mbetrain.data.structures import structure_to_configurations
    from aiida_mbetrain.workflows.base import check_inputs
    from aiida_mbetrain.workflows.protocols import protocol_settings
    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    source = _required("--structure", structure) if only != "phonons" else ""
    potential = read_model(_required("--model", model))
    crystal = read_structure(source) if source else read_force_constants(force_constants)
    if only is None:
        check_inputs(crystal, potential)
        settings: Any = protocol_settings(protocol, chosen)
        loaded = load_potential(potential, settings["inference"])
        print_estimate(console, structure_to_configurations(crystal), loaded, settings, options=metadata)
    given = {"code": read_code(code), "protocol": protocol, "overrides": chosen, "options": metadata}
    if only == "relaxation":
        inputs = relaxation_inputs(crystal, potential, protocol, chosen)
        if code is None:
            run_relaxation(console, inputs, path)
        else:
            submit_run(console, relaxation_job(given["code"], metadata, inputs), None)
        return
    builder = (
        TrainingSetWorkChain.get_builder_from_protocol(crystal, potential, **given)
        if only is None
        else builder_of_stage(only, crystal, potential, **given)
    )
    if molecule is not None:
        (builder["quasi_harmonic"] if only is None else builder).molecule = read_structure(molecule)
    if label_jobs is not None:
        for part in (builder["md_sampling"], builder["phonon_sampling"]) if only is None else (builder,):
            part.n_jobs = orm.Int(label_jobs)
    if code is None:
        run_training_set(console, builder, path)
    else:
        submit_run(console, builder, path)


def _required(option: str, value: str | None) -> str:
    if value is None:
        raise click.UsageError(f"Missing option '{option}'.")
    return value


def require_writable(output: Path) -> None:
    """Raise UnwritableOutput if the output file cannot be written, before anything is computed."""
    import os

    folder = output.resolve().parent
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UnwritableOutput(f"--output {output} cannot be written: give a file in an existing, writable folder.")


def merged_overrides(
    path: str | None, temperature_k: float | None, pressure_gpa: float | None, *, relax_first: bool = False
) -> JsonObject:
    """Overrides from a YAML file and from the options; the options win."""
    from aiida_mbetrain.settings import read_mapping
    from aiida_mbetrain.workflows.protocols import check_overrides, merge

    overrides = {} if path is None else read_mapping(path, "--overrides", "a mapping {section: {field: value}}")
    check_overrides(overrides)
    options: JsonObject = {}
    if temperature_k is not None:
        options = {"md_sampling": {"temperature_K": temperature_k}, "phonon_sampling": {"temperature_K": temperature_k}}
    if pressure_gpa is not None:
        options = merge(options, {"md_sampling": {"pressure_GPa": pressure_gpa}})
    if relax_first:
        options = merge(options, {"md_sampling": {"relax_first": True}})
    return merge(overrides, options)


def read_code(label: str | None) -> Any:
    """The code LABEL@COMPUTER; None without one."""
    from aiida import orm

    return None if label is None else orm.load_code(label)


def submit_run(console: Console, builder: ProcessBuilder, output: Path | None) -> None:
    """Submit the run to the daemon and print the commands to follow it.  Raises InvalidSettings without a daemon.

    output: file of the dataset; None for a run that makes none.
    """
    from aiida.engine import submit
    from aiida.engine.daemon.client import get_daemon_client

    if not get_daemon_client().is_daemon_running:
        raise InvalidSettings("--code submits to the daemon, which does not run: start it with `verdi daemon start`.")
    node = submit(builder)
    console.print(f"submitted {node.process_label}<{node.pk}>")
    console.print(f"follow it:  aiida-mbetrain status {node.pk} --watch")
    console.print(f"when done:  aiida-mbetrain {f'export {node.pk} -o {output}' if output else f'show {node.pk}'}")


def continue_run(console: Console, identifier: str, output: str | None) -> None:
    """Run again what an earlier run was to do; finished stages are taken over, others go on from their checkpoints.

    Raises InvalidSettings for a run that is finished, or that the daemon continues.
    """
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.datasets.from_graph import require_run

    node = load(identifier)
    require_run(node)
    if node.is_finished_ok:
        raise InvalidSettings(f"--continue {node.pk}: it is finished; `aiida-mbetrain export {node.pk}` writes it.")
    if "code" in node.inputs:
        raise InvalidSettings(
            f"--continue {node.pk}: it runs as jobs, which the daemon continues; see `aiida-mbetrain status {node.pk}`."
        )
    path = Path(output or node.base.extras.get(OUTPUT, "training_set.hdf5"))
    require_writable(path)
    with enable_caching(identifier=STEPS):
        run_training_set(console, node.get_builder_restart(), path)


def run_training_set(console: Console, builder: ProcessBuilder, output: Path) -> orm.ProcessNode:
    """Run in process with progress bars, write the file and the pictures, print the summary; return the node.

    Raises MbetrainError with the exit code and message of a process that failed, and what can be done with its pk.
    """
    from aiida.engine import run_get_node

    from aiida_mbetrain.calculations.functions.interruption import Interruption, current
    from aiida_mbetrain.cli import STARTED
    from aiida_mbetrain.cli.plot import draw_pictures
    from aiida_mbetrain.cli.run_facts import run_facts
    from aiida_mbetrain.cli.summary import print_summary
    from aiida_mbetrain.cli.verdicts import print_verdicts
    from aiida_mbetrain.datasets.from_graph import stage_nodes, stages_of
    from aiida_mbetrain.datasets.hdf5 import read_dataset
    from aiida_mbetrain.report import write_report

    interruption = current() or Interruption()
    interruption.running = True
    before = time.monotonic() - STARTED
    with progress_bars(console):
        _, node = run_get_node(builder)
    node.base.extras.set(OUTPUT, str(output.resolve()))
    if interruption.requested and not node.is_finished_ok:
        again = command_of("run", "--continue", str(node.pk))
        raise MbetrainError(f"Stopped; what is done is kept. Go on with: {again}")
    if not node.is_finished_ok:
        raise MbetrainError(
            f"{node.process_label}<{node.pk}> failed [{node.exit_status}]: {node.exit_message} "
            f"What it made is kept: aiida-mbetrain status, plot or export {node.pk}."
        )
    _leave_if_asked(interruption, node, "export")
    judged = _write_file(node, output)
    _leave_if_asked(interruption, node, "plot")
    pictures = list(draw_pictures(stage_nodes(stages_of(node)), output.parent, f"{output.stem}_"))
    dataset = read_dataset(output, verify=False, features=False)
    print_summary(console, node, dataset, output, seconds_before=before)
    print_verdicts(console, judged)
    console.print("Pictures: " + ", ".join(path.name for path in pictures), highlight=False)
    _leave_if_asked(interruption, node, "report")
    page = write_report(output, output.with_name(f"{output.stem}_report.html"), run=run_facts(node))
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    return node


def _write_file(process: orm.ProcessNode, output: Path) -> list[VerdictFacts]:
    """Write the dataset that a training set has stored, or make that of a single stage; return its verdicts."""
    from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
    from aiida_mbetrain.datasets.hdf5 import copy_dataset, write_dataset
    from aiida_mbetrain.datasets.inspection import verdicts

    if "dataset" in process.outputs:
        with process.outputs.dataset.open(mode="rb") as file:
            copy_dataset(file, output)
        stored: list[VerdictFacts] = process.outputs.verdicts.get_list()
        return stored
    dataset = dataset_of(stage_nodes(stages_of(process)))
    write_dataset(output, dataset)
    return [verdict.facts() for verdict in verdicts(dataset)]


def _leave_if_asked(interruption: Interruption, node: orm.ProcessNode, command: str) -> None:
    """Raise MbetrainError, with the command for what is left to do, after Ctrl-C in a run that is finished."""
    if interruption.requested:
        raise MbetrainError(f"Stopped; the run is finished. What is left: {command_of(command, str(node.pk))}")
