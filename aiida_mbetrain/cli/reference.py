"""Reference labels of clusters by quantum chemistry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import read_reference_settings, require_finished, submit_as_jobs, with_profile
from aiida_mbetrain.cli.lattice_energy import lattice
from aiida_mbetrain.cli.sources import integers, load_node, stages_of_node
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console

    from aiida_mbetrain.science.reference_labels import Expansion, FragmentLabels
    from aiida_mbetrain.settings import ReferenceLabels


@dataclass(frozen=True)
class MethodOptions:
    """The options that name a method, as they were given."""

    path: str | None
    method: str | None
    order: int | None
    counterpoise: str | None

    def settings(self, folder: str | None = None) -> ReferenceLabels:
        """Settings of the options, or of a folder of `reference export`, which has its own."""
        from aiida_mbetrain.science.reference_labels.elsewhere import folder_settings

        if folder is None:
            return read_reference_settings(self.path, self.method, self.order, self.counterpoise)
        if twice := [name for name, value in vars(self).items() if value is not None]:
            options = ", ".join(f"--{'settings' if name == 'path' else name}" for name in twice)
            raise InvalidSettings(f"--folder has settings of its own: leave out {options}.")
        return folder_settings(Path(folder))


def of_clusters(function: Callable[..., None]) -> Callable[..., None]:
    """Argument and options of the commands that choose clusters and a method."""

    @functools.wraps(function)
    def wrapped(
        path: str | None, method: str | None, order: int | None, counterpoise: str | None, **others: object
    ) -> None:
        function(chosen=MethodOptions(path, method, order, counterpoise), **others)

    command: Callable[..., None] = wrapped
    for decorate in (
        click.option("--sizes", callback=integers, help="Numbers of molecules, such as 1,2,3; default: all."),
        click.option(
            "--counterpoise",
            type=click.Choice(["none", "cp", "vmfc"]),
            help="Basis of the fragments: their own, the cluster's, or that of each n-mer.",
        ),
        click.option("--order", type=click.IntRange(min=1), help="Molecules per fragment; default: whole clusters."),
        click.option("--method", help="GFN2-xTB, or method/basis such as PBE-D4/def2-SVP or CCSD(T)/cc-pVDZ."),
        click.option("--settings", "path", help="YAML file with the settings of ReferenceLabels."),
        click.argument("process"),
    ):
        command = decorate(command)
    return with_profile(command)


@click.group("reference")
def reference() -> None:
    """Label clusters by quantum chemistry, whole or by a many-body expansion."""


@reference.command("plan")
@of_clusters
@click.option("--measure/--no-measure", default=True, show_default=True, help="Time some calculations here.")
@click.option("--budget", default=60.0, show_default=True, help="Seconds that the measurement may take.")
def plan(
    process: str,
    chosen: MethodOptions,
    sizes: tuple[int, ...] | None,
    measure: bool,
    budget: float,
) -> None:
    """Count the calculations that the clusters of PROCESS (pk or uuid) need, and estimate their time.

    Equal fragments count once, and those whose labels the profile has not at all.  Nothing is stored.
    """
    import numpy as np
    from rich.console import Console

    from aiida_mbetrain.science.reference_labels import backend_of, estimate_cost
    from aiida_mbetrain.settings import IN_PROCESS

    settings = chosen.settings()
    expansion, labels = _known(settings, process, sizes)
    fragments = expansion.fragments
    missing = fragments.select(np.flatnonzero(~labels.labelled))
    estimate = None
    if measure and len(missing) and settings.method.program in IN_PROCESS:
        estimate = estimate_cost(missing, backend_of(settings.method), budget_s=budget)
    facts = {
        "clusters": expansion.n_clusters,
        "fragments of all clusters": expansion.n_terms,
        "equal ones left out": expansion.n_terms - len(fragments),
        "known in this profile": len(fragments) - len(missing),
        "to be calculated": len(missing),
    }
    console = Console()
    console.print(f"{settings.name} ({settings.method.program})", highlight=False, markup=False)
    for name, count in facts.items():
        console.print(f"{name:28}{count:>12,}")
    console.print(f"{'size of the labels':28}{32 * len(missing.numbers) / 1e6:>12,.1f} MB")
    if estimate is not None:
        scaling = "fitted" if estimate.fitted else "assumed"
        console.print(f"{'core-hours':28}{estimate.total_s / 3600:>12,.3f}")
        console.print(f"{'largest calculation':28}{estimate.largest_s:>12,.1f} s")
        console.print(
            f"From {estimate.n_measured} sizes measured here on one thread; time ~ electrons^{estimate.exponent:.1f} "
            f"({scaling})."
        )


@reference.command("run")
@of_clusters
@click.option("--code", help="mbetrain-worker as LABEL@COMPUTER: submit jobs; without, calculate here.")
@click.option("--jobs", "n_jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs side by side.")
@click.option("--options", help="YAML file with metadata.options of the jobs.")
def run(
    process: str,
    chosen: MethodOptions,
    sizes: tuple[int, ...] | None,
    code: str | None,
    n_jobs: int,
    options: str | None,
) -> None:
    """Label the clusters of PROCESS (pk or uuid of a finished training set or stage).

    Calculations that fail are recorded with the message of the program; clusters that need them have no label.
    """
    from aiida import orm
    from aiida.engine import run_get_node
    from rich.console import Console

    from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets
    from aiida_mbetrain.cli.progress import progress_bars
    from aiida_mbetrain.settings import IN_PROCESS
    from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain

    settings = chosen.settings()
    if settings.method.program not in IN_PROCESS:
        raise InvalidSettings(f"{settings.method.program} is run elsewhere: use `reference export` and `import`.")
    sets, crystals = cluster_sets(stages_of_node(load_node(process)), sizes=sizes)
    builder = ReferenceLabelsWorkChain.get_builder()
    builder.sets, builder.crystals = sets, crystals
    builder.settings, builder.n_jobs = orm.Dict(settings.to_dict()), orm.Int(n_jobs)
    console = Console()
    if submit_as_jobs(console, builder, code, options):
        return
    with progress_bars(console):
        _, node = run_get_node(builder)
    require_finished(node)
    show_run(console, node, settings)


@reference.command("status")
@of_clusters
@click.option("--folder", help="Folder of `reference export`: count its outputs too, and take its settings.")
def status(
    process: str,
    chosen: MethodOptions,
    sizes: tuple[int, ...] | None,
    folder: str | None,
) -> None:
    """Count the clusters of PROCESS that the profile can label, set by set, and the calculations that they lack."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from aiida_mbetrain.science.reference_labels.elsewhere import folder_status

    settings = chosen.settings(folder)
    expansion, labels = _known(settings, process, sizes)
    table = Table("set", "frames", "labelled", "fragments", "missing")
    for name, cluster in expansion.clusters.items():
        missing = ~labels.labelled[cluster.rows]
        counts = (len(cluster.rows), np.count_nonzero(~missing.any(axis=1)), len(np.unique(cluster.rows)))
        table.add_row(name, *(f"{n:,}" for n in (*counts, len(np.unique(cluster.rows[missing])))))
    console = Console()
    console.print(f"{settings.name} ({settings.method.program})", highlight=False, markup=False)
    console.print(table)
    if folder is not None:
        found = folder_status(Path(folder))
        click.echo(f"{folder}: {found.n_outputs:,} of {found.n_inputs:,} calculations have an output")
    for row, message in labels.failures.items():
        console.print(f"failed {labels.ids[row]}: {message}", highlight=False, markup=False)


