"""Register MACE models as nodes."""

from __future__ import annotations

import os
from pathlib import Path

import click

from aiida_mbetrain.cli.common import with_profile
from aiida_mbetrain.science.errors import UnreadableFile

FAMILIES = ("mace-mp", "mace-off")


@click.group("model")
def model() -> None:
    """Register and list MACE models."""


@model.command("import")
@click.argument("source", metavar="FILE|NAME")
@with_profile
def import_(source: str) -> None:
    """Register a model FILE, or download one of MACE's foundation models by NAME.

    NAME is mace-mp-SIZE or mace-off-SIZE, such as mace-off-small; MACE's own loader fetches it and shows its
    licence.  A model file is executable code: register only files you trust.
    """
    from aiida_mbetrain.data.mace_model import MaceModelData

    path = Path(source)
    is_name = not path.exists() and source.startswith(FAMILIES)
    node = MaceModelData.get_or_create(foundation_model(source) if is_name else path)
    click.echo(f"MaceModelData<{node.pk}>  {node.filename}  {', '.join(node.elements)}  sha256 {node.sha256[:16]}…")


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


def foundation_model(name: str) -> Path:
    """Path of a MACE foundation model, fetched by mace into its cache where it is not there yet.

    Raises UnreadableFile for an unknown name and where the download fails.
    """
    from mace.calculators import foundations_models as zoo

    family = next(prefix for prefix in FAMILIES if name.startswith(prefix))
    size = name.removeprefix(family).removeprefix("-") or "medium"
    urls = zoo.mace_mp_urls if family == "mace-mp" else zoo.mace_off_urls
    if size not in urls:
        raise UnreadableFile(f"{family} has no model {size!r}: take one of {', '.join(urls)}.")
    try:
        if family == "mace-mp":
            return Path(zoo.download_mace_mp_checkpoint(size))
        zoo.mace_off(size, device="cpu", return_raw_model=True)
        return Path(zoo.get_cache_dir()) / os.path.basename(urls[size])
    except (OSError, RuntimeError) as error:
        raise UnreadableFile(
            f"{name} could not be downloaded ({error}): fetch {urls[size]} where there is a network and "
            "import the file."
        ) from error
