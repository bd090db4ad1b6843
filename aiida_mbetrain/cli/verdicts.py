"""Verdicts on a dataset in the terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli import sources

if TYPE_CHECKING:
    from rich.console import Console

    from aiida_mbetrain.datasets.inspection import VerdictFacts


@click.command("verdicts")
@click.argument("source")
@click.option("--json", "as_json", is_flag=True, help="A list of {name, passed, value, advice, section}.")
def verdicts(source: str, as_json: bool) -> None:
    """Judge SOURCE (pk or uuid of a run, or an HDF5 file): what passed, and what to do about the rest.

    Equilibration, independent frames, conserved energy, residual forces, imaginary modes, molecules, and whether
    dynamics and phonons cover the same region of feature space.
    """
    from rich.console import Console

    from aiida_mbetrain.datasets.inspection import verdicts as judged

    found = [verdict.facts() for verdict in judged(sources.read_source(source, partial=not sources.is_file(source)))]
    if as_json:
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print_verdicts(Console(), found)


def print_verdicts(console: Console, found: Sequence[VerdictFacts]) -> None:
    """Print verdicts by section, with the remedy below each that has not passed."""
    from rich.markup import escape
    from rich.table import Table

    n_passed = sum(verdict["passed"] for verdict in found)
    console.print(f"\n[bold]Verdicts[/]: {n_passed} of {len(found)} passed", highlight=False)
    for section in dict.fromkeys(verdict["section"] for verdict in found):
        table = Table(box=None, show_header=False, padding=(0, 1), title_justify="left")
        for verdict in (one for one in found if one["section"] == section):
            mark = "[green]✓[/]" if verdict["passed"] else "[yellow]![/]"
            table.add_row(mark, verdict["name"], escape(verdict["value"]))
            if not verdict["passed"]:
                table.add_row("", "", f"[yellow]→ {escape(verdict['advice'])}[/]")
        console.print(escape(section or "all"), style="dim", highlight=False)
        console.print(table, highlight=False)
