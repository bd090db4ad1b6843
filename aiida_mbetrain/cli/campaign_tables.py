"""Tables of campaigns: what a plan costs, and the state of every stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, Group

    from aiida_mbetrain.campaigns.costs import Row
    from aiida_mbetrain.campaigns.plan import Plan
    from aiida_mbetrain.campaigns.state import StageState

COLOURS = {"finished": "green", "running": "cyan", "failed": "red", "blocked": "yellow", "interrupted": "yellow"}


def print_plan(plan: Plan, rows: list[Row]) -> None:
    """A table of crystals and models, the last row their sum."""
    from rich.console import Console
    from rich.table import Table

    headings = {
        "crystal": "crystal", "model": "model", "formula": "formula", "members": "members",
        "quasi_harmonic": "force\nconstants", "phonon_sampling": "phonon\nsampling", "md_sampling": "dynamics",
        "atoms_per_supercell": "atoms per\nsupercell", "evaluations": "evaluations", "frames": "frames",
        "clusters": "clusters", "hours": "hours", "peak_memory_bytes": "peak\nmemory", "stored_bytes": "stored",
    }  # fmt: skip
    table = Table(title=f"{plan.name}: {len(plan.members)} members, {len(plan.stages)} stages", box=None)
    for name, heading in headings.items():
        table.add_column(heading, justify="left" if name in ("crystal", "model", "formula") else "right")
    for row in rows:
        table.add_row(*(_cell(name, row[name]) for name in headings), end_section=row is rows[-2])
    console = Console()
    Console(width=max(console.width, 160) if not console.is_terminal else None).print(table)


def _cell(name: str, value: Any) -> str:
    from rich import filesize

    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return filesize.decimal(value)
    return f"{value:,.2f}" if name == "hours" else f"{value:,}" if isinstance(value, int) else str(value)


def status_table(name: str) -> tuple[Group, dict[str, StageState]]:
    """A table of crystals and conditions, with the failures below it; and the states behind it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    from aiida_mbetrain.campaigns.progress import rate
    from aiida_mbetrain.campaigns.state import counts, recorded_states

    made, states = recorded_states(name)
    summary = ", ".join(f"{number} {state}" for state, number in counts(states.values()).items())
    speed = rate(made, states)
    if speed is not None:
        summary += f"; {speed.stages_per_hour:.3g} stages/h, about {time_text(speed.seconds_left)} left"
    table = Table(
        "member", "force constants", "phonon sampling", "dynamics", title=f"{name}: {summary}", title_justify="left",
        box=None,
    )  # fmt: skip
    for member in made.members:
        found = [states[stage.name] for stage in member.stages]
        table.add_row(member.name, *map(_mark, found))
    reasons = [
        f"{escape(stage)}{f' <{state.pk}>' if state.pk else ''}: {escape(state.reason)}"
        for stage, state in states.items()
        if state.reason
    ]
    return Group(table, *reasons, *graph_notes(name, states)), states


def time_text(seconds: float) -> str:
    """``2 h 5 min``, ``40 s``."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if seconds >= 60 else f"{seconds:.0f} s"


def graph_notes(name: str, states: dict[str, StageState]) -> list[str]:
    """A line where the newest graph ended and left stages unstarted."""
    from aiida_mbetrain.campaigns.state import MISSING, graphs_of

    graph = next(iter(graphs_of(name)), None)
    unstarted = sum(state.state == MISSING for state in states.values())
    if graph is None or not graph.is_terminated or not unstarted:
        return []
    return [
        f"{graph.process_label}<{graph.pk}> ended and left {unstarted} stages unstarted: see `verdi process report "
        f"{graph.pk}`; after an update of the plugin, `verdi daemon restart`; then run the campaign again."
    ]


def _mark(state: StageState) -> str:
    from aiida_mbetrain.campaigns.progress import place
    from aiida_mbetrain.campaigns.state import RUNNING

    word = f"{state.state} <{state.pk}>" if state.pk else state.state
    if state.state == RUNNING and state.pk is not None:
        word += f" on {place(state.pk)}"
    return f"[{COLOURS[state.state]}]{word}[/]" if state.state in COLOURS else word


def show_status(console: Console, name: str) -> None:
    """Print the table of a campaign."""
    from rich.console import Console

    wide = console if console.is_terminal else Console(width=160)
    wide.print(status_table(name)[0], highlight=False, soft_wrap=True)
