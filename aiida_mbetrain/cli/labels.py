"""Import of energies and forces computed by another program."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_mbetrain.cli.common import require_finished, with_profile
from aiida_mbetrain.cli.sources import load_node, stages_of_node


@click.group("labels")
def labels() -> None:
    """Import energies and forces computed by another program."""


@labels.command("import")
@click.argument("file")
@click.argument("process")
@click.option("--level-of-theory", required=True, help="Of the labels, such as PBE0-D4/def2-TZVP.")
@click.option("--energy-key", default="REF_energy", show_default=True, help="Key of total energies, eV.")
@click.option("--forces-key", default="REF_forces", show_default=True, help="Key of forces, eV/Å.")
@with_profile
def import_(file: str, process: str, level_of_theory: str, energy_key: str, forces_key: str) -> None:
    """Store the labels of FILE (extended XYZ) as nodes beside the frames of PROCESS (pk or uuid).

    FILE has the frames of `export-xyz PROCESS --no-labels` with energies and forces added, matched by uid; some
    frames may be missing, and some may have energies alone.  Its isolated atoms give the E0s of this level of theory.
    """
    from aiida import orm

    from aiida_mbetrain.calculations.functions.external_labels import import_labels
    from aiida_mbetrain.datasets.from_graph import dataset_of
    from aiida_mbetrain.datasets.training import SOURCES, entries_of, read_labels, with_labels

    stages = stages_of_node(load_node(process))
    # Refusals come before anything is stored.
    external = read_labels(file, energy_key=energy_key, forces_key=forces_key)
    with_labels(entries_of(dataset_of(stages), sources=tuple(SOURCES)), external)
    settings = {"level_of_theory": level_of_theory, "energy_key": energy_key, "forces_key": forces_key}
    path = Path(file).resolve()
    _, node = import_labels.run_get_node(labels=orm.SinglefileData(path), settings=orm.Dict(settings), **stages)
    require_finished(node)
    without = f", {external.n_energy_only} of them energies alone" if external.n_energy_only else ""
    click.echo(f"import_labels<{node.pk}>  {len(external.frames)} frames at {level_of_theory}{without}")
    for link in node.base.links.get_outgoing(node_class=orm.Data).all():
        click.echo(f"  {link.link_label:24} {type(link.node).__name__}<{link.node.pk}>")
    click.echo(f"Train on them: aiida-mbetrain export-xyz {process} --labels {node.pk} [--delta] -o FOLDER")
