"""The stages of a run as a tree, with progress, rate and remaining time of its running jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.tree import Tree

from aiida_mbetrain.cli.common import load, with_profile
from aiida_mbetrain.cli.progress import STAGES, duration

if TYPE_CHECKING:
    from aiida import orm
    from aiida.transports import Transport

    from aiida_mbetrain.settings import JsonObject

SILENT_S = 120


@click.command("status")
@click.argument("node")
@click.option("--watch", is_flag=True, help="Refresh until the run has ended.")
@click.option("--interval", default=5.0, show_default=True, help="Seconds between refreshments.")
@with_profile
def status(node: str, watch: bool, interval: float) -> None:
    """Show the stages below NODE (pk or uuid of a process) and the progress of its running jobs."""
    from aiida import orm

    from aiida_mbetrain.errors import InvalidSettings

    process = load(node)
    if not isinstance(process, orm.ProcessNode):
        raise InvalidSettings(f"{node} is a {type(process).__name__}: give the pk or uuid of a process.")
    console = Console()
    with transports() as open_transport:
        if not watch:
            console.print(stage_tree(process, open_transport))
            return
        with Live(stage_tree(process, open_transport), console=console, auto_refresh=False) as live:
            while not process.is_terminated:
                time.sleep(interval)
                live.update(stage_tree(process, open_transport), refresh=True)


@contextmanager
def transports() -> Iterator[Callable[[orm.CalcJobNode], Transport]]:
    """Yield a function from a job to an open transport to its computer; transports stay open inside the block."""
    opened: dict[int | None, Transport] = {}

    def transport_of(job: orm.CalcJobNode) -> Transport:
        assert job.computer is not None
        key = job.computer.pk
        if key not in opened:
            opened[key] = job.get_authinfo().get_transport()
            opened[key].open()
        return opened[key]

    try:
        yield transport_of
    finally:
        for transport in opened.values():
            transport.close()


def stage_tree(process: orm.ProcessNode, transport_of: Callable[[orm.CalcJobNode], Transport]) -> Tree:
    """The process and those it called, each with its state."""
    tree = Tree(f"{process.process_label}<{process.pk}> {describe(process, transport_of)}")
    _grow(tree, process, transport_of)
    return tree


def _grow(tree: Tree, process: Any, transport_of: Callable[[orm.CalcJobNode], Transport]) -> None:
    from aiida.common import LinkType

    calls = (LinkType.CALL_CALC, LinkType.CALL_WORK)
    links = process.base.links.get_outgoing(link_type=calls).all()
    for link in sorted(links, key=lambda link: link.node.pk):
        child = link.node
        branch = tree.add(f"{link.link_label} <{child.pk}> {describe(child, transport_of)}")
        _grow(branch, child, transport_of)


def describe(process: orm.ProcessNode, transport_of: Callable[[orm.CalcJobNode], Transport]) -> str:
    """State of a process; of a running job also its progress."""
    from aiida import orm

    if process.is_terminated:
        if process.is_finished_ok:
            return "[green]finished[/]"
        reason = process.exit_message or process.exception or (process.process_state and process.process_state.value)
        status = "" if process.exit_status is None else escape(f" [{process.exit_status}]")
        return f"[red]failed{status}[/] {escape(' '.join(str(reason).split()))}"
    if not isinstance(process, orm.CalcJobNode):
        return f"[cyan]{'paused' if process.paused else 'running'}[/]"
    queue = process.get_scheduler_state()
    state = queue.value if queue is not None else "not submitted yet"
    found = _progress(process, transport_of) if process.get_remote_workdir() else None
    return f"[cyan]{state}[/]" + (f"  {describe_progress(found, time.time())}" if found else "")


def _progress(job: orm.CalcJobNode, transport_of: Callable[[orm.CalcJobNode], Transport]) -> JsonObject | None:
    from aiida_mbetrain.calculations.monitors import read_progress

    try:
        return read_progress(job, transport_of(job))
    except Exception as error:  # a transport fails in ways of its own; the rest of the tree is worth showing
        return {"unreachable": f"{type(error).__name__}: {error}"}


def describe_progress(progress: JsonObject, now: float) -> str:
    """One line of a progress.json: done, rate, remaining time, state of the dynamics, age if it is old.

    now: seconds since 1970.
    """
    if "unreachable" in progress:
        return f"[yellow]progress unknown ({escape(progress['unreachable'])})[/]"
    done, total, rate = progress["done"], progress["total"], progress["rate"]
    unit = STAGES.get(progress["stage"], (progress["stage"], "steps"))[1]
    parts = [f"{done:,} of {total:,} {unit}" + (f" ({100 * done / total:.0f} %)" if total else "")]
    if rate:
        parts += [f"{rate:,.3g} {unit}/s", f"{duration((total - done) / rate)} left"]
    if "n_running" in progress:
        parts.append(f"{progress['n_running']:,.0f} replicas")
    if "temperature_K" in progress:
        parts.append(f"{progress['temperature_K']:.0f} K")
    if "volume_A3" in progress:
        parts.append(f"{progress['volume_A3']:.1f} Å³")
    age = now - progress["time"]
    return ", ".join(parts) + (f" [yellow](silent for {duration(age)})[/]" if age > SILENT_S else "")
