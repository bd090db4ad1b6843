"""Training sets of many crystals, models, temperatures and pressures, from one file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from aiida_mbetrain.cli.campaign_tables import print_plan, show_status, status_table
from aiida_mbetrain.cli.common import database_is_locked, with_profile
from aiida_mbetrain.errors import InvalidCampaign

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.campaigns.settings import CampaignSettings
    from aiida_mbetrain.campaigns.sources import Crystal, Model

P = ParamSpec("P")
T = TypeVar("T")

form_option = click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="Form of the answer.",
)  # fmt: skip
campaign_file = click.argument("file", type=click.Path(path_type=Path))


def lists_refusals(function: Callable[P, T]) -> Callable[P, T]:
    """Print every refusal of a campaign on a line of its own before the error that counts them."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
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
@form_option
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


def sources_of(settings: CampaignSettings, folder: Path) -> tuple[list[Crystal], list[Model]]:
    """Crystals and models of a campaign; loads the profile where they are nodes."""
    from aiida_mbetrain.campaigns.reading import needs_profile, read_sources

    read: Callable[[CampaignSettings, Path], tuple[list[Crystal], list[Model]]] = read_sources
    return (with_profile(read) if needs_profile(settings, folder) else read)(settings, folder)


@campaign.command("run")
@campaign_file
@click.option("--here", is_flag=True, help="In this process, one stage after another, even where a daemon runs.")
@lists_refusals
@with_profile
def run(file: Path, here: bool) -> None:
    """Start what is missing of the campaign FILE: through the daemon, or without one in this process.

    What is finished, also by single runs and by other campaigns, is used; the same command goes on after an
    interruption.  What has failed is left to `campaign retry`.
    """
    from aiida_mbetrain.campaigns.run import prepare

    made, *_ = prepare(file)
    start(made.name, here=here)


def start(name: str, *, here: bool, failed: bool = False) -> None:
    """Start the missing stages of a recorded campaign; with ``failed`` also those that failed."""
    from rich.console import Console

    from aiida_mbetrain.campaigns.record import group_of, read_record
    from aiida_mbetrain.campaigns.run import run_here, submit_campaign
    from aiida_mbetrain.campaigns.state import FINISHED, counts, stage_states, to_start
    from aiida_mbetrain.cli.progress import progress_bars

    console, group = Console(), group_of(name)
    record = read_record(group)
    assert record is not None
    made = record.plan()
    states = stage_states(made)
    used = [state.pk for state in states.values() if state.state == FINISHED]
    add_to_group(group, used)
    wanted = to_start(states, failed=failed)
    summary = ", ".join(f"{number} {state}" for state, number in counts(states.values()).items())
    console.print(f"{name}: {len(made.members)} members, {len(states)} stages: {summary}", highlight=False)
    if not wanted:
        console.print("nothing to start")
    elif not here and daemon_runs():
        node = submit_campaign(made, record, group, states, wanted)
        console.print(f"submitted {len(wanted)} stages as {node.process_label}<{node.pk}>", highlight=False)
        console.print(f"follow them:  aiida-mbetrain campaign status {name} --watch", highlight=False)
    else:
        with progress_bars(console):
            run_here(
                made,
                record,
                group,
                states,
                wanted,
                lambda number, total, stage: console.print(f"stage {number} of {total}: {stage.name}", highlight=False),
            )
        show_status(console, name)


def daemon_runs() -> bool:
    """True where the loaded profile has a daemon, and it runs."""
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage import get_manager

    profile = get_manager().get_profile()
    has_broker = profile is not None and profile.process_control_backend is not None
    return has_broker and bool(get_daemon_client().is_daemon_running)


def add_to_group(group: orm.Group, pks: list[int | None]) -> None:
    """Add the nodes that a campaign uses to its group, so that an archive of the group has them."""
    from aiida import orm

    query = orm.QueryBuilder().append(orm.ProcessNode, filters={"id": {"in": pks or [-1]}})
    group.add_nodes(query.all(flat=True))


