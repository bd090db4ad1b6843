"""Rounds of active learning, from one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.campaign import daemon_runs, form_option, lists_refusals
from aiida_mbetrain.cli.common import stopping_in_order, with_profile

if TYPE_CHECKING:
    from rich.console import Console

    from aiida_mbetrain.rounds.state import State
    from aiida_mbetrain.settings import JsonObject

COLUMNS = {
    "round": "round",
    "labels": "labels",
    "cost": "cost",
    "error_meV_per_molecule": "error\nmeV/molecule",
    "uncertainty_meV_per_molecule": "uncertainty\nmeV/molecule",
    "test_error_over_uncertainty": "error /\nuncertainty",
    "sum": "baseline\n+ delta",
}
"""Key of a row -> heading."""


@click.command("improve")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--status", is_flag=True, help="Show the rounds that are finished; start nothing.")
@click.option("--here", is_flag=True, help="In this process, even where a daemon runs.")
@form_option
@stopping_in_order
@lists_refusals
@with_profile
def improve(file: Path, status: bool, here: bool, form: str) -> None:
    """Improve a delta model in rounds, as the FILE says: sample, choose and label clusters, train, judge.

    The rounds go on until the target error is reached, the uncertainty no longer falls or max_rounds are done; through
    the daemon where it runs, else in this process.  The same command goes on after an interruption: what is finished,
    and every label that the profile has, is used.
    """
    from aiida.manage.caching import enable_caching
    from rich.console import Console

    from aiida_mbetrain.calculations.functions.interruption import Interruption, current
    from aiida_mbetrain.cli.progress import progress_bars
    from aiida_mbetrain.cli.run import STEPS
    from aiida_mbetrain.rounds.inputs import prepare
    from aiida_mbetrain.rounds.run import run_here, running_graph, submit
    from aiida_mbetrain.rounds.state import state_of

    console = Console()
    state = state_of(prepare(file))
    if not status and not state.reason:
        if not here and daemon_runs():
            node = submit(state)
            console.print(f"submitted {node.process_label}<{node.pk}>", highlight=False)
        else:
            (current() or Interruption()).running = True
            with progress_bars(console), enable_caching(identifier=STEPS):
                state = run_here(state, lambda number: console.print(f"round {number}", highlight=False))
    running = running_graph(state.rounds.settings)
    if form == "json":
        click.echo(json.dumps({"rounds": rows_of(state), "reason_to_stop": state.reason}, indent=2))
    else:
        show_rounds(console, state, "" if running is None else f"{running.process_label}<{running.pk}> is running")


def rows_of(state: State) -> list[JsonObject]:
    """Facts of every finished round; labels and cost are those of all rounds so far."""
    rows: list[JsonObject] = []
    for node, summary in zip(state.finished, state.summaries, strict=True):
        cost = summary["cost"] + (rows[-1]["cost"] if rows else 0.0)
        labels = sum(summary["n_labels"].values())
        rows.append(summary | {"labels": labels, "cost": cost, "sum": node.outputs.sum.pk, "pk": node.pk})
    return rows


def show_rounds(console: Console, state: State, running: str) -> None:
    """A table of the finished rounds, and why they stop or what runs."""
    from rich.markup import escape
    from rich.table import Table

    settings = state.rounds.settings
    title = escape(f"{settings.name}: {settings.reference.name}")
    table = Table(*COLUMNS.values(), title=title, title_justify="left", box=None)
    for row in rows_of(state):
        table.add_row(*(_cell(row[key]) for key in COLUMNS))
    console.print(table, highlight=False)
    console.print(f"stopped: {state.reason}" if state.reason else running or "not finished", highlight=False)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