@reference.command("export")
@of_clusters
@click.option("-o", "--output", default="reference", show_default=True, help="Folder to write to.")
def export(
    process: str,
    chosen: MethodOptions,
    sizes: tuple[int, ...] | None,
    output: str,
) -> None:
    """Write inputs for a program that is run elsewhere, one per fragment that has no label yet.

    The folder has a run script and a table of the fragments; `reference import` reads the outputs.
    """
    import numpy as np

    from aiida_mbetrain.science.reference_labels.elsewhere import write_inputs

    settings = chosen.settings()
    expansion, labels = _known(settings, process, sizes)
    missing = expansion.fragments.select(np.flatnonzero(~labels.labelled))
    if not len(missing):
        click.echo(f"Every fragment has a label of {settings.method.name}: nothing to calculate.")
        return
    write_inputs(Path(output), missing, settings)
    click.echo(f"{Path(output).resolve()}  {len(missing):,} inputs for {settings.name}; run.sh runs them")
    click.echo(f"Then: aiida-mbetrain reference import {output} {process}")


@reference.command("import")
@click.argument("folder")
@click.argument("process")
@click.option("--sizes", callback=integers, help="Numbers of molecules, such as 1,2,3; default: all.")
@with_profile
def import_(folder: str, process: str, sizes: tuple[int, ...] | None) -> None:
    """Read the outputs in FOLDER, written by `reference export`, and label the clusters of PROCESS.

    Outputs that are incomplete, of another geometry or without an energy are recorded with a message, and the others
    are read; the same folder may be read again when it has more.
    """
    from aiida import orm
    from aiida.engine import run_get_node
    from rich.console import Console

    from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets
    from aiida_mbetrain.science.reference_labels.elsewhere import folder_settings, output_files
    from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain

    settings = folder_settings(Path(folder))
    files = output_files(Path(folder))
    if len(files) < 2:
        raise InvalidSettings(f"{folder} has no output yet: run its run.sh, or write results.csv.")
    outputs = orm.FolderData()
    for file in files:
        outputs.base.repository.put_object_from_file(str(file), file.name)
    sets, crystals = cluster_sets(stages_of_node(load_node(process)), sizes=sizes)
    settings_node = orm.Dict(settings.to_dict())
    _, node = run_get_node(
        ReferenceLabelsWorkChain, sets=sets, crystals=crystals, settings=settings_node, outputs=outputs
    )
    require_finished(node)
    show_run(Console(), node, settings)


