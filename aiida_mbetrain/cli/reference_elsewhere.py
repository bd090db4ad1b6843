"""Reference labels by programs that are run elsewhere: inputs out, outputs in."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mbetrain.cli.common import require_finished, with_profile
from aiida_mbetrain.cli.reference_options import ClusterOptions, MethodOptions, choosing_clusters, choosing_method
from aiida_mbetrain.cli.reference_tables import known, show_run
from aiida_mbetrain.errors import InvalidSettings


@click.command("export")
@choosing_clusters
@choosing_method
@click.option("-o", "--output", default="reference", show_default=True, help="Folder to write to.")
@with_profile
def export(clusters: ClusterOptions, chosen: MethodOptions, output: str) -> None:
    """Write inputs for a program that is run elsewhere, one per fragment that has no label yet.

    The folder has a run script and a table of the fragments; `reference import` reads the outputs.
    """
    import numpy as np

    from aiida_mbetrain.science.reference_labels.elsewhere import write_inputs

    settings = chosen.settings()
    expansion, labels = known(settings, clusters)
    missing = expansion.fragments.select(np.flatnonzero(~labels.labelled))
    if not len(missing):
        click.echo(f"Every fragment has a label of {settings.method.name}: nothing to calculate.")
        return
    write_inputs(Path(output), missing, settings)
    click.echo(f"{Path(output).resolve()}  {len(missing):,} inputs for {settings.name}; run.sh runs them")
    click.echo(f"Then: aiida-mbetrain reference import {output} {clusters.process}")


@click.command("import")
@click.argument("folder")
@choosing_clusters
@with_profile
def import_(folder: str, clusters: ClusterOptions) -> None:
    """Read the outputs in FOLDER, written by `reference export`, and label the clusters of PROCESS.

    Outputs that are incomplete, of another geometry or without an energy are recorded with a message, and the others
    are read; the same folder may be read again when it has more.
    """
    from aiida import orm
    from aiida.engine import run_get_node
    from rich.console import Console

    from aiida_mbetrain.science.reference_labels.elsewhere import folder_settings, output_files
    from aiida_mbetrain.workflows.reference_labels import ReferenceLabelsWorkChain

    settings = folder_settings(Path(folder))
    files = output_files(Path(folder))
    if len(files) < 2:
        raise InvalidSettings(f"{folder} has no output yet: run its run.sh, or write results.csv.")
    outputs = orm.FolderData()
    for file in files:
        outputs.base.repository.put_object_from_file(str(file), file.name)
    settings_node, given = orm.Dict(settings.to_dict()), clusters.load().inputs()
    _, node = run_get_node(ReferenceLabelsWorkChain, settings=settings_node, outputs=outputs, **given)
    require_finished(node)
    show_run(Console(), node, settings)
