"""Errors of delta models on held-out frames."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import require_finished, with_profile
from aiida_mbetrain.cli.sources import load_node
from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput

if TYPE_CHECKING:
    from aiida import orm
    from rich.console import Console

    from aiida_mbetrain.science.tables import Table
    from aiida_mbetrain.settings import JsonObject

SHOWN = {
    "energy_rmse_meV_per_molecule": "meV/molecule",
    "energy_rmse_meV_per_atom": "meV/atom",
    "interaction_rmse_kJ_per_mol": "interaction kJ/mol",
    "force_rmse_meV_per_A": "force meV/Å",
}
"""Column of the errors -> heading on the terminal."""
CHAIN = "DeltaModelWorkChain"


@click.command("evaluate")
@click.argument("process")
@click.option("--subset", type=click.Choice(["test", "valid", "train"]), default="test", show_default=True,
              help="Part of the split.")  # fmt: skip
@click.option("-o", "--output", help="Folder for errors.csv, errors.json, predictions.csv and parity.png.")
@with_profile
def evaluate(process: str, subset: str, output: str | None) -> None:
    """Judge the delta model of PROCESS (pk or uuid of a `train`) on frames that it has not seen.

    Errors are root mean squares, beside those of the baseline alone, of baseline plus constant, and of a ridge
    regression on the features; by size, source and section of the dataset.
    """
    from rich.console import Console

    node = evaluate_model(load_node(process), subset)
    errors, facts = node.outputs.errors.to_science(), node.outputs.summary.get_dict()
    console = Console()
    show_errors(console, errors, facts)
    console.print(f"evaluation<{node.pk}>")
    if output is not None:
        for path in write_evaluation(Path(output), errors, node.outputs.predictions.to_science(), facts):
            console.print(str(path.resolve()), highlight=False, soft_wrap=True)


def evaluate_model(chain: orm.Node, subset: str) -> orm.ProcessNode:
    """The evaluation of a trained model, stored once.  Raises InvalidSettings, MbetrainError."""
    from aiida import orm
    from aiida.manage.caching import enable_caching

    from aiida_mbetrain.calculations.functions.training import evaluation

    if not isinstance(chain, orm.WorkChainNode) or chain.process_label != CHAIN or "model" not in chain.outputs:
        name = type(chain).__name__
        raise InvalidSettings(f"{name}<{chain.pk}> has trained no delta model: give the {CHAIN} that `train` printed.")
    with enable_caching():
        _, node = evaluation.run_get_node(
            frames=chain.inputs.frames,
            delta=chain.outputs.model,
            baseline=chain.inputs.baseline,
            settings=orm.Dict({"subset": subset}),
        )
    require_finished(node)
    return node


def show_errors(console: Console, errors: Table, facts: JsonObject) -> None:
    """The errors as a table; groups that are all frames again are left out."""
    from rich.table import Table as Printed

    console.print(
        f"errors against {facts['level_of_theory']} of {facts['n_frames']} frames of the {facts['subset']} set (RMSE)",
        highlight=False,
        markup=False,
    )
    printed = Printed("frames", "", "model", *SHOWN.values())
    for row in range(len(errors["model"])):
        group, n_frames = str(errors["group"][row]), int(errors["n_frames"][row])
        if group != "all" and n_frames == facts["n_frames"]:
            continue
        values = (float(errors[name][row]) for name in SHOWN)
        text = ("-" if value != value else f"{value:.4g}" for value in values)
        printed.add_row(group, str(n_frames), str(errors["model"][row]), *text)
    console.print(printed)


def write_evaluation(folder: Path, errors: Table, predictions: Table, facts: JsonObject) -> list[Path]:
    """Write the tables and the picture.  Raises UnwritableOutput."""
    from aiida_mbetrain.pictures import parity_picture, save

    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [_write_csv(folder / "errors.csv", errors), _write_csv(folder / "predictions.csv", predictions)]
        columns = {name: [None if value != value else value for value in column.tolist()]
                   for name, column in errors.columns.items()}  # fmt: skip
        paths.append(folder / "errors.json")
        paths[-1].write_text(json.dumps(facts | {"errors": columns}, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be written: {error.strerror or error}.") from error
    picture = parity_picture(predictions, level_of_theory=facts["level_of_theory"])
    return [*paths, save(picture, folder / "parity.png")]


def _write_csv(path: Path, table: Table) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*(column.tolist() for column in table.columns.values()), strict=True))
    return path
