"""Write the HDF5 dataset of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mbetrain.cli.common import load, with_profile


@click.command("export")
@click.argument("process")
@click.option("-o", "--output", default="training_set.hdf5", show_default=True, help="File to write.")
@click.option(
    "--no-provenance",
    is_flag=True,
    help="Leave uuids and versions out: two runs with the same seed then give the same bytes.",
)
@with_profile
def export(process: str, output: str, no_provenance: bool) -> None:
    """Write the HDF5 dataset of PROCESS (pk or uuid): a training set or one of its stages.

    The file is made from the provenance graph alone, so this works on an imported archive as well.
    """
    from aiida_mbetrain.datasets.graph import dataset_of, stage_nodes, stages_of
    from aiida_mbetrain.datasets.hdf5 import write_dataset

    dataset = dataset_of(stage_nodes(stages_of(load(process))))
    digest = write_dataset(output, dataset, provenance=not no_provenance)
    click.echo(f"{Path(output).resolve()}  {len(dataset.cluster_sets)} cluster sets  content sha256 {digest[:16]}…")
