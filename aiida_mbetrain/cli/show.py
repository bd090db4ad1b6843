"""Content of a node of this plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from aiida_mbetrain.cli.common import load, with_profile
from aiida_mbetrain.cli.verdicts import print_verdicts

if TYPE_CHECKING:
    from aiida import orm


@click.command("show")
@click.argument("node")
@with_profile
def show(node: str) -> None:
    """Show NODE (pk or uuid): a model, molecules, force constants, clusters, a trajectory, or a training set."""
    from aiida import orm

    found = load(node)
    console = Console(soft_wrap=True)
    console.print(f"[bold]{type(found).__name__}<{found.pk}>[/]  {found.uuid}")
    if isinstance(found, orm.ProcessNode):
        _print_process(console, found)
    else:
        _print_data(console, found)


def _print_data(console: Console, node: orm.Node) -> None:
    from aiida import orm

    creator = node.creator
    if creator is not None:
        console.print(f"made by {creator.process_label}<{creator.pk}>")
    table = Table(box=None, show_header=False)
    arrays = {}
    for name, value in sorted(node.base.attributes.all.items()):
        if name.startswith("array|"):
            arrays[name.removeprefix("array|")] = value
        else:
            table.add_row(name, str(value))
    console.print(table)
    if isinstance(node, orm.ArrayData) and arrays:
        shapes = Table("array", "shape", box=None)
        for name, shape in arrays.items():
            shapes.add_row(name, " x ".join(map(str, shape)) or "scalar")
        console.print(shapes)


def _print_process(console: Console, node: orm.ProcessNode) -> None:
    state = node.process_state.value if node.process_state else "created"
    outcome = "" if node.exit_status is None else f", exit status {node.exit_status}"
    console.print(f"{node.process_label}: {state}{outcome}" + (f": {node.exit_message}" if node.exit_message else ""))
    table = Table("output", "node", box=None)
    for link in node.base.links.get_outgoing().all():
        if link.link_type.value in ("create", "return"):
            table.add_row(link.link_label.replace("__", "."), f"{type(link.node).__name__}<{link.node.pk}>")
    console.print(table)
    if "verdicts" in node.outputs:
        print_verdicts(console, node.outputs.verdicts.get_list())
