"""Choose a number of diverse frames of finished runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aiida_mbetrain.cli.common import require_finished, with_profile
from aiida_mbetrain.cli.sources import is_campaign, processes_of

TRAITS = ("source", "temperature", "size", "orbit")

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.data.crystals import Nodes


@click.command("subsample")
@click.argument("processes", nargs=-1, required=True)
@click.option("-n", "--n-frames", type=click.IntRange(min=1), required=True, help="Frames to keep.")
@click.option(
    "--method",
    type=click.Choice(["farthest_point", "k_means", "random"]),
    default="farthest_point",
    show_default=True,
    help="How frames of a stratum are picked.",
)
@click.option(
    "--random-share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share picked by chance."
)
@click.option(
    "--stratify-by",
    type=click.Choice(TRAITS),
    multiple=True,
    default=TRAITS,
    show_default=True,
    help="What strata differ in; once for each.",
)
@click.option(
    "--allocation",
    type=click.Choice(["equal", "proportional"]),
    default="equal",
    show_default=True,
    help="The same number from every stratum, or the same share.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=42, show_default=True, help="Seed of the choice.")
@click.option("--crystal/--no-crystal", default=True, show_default=True, help="Choose from periodic frames.")
@click.option("--clusters/--no-clusters", default=True, show_default=True, help="Choose from clusters.")
@with_profile
def subsample(processes: tuple[str, ...], seed: int, crystal: bool, clusters: bool, **settings: object) -> None:
    """Keep a number of diverse frames of PROCESSES: pk or uuid of training sets or their sampling stages, or campaigns.

    Of a campaign name one crystal and model, as NAME/CRYSTAL/MODEL.

    The picked frames are stored as nodes of the same types, each with its rank and the reason of its pick.
    """
    from aiida_mbetrain.calculations.functions import subsampling

    chosen = [node for source in processes for node in _candidates(source)]
    inputs: Nodes = subsampling.subsample_inputs(chosen, crystal=crystal, clusters=clusters, rng_seed=seed, **settings)
    _, node = subsampling.subsample.run_get_node(**inputs)
    require_finished(node)
    _show(node)


def _candidates(source: str) -> list[Any]:
    """The process of a pk, or the sampling stages of a campaign."""
    from aiida_mbetrain.datasets.from_graph import STAGE_OF

    nodes = list(processes_of(source).values())
    if not is_campaign(source):
        return nodes
    return [node for node in nodes if STAGE_OF[node.process_label] != "quasi_harmonic"]


def _show(node: orm.CalcFunctionNode) -> None:
    from rich.console import Console
    from rich.table import Table

    report = node.outputs.report.get_dict()
    table = Table("stratum", "available", "picked")
    for name, counts in report["strata"].items():
        table.add_row(name, str(counts["available"]), str(counts["picked"]))
    console = Console()
    console.print(table)
    reasons = ", ".join(f"{count} {reason}" for reason, count in report["reasons"].items())
    repeated = f"; {report['n_repeated']} repeated frames left out" if report["n_repeated"] else ""
    console.print(f"{report['n_picked']} of {report['n_available']} frames: {reasons}{repeated}")
    console.print(f"subsample<{node.pk}>: " + ", ".join(f"{name}<{node.outputs[name].pk}>" for name in node.outputs))
