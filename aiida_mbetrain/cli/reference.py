"""Reference labels of clusters by quantum chemistry."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mbetrain.cli.common import require_finished, submit_as_jobs, with_profile
from aiida_mbetrain.cli.lattice_energy import lattice
from aiida_mbetrain.cli.reference_elsewhere import export, import_
from aiida_mbetrain.cli.reference_options import ClusterOptions, MethodOptions, choosing_clusters, choosing_method
from aiida_mbetrain.cli.reference_tables import known, show_run
from aiida_mbetrain.errors import InvalidSettings


@click.group("reference")
def reference() -> None:
    """Label clusters by quantum chemistry, whole or by a many-body expansion."""


@reference.command("plan")
@choosing_clusters
@choosing_method
@click.option("--measure/--no-measure", default=True, show_default=True, help="Time some calculations here.")
@click.option("--budget", default=60.0, show_default=True, help="Seconds that the measurement may take.")
@with_profile
def plan(
    clusters: ClusterOptions,
    chosen: MethodOptions,
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
    expansion, labels = known(settings, clusters)
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
@choosing_clusters
@choosing_method
@click.option("--code", help="mbetrain-worker as LABEL@COMPUTER: submit jobs; without, calculate here.")
@click.option("--jobs", "n_jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs side by side.")
@click.option("--options", help="YAML file with metadata.options of the jobs.")
@with_profile
def run(
    clusters: ClusterOptions,
    chosen: MethodOptions,
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

    from aiida_mbetrain.cli.progress import progress_bars
    from aiida_mbetrain.settings import IN_PROCESS
    from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain

    settings = chosen.settings()
    if settings.method.program not in IN_PROCESS:
        raise InvalidSettings(f"{settings.method.program} is run elsewhere: use `reference export` and `import`.")
    builder = ReferenceLabelsWorkChain.get_builder()
    for port, value in clusters.load().inputs().items():
        builder[port] = value
    builder.settings, builder.n_jobs = orm.Dict(settings.to_dict()), orm.Int(n_jobs)
    console = Console()
    if submit_as_jobs(console, builder, code, options):
        return
    with progress_bars(console):
        _, node = run_get_node(builder)
    require_finished(node)
    show_run(console, node, settings)


@reference.command("status")
@choosing_clusters
@choosing_method
@click.option("--folder", help="Folder of `reference export`: count its outputs too, and take its settings.")
@with_profile
def status(
    clusters: ClusterOptions,
    chosen: MethodOptions,
    folder: str | None,
) -> None:
    """Count the clusters of PROCESS that the profile can label, set by set, and the calculations that they lack."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from aiida_mbetrain.science.reference_labels.elsewhere import folder_status

    settings = chosen.settings(folder)
    expansion, labels = known(settings, clusters)
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


for command in (export, import_, lattice):
    reference.add_command(command)
