"""Provenance queries on the profile or on a dataset file alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli import sources
from aiida_mbetrain.errors import InvalidSettings

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.datasets.inspection import Facts, Row

form = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How the answer is printed.",
)


@click.group("query")
def query() -> None:
    """Query the origin of data and the data made from them."""


@query.command("datasets")
@click.argument("file", required=False)
@click.option("--model", help="Made with this model: pk, uuid or sha256.")
@click.option("--structure", help="Made from this crystal: pk or uuid.")
@form
def datasets(file: str | None, model: str | None, structure: str | None, form: str) -> None:
    """List the training sets and stages of the profile, or the sections of FILE."""
    if file is not None:
        from aiida_mbetrain.datasets.inspection import file_datasets

        if model or structure:
            raise InvalidSettings("--model and --structure choose from the profile: leave FILE out.")
        if not sources.is_file(file):
            raise InvalidSettings(f"{file} is no file: without FILE the profile is asked.")
        return show_rows(file_datasets(file), form)
    return show_rows(_datasets_of_profile(model, structure), form)


@query.command("origin")
@click.argument("source")
@click.argument("place", metavar="[ENTRY] FRAME", nargs=-1, required=True)
@form
def origin(source: str, place: tuple[str, ...], form: str) -> None:
    """Show the origin of a frame: FILE ENTRY FRAME, or the pk of a cluster set or trajectory and FRAME."""
    *entries, number = place
    if len(entries) > 1 or not number.isdigit():
        raise InvalidSettings(f"{' '.join(place)}: give FILE ENTRY FRAME or PK FRAME, frames counted from 0.")
    entry, frame = (entries[0] if entries else None), int(number)
    if sources.is_file(source):
        from aiida_mbetrain.datasets.inspection import file_origin

        if entry is None:
            raise InvalidSettings(f"{source} is a file: give FILE ENTRY FRAME.")
        return show_facts(file_origin(source, entry, frame), form)
    if entry is not None:
        raise InvalidSettings(f"{source} is a node: give its pk and FRAME only, without {entry!r}.")
    from aiida_mbetrain import provenance

    return show_facts(provenance.origin_of(sources.load_node(source), frame), form)


@query.command("frames")
@click.argument("source")
@click.argument("trajectory", required=False)
@form
def frames(source: str, trajectory: str | None, form: str) -> None:
    """Show the data made from the frames of a trajectory: its pk, or FILE and a section of it."""
    if sources.is_file(source):
        from aiida_mbetrain.datasets.inspection import file_destinations

        if trajectory is None:
            raise InvalidSettings(f"{source} is a file: give FILE and the section, as `query datasets FILE` lists it.")
        return show_rows(file_destinations(source, trajectory), form)
    from aiida_mbetrain import provenance

    return show_rows(provenance.destinations_of(sources.load_node(source)), form)


@query.command("unlabelled")
@click.argument("source")
@click.argument("method")
@form
def unlabelled(source: str, method: str, form: str) -> None:
    """Show the clusters of SOURCE (pk or uuid of a run, or a file) that lack labels of the reference METHOD.

    METHOD is the name of the labels, such as GFN2-xTB[order=2]; of a run also the pk of `reference run`.
    """
    from aiida_mbetrain.datasets.inspection import unlabelled as rows_of

    if sources.is_file(source):
        return show_rows(rows_of(sources.read_source(source), method), form)
    from aiida_mbetrain.datasets.from_graph import dataset_of, with_references

    stages = sources.stages_of_node(sources.load_node(source))
    dataset = with_references(dataset_of(stages), stages, [method], required=False)
    found = {name for by_method in dataset.references.values() for name in by_method}
    return show_rows(rows_of(dataset, found.pop() if found else method), form)


@query.command("diff")
@click.argument("first")
@click.argument("second")
@form
def diff(first: str, second: str, form: str) -> None:
    """Show the differences between two datasets: sections, settings, model, crystal, content, versions.

    Each is the pk or uuid of a run, or a file.  A run and a file are compared by the facts that both record.
    """
    from aiida_mbetrain.datasets.inspection import differences

    show_rows(differences(_facts(first), _facts(second)), form, empty="No difference.")


def _facts(source: str) -> Facts:
    if sources.is_file(source):
        from aiida_mbetrain.datasets.inspection import file_facts

        return file_facts(source)
    from aiida import orm

    from aiida_mbetrain import provenance

    node = sources.load_node(source)
    if not isinstance(node, orm.WorkChainNode):
        raise InvalidSettings(f"<{node.pk}> is a {type(node).__name__}: give a training set, a stage or a file.")
    return provenance.facts_of(node)


@sources.in_profile
def _datasets_of_profile(model: str | None, structure: str | None) -> list[Row]:
    from aiida_mbetrain import provenance

    return provenance.datasets(
        model=None if model is None else _model(model), structure=None if structure is None else _structure(structure)
    )


def _model(identifier: str) -> orm.Node:
    from aiida import orm

    from aiida_mbetrain.data.mace_model import MaceModelData
    from aiida_mbetrain.data.sum_model import SumModelData

    node = MaceModelData.of_digest(identifier) or sources.load_node(identifier)
    calculator = isinstance(node, orm.Dict) and "name" in node.get_dict()
    if not calculator and not isinstance(node, MaceModelData | SumModelData):
        raise InvalidSettings(
            f"--model {identifier} is a {type(node).__name__}, not a MaceModelData or a Dict that names a calculator."
        )
    return node


def _structure(identifier: str) -> orm.StructureData:
    from aiida import orm

    node = sources.load_node(identifier)
    if not isinstance(node, orm.StructureData):
        raise InvalidSettings(f"--structure {identifier} is a {type(node).__name__}, not a StructureData.")
    return node


def show_facts(facts: Row, form: str) -> None:
    """Print one record: name and value per line, or one JSON object."""
    if form == "json":
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        show_rows([{"fact": name, "value": value} for name, value in facts.items()], form)


def show_rows(rows: Sequence[dict[str, object]], form: str, *, empty: str = "Nothing found.") -> None:
    """Print several records as a table, JSON or CSV; JSON and CSV keep every digit."""
    if form == "json":
        click.echo(json.dumps(list(rows), indent=2, ensure_ascii=False))
    elif form == "csv":
        click.echo(_csv(rows), nl=False)
    elif not rows:
        click.echo(empty)
    else:
        _print_table(rows)


def _csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value, str) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object, number: Callable[[float], str]) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return number(value) if isinstance(value, float) else str(value)


def _short(name: str, text: str) -> str:
    """The first characters of a digest, for tables; JSON and CSV have all of it."""
    return text[:8] if name.endswith(("uuid", "sha256", "dataset")) else text


def _print_table(rows: Sequence[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(Text(_short(name, _cell(value, lambda x: f"{x:g}"))) for name, value in row.items()))
    console = Console()
    Console(width=max(console.width, 160) if not console.is_terminal else None).print(table)
