"""Register MACE models as nodes, and write them to files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from aiida_mbetrain.cli.common import load, with_profile
from aiida_mbetrain.cli.foundation import fetch_foundation_model, is_name
from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput


@click.group("model")
def model() -> None:
    """Register, list and export MACE models."""


@model.command("import")
@click.argument("source", metavar="FILE|NAME")
@with_profile
def import_(source: str) -> None:
    """Register a model FILE, or download one of MACE's foundation models by NAME.

    NAME is one of MACE's, such as mace-off-small, mace-mp-medium-mpa-0, mace-matpes-r2scan-0 or mace-anicc; MACE's
    own loader fetches it and shows its licence.  An unknown name lists the known ones.  A model file is executable
    code: register only files you trust.
    """
    from aiida_mbetrain.data.mace_model import MaceModelData

    with TemporaryDirectory() as folder:
        by_name = is_name(source) and not Path(source).exists()
        node = MaceModelData.get_or_create(fetch_foundation_model(source, Path(folder)) if by_name else source)
    click.echo(f"MaceModelData<{node.pk}>  {node.filename}  {', '.join(node.elements)}  sha256 {node.sha256[:16]}…")


@model.command("export")
@click.argument("identifier", metavar="PK")
@click.option("-o", "--output", default=".", show_default=True, help="Folder to write to.")
@with_profile
def export(identifier: str, output: str) -> None:
    """Write the files of a model or of a sum of models (pk or uuid), for other programs."""
    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.data.sum_model import SumModelData

    node = load(identifier)
    if not isinstance(node, MaceModelData | SumModelData):
        raise InvalidSettings(f"<{node.pk}> is a {type(node).__name__}: give a model or a sum of models.")
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name in node.base.repository.list_object_names():
            path = Path(output, name)
            path.write_bytes(node.base.repository.get_object_content(name, "rb"))
            click.echo(str(path.resolve()))
    except OSError as error:
        raise UnwritableOutput(f"{output} cannot be written: {error.strerror or error}.") from error


@model.command("list")
@with_profile
def list_() -> None:
    """List the registered models."""
    from aiida import orm

    from aiida_mbetrain.data.mace_model import MaceModelData

    query = orm.QueryBuilder().append(MaceModelData, project="*").order_by({MaceModelData: "id"})
    for node in query.all(flat=True):
        facts = node.base.attributes.all
        click.echo(
            f"{node.pk:>6}  {node.filename:32}  r_max {facts['r_max']} Å  {facts['dtype']}  "
            f"{', '.join(node.elements)}  {node.sha256[:16]}…"
        )