def _known(settings: ReferenceLabels, process: str, sizes: tuple[int, ...] | None) -> tuple[Expansion, FragmentLabels]:
    """Expansion of the clusters of a process, and the labels and failures that the profile has for it."""
    from aiida_mbetrain.calculations.functions.reference_labels import cluster_sets, expansion_of
    from aiida_mbetrain.data.conversion import as_science
    from aiida_mbetrain.science.reference_labels import merge_labels
    from aiida_mbetrain.workflows.fragment_bundles import tried_labels

    sets, crystals = cluster_sets(stages_of_node(load_node(process)), sizes=sizes)
    expansion = expansion_of(settings, sets, crystals)
    nodes = tried_labels(settings, set(expansion.fragments.ids.tolist()))
    labels = merge_labels(expansion.fragments, settings.method.hash, [as_science(node) for node in nodes])
    return expansion, labels


def show_run(console: Console, node: orm.ProcessNode, settings: ReferenceLabels) -> None:
    """Labelled frames of each set, and failures."""
    from rich.table import Table

    from aiida_mbetrain.workflows.fragment_bundles import outputs_of

    missing = node.outputs.missing.get_dict()
    clusters = {label.removeprefix("clusters__"): output for label, output in outputs_of(node).items()}
    table = Table("set", "frames", "labelled", "without forces", "pk")
    for name, given in sorted(node.inputs.sets.items()):
        found = clusters.get(name)
        labelled = 0 if found is None else found.base.attributes.get("n_frames")
        no_forces = labelled if found is not None and "forces" not in found.get_arraynames() else 0
        n_frames = given.base.attributes.get("n_frames")
        table.add_row(name, str(n_frames), str(labelled), str(no_forces), "-" if found is None else str(found.pk))
    console.print(table)
    for name, message in missing["failures"].items():
        console.print(f"failed {name}: {message}", highlight=False, markup=False)
    programs = ", ".join(node.outputs.labels.base.attributes.get("programs"))
    console.print(f"{node.process_label}<{node.pk}>: {settings.name} by {programs}", highlight=False, markup=False)


reference.add_command(lattice)