@campaign.command("status")
@click.argument("name")
@click.option("--watch", is_flag=True, help="Refresh until nothing runs.")
@click.option("--interval", default=10.0, show_default=True, help="Seconds between refreshments.")
@form_option
@with_profile
def status(name: str, watch: bool, interval: float, form: str) -> None:
    """Show the state of every stage of the campaign NAME, and why the failed ones failed."""
    import time

    from rich.console import Console
    from rich.live import Live

    from aiida_mbetrain.campaigns.state import RUNNING, SCHEDULED, recorded_states

    console = Console()
    if form == "json":
        _, states = recorded_states(name)
        rows = [{"stage": stage, **vars(state)} for stage, state in states.items()]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not watch:
        show_status(console, name)
    else:
        table, states = status_table(name)
        with Live(table, console=console, auto_refresh=False) as live:
            while any(state.state in (RUNNING, SCHEDULED) for state in states.values()):
                time.sleep(interval)
                try:
                    table, states = status_table(name)
                except Exception as error:  # the class of it is SQLAlchemy's, which is AiiDA's affair
                    if not database_is_locked(error):
                        raise
                    continue  # the next refreshment asks again
                live.update(table, refresh=True)


@campaign.command("retry")
@click.argument("name")
@click.option("--override", help="YAML file {section: {field: value}} for the stages that failed.")
@click.option("--here", is_flag=True, help="In this process, even where a daemon runs.")
@lists_refusals
@with_profile
def retry(name: str, override: str | None, here: bool) -> None:
    """Run again what failed of the campaign NAME, with other settings if given."""
    from dataclasses import replace

    from aiida_mbetrain.campaigns.costs import estimate_plan
    from aiida_mbetrain.campaigns.record import group_of, read_record, write_record
    from aiida_mbetrain.campaigns.state import FAILED, recorded_states
    from aiida_mbetrain.cli.run import merged_overrides
    from aiida_mbetrain.workflows.protocols import merge

    _, states = recorded_states(name)
    failed = [stage for stage, state in states.items() if state.state == FAILED]
    changes = merged_overrides(override, None, None)
    if failed and changes:
        group = group_of(name)
        record = read_record(group)
        assert record is not None
        repairs = {stage: merge(record.repairs.get(stage, {}), changes) for stage in failed}
        repaired = replace(record, repairs=record.repairs | repairs)
        estimate_plan(repaired.plan())
        write_record(group, repaired)
    start(name, here=here, failed=True)


@campaign.command("cancel")
@click.argument("name")
@with_profile
def cancel(name: str) -> None:
    """Kill all that runs of the campaign NAME in the daemon; `campaign run` goes on later."""
    from aiida.engine.processes import control

    from aiida_mbetrain.campaigns.record import group_of
    from aiida_mbetrain.campaigns.state import graphs_of

    group_of(name)
    graphs = graphs_of(name, unfinished=True)
    if not graphs:
        click.echo("nothing runs")
        return
    control.kill_processes(graphs, timeout=60)
    click.echo(f"killed {', '.join(f'{graph.process_label}<{graph.pk}>' for graph in graphs)}")


@campaign.command("export")
@click.argument("name")
@click.option("-o", "--output", default="campaign.hdf5", show_default=True, help="File to write, or to append to.")
@click.option("--no-provenance", is_flag=True, help="Leave uuids and versions out.")
@click.option("--float32", is_flag=True, help="Features, forces and velocities in single precision.")
@click.option("--compression", type=int, help="Level of gzip, 1 (fast) to 9 [none].")
@click.option("--reference", "references", multiple=True, metavar="METHOD",
              help="Add labels of `reference run`: their name, its pk, or all; may be repeated.")  # fmt: skip
@with_profile
def export(
    name: str,
    output: str,
    no_provenance: bool,
    float32: bool,
    compression: int | None,
    references: tuple[str, ...],
) -> None:
    """Write what is finished of the campaign NAME to one file; again later, append what is new."""
    from aiida_mbetrain.campaigns.export import export_campaign, member_state
    from aiida_mbetrain.campaigns.state import recorded_states
    from aiida_mbetrain.datasets.hdf5 import Storage

    storage = Storage(float32=float32, compression=compression)
    made, states = recorded_states(name)
    new = export_campaign(output, made, states, references=references, provenance=not no_provenance, storage=storage)
    finished = sum(member_state(member, states)[0] == "finished" for member in made.members)
    click.echo(f"{Path(output).resolve()}  {finished} of {len(made.members)} members, {len(new)} new stages")
