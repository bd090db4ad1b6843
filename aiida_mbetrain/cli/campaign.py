"""Training sets of many crystals, models, temperatures and pressures, from one file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aiida_mbetrain.cli.common import with_profile
from aiida_mbetrain.science.errors import InvalidCampaign

if TYPE_CHECKING:
    from aiida_mbetrain.campaigns.costs import Row
    from aiida_mbetrain.campaigns.plan import Plan
    from aiida_mbetrain.campaigns.settings import CampaignSettings

campaign_file = click.argument("file", type=click.Path(path_type=Path))


def lists_refusals(function: Callable[..., Any]) -> Callable[..., Any]:
    """Print every refusal of a campaign on a line of its own before the error that counts them."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InvalidCampaign as error:
            for line in error.refusals:
                click.echo(" ".join(line.split()), err=True)
            raise click.ClickException(f"{len(error.refusals)} refused; nothing was started.") from error

    return wrapped


@click.group("campaign")
def campaign() -> None:
    """Make training sets of many crystals and conditions, and one dataset of all."""


@campaign.command("plan")
@campaign_file
@click.option("--ms-per-atom", type=float, help="Milliseconds of an evaluation per atom [measured here].")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@lists_refusals
def plan(file: Path, ms_per_atom: float | None, form: str) -> None:
    """Show the members of the campaign FILE, what they share and what they cost; start nothing.

    A profile is needed only where the file names nodes.
    """
    from aiida_mbetrain.campaigns.costs import Speed, cost_rows, estimate_plan, measure, total_row
    from aiida_mbetrain.campaigns.plan import make_plan
    from aiida_mbetrain.campaigns.settings import read_campaign

    settings = read_campaign(file)
    made = make_plan(settings, *sources_of(settings, file.parent))
    sizes = estimate_plan(made)
    if ms_per_atom is None:
        speeds = measure(made, sizes)
    else:
        speeds = {model: Speed(ms_per_atom / 1e3) for model in settings.models}
    rows = cost_rows(made, sizes, speeds)
    if form == "json":
        facts = {
            "name": made.name,
            "members": [{"member": m.name, "stages": {s.name: s.key for s in m.stages}} for m in made.members],
            "costs": rows,
            "total": total_row(rows),
            "milliseconds_per_atom": {model: speed.seconds_per_atom * 1e3 for model, speed in speeds.items()},
        }
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print_plan(made, [*rows, total_row(rows)])


def sources_of(settings: CampaignSettings, folder: Path) -> tuple[Any, Any]:
    """Crystals and models of a campaign; loads the profile where they are nodes."""
    from aiida_mbetrain.campaigns.sources import needs_profile, read_sources

    read: Callable[..., tuple[Any, Any]] = read_sources
    return (with_profile(read) if needs_profile(settings, folder) else read)(settings, folder)


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
