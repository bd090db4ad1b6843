"""Write the HDF5 dataset of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mbetrain.cli import sources as source_options


@click.command("export")
@click.argument("source")
@click.option("-o", "--output", default="training_set.hdf5", show_default=True, help="File to write.")
@click.option(
    "--no-provenance",
    is_flag=True,
    help="Leave uuids and versions out: two runs with the same seed then give the same bytes.",
)
@click.option("--sources", callback=source_options.words, help="Some of md,phonons,quasi_harmonic [all].")
@click.option("--sizes", callback=source_options.integers, help="Numbers of molecules of the clusters [all].")
@click.option("--no-features", is_flag=True, help="Leave the feature vectors out.")
@click.option("--float32", is_flag=True, help="Features, forces and velocities in single precision.")
@click.option("--compression", type=int, help="Level of gzip, 1 (fast) to 9 [none].")
@click.option("--reference", "references", multiple=True, metavar="METHOD",
              help="Add labels of `reference run`: their name, its pk, or all; may be repeated.")  # fmt: skip
@click.option("--append", is_flag=True, help="Add to an existing file; equal data may be there, other data may not.")
def export(
    source: str,
    output: str,
    no_provenance: bool,
    sources: tuple[str, ...] | None,
    sizes: tuple[int, ...] | None,
    no_features: bool,
    float32: bool,
    compression: int | None,
    references: tuple[str, ...],
    append: bool,
) -> None:
    """Write the HDF5 dataset of SOURCE: pk or uuid of a training set or one of its stages, or an HDF5 file.

    The file is made from the provenance graph alone, so this works on an imported archive as well.
    Of a run that failed it holds what was made before, and says what is missing.
    """
    from aiida_mbetrain.datasets.hdf5 import Storage, append_dataset, write_dataset
    from aiida_mbetrain.datasets.training import check_sources, select_sections

    check_sources(sources or ())
    storage = Storage(float32=float32, compression=compression)
    dataset = source_options.read_source(source, references, partial=True)
    dataset = select_sections(dataset, sources=sources, sizes=sizes, features=not no_features)
    write = append_dataset if append else write_dataset
    digest = write(output, dataset, provenance=not no_provenance, storage=storage)
    click.echo(f"{Path(output).resolve()}  {len(dataset.cluster_sets)} cluster sets  content sha256 {digest[:16]}…")
    missing = dataset.provenance.get("missing")
    for what in missing if isinstance(missing, list) else []:
        click.echo(f"Missing or not whole: {what}")
