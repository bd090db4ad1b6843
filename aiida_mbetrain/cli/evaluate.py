"""Errors of trained models on held-out frames."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aiida_mbetrain.cli.common import with_profile
from aiida_mbetrain.cli.sources import load_node
from aiida_mbetrain.cli.trainings import evaluate_model, learning_curve_of, other_models, require_training
from aiida_mbetrain.errors import UnwritableOutput

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


@click.command("evaluate")
@click.argument("process")
@click.option("--subset", type=click.Choice(["test", "valid", "train"]), default="test", show_default=True,
              help="Part of the split.")  # fmt: skip
@click.option("-o", "--output", help="Folder for tables (errors, predictions, learning curve) and pictures.")
@with_profile
def evaluate(process: str, subset: str, output: str | None) -> None:
    """Judge the model of PROCESS (pk or uuid of a `train`) on frames that it has not seen.

    Errors are root mean squares, beside those of the baseline alone, of baseline plus constant, and of a ridge
    regression on the features; by size, source, temperature, crystal, section and closest contact; and against the
    size of the training set, for the trained model where `train --learning-curve` has trained on parts of it.
    Of a training on several methods each is judged; tables of all but the first go into folders named after the heads.
    """
    from rich.console import Console

    chain = require_training(load_node(process))
    console = Console()
    for head in (None, *dict(other_models(chain))):
        node = evaluate_model(chain, subset, head)
        curve = learning_curve_of(chain, node, subset)
        show_errors(console, node.outputs.errors.to_science(), node.outputs.summary.get_dict())
        show_learning_curve(console, curve.to_science())
        console.print(f"evaluation<{node.pk}>, learning curve TableData<{curve.pk}>")
        if output is not None:
            for path in write_evaluation(Path(output) / (head or ""), node, curve.to_science()):
                console.print(str(path.resolve()), highlight=False, soft_wrap=True)


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
        text = (_text(float(errors[name][row])) for name in SHOWN)
        printed.add_row(group, str(n_frames), str(errors["model"][row]), *text)
    console.print(printed)


def show_learning_curve(console: Console, curve: Table) -> None:
    """Errors against the number of training frames, as a table; baseline and constant stand in the table above."""
    from rich.table import Table as Printed

    rows = [row for row, model in enumerate(curve["model"]) if model not in ("baseline", "constant")]
    console.print("learning curve (RMSE of all frames)", highlight=False)
    printed = Printed("training frames", "part", "model", *SHOWN.values())
    for row in rows:
        numbers = [f"{curve['n_frames'][row]}", f"{curve['fraction'][row]:.0%}", str(curve["model"][row])]
        printed.add_row(*numbers, *(_text(float(curve[name][row])) for name in SHOWN))
    console.print(printed)


def _text(value: float) -> str:
    return "-" if value != value else f"{value:.4g}"


def write_evaluation(folder: Path, evaluated: orm.ProcessNode, curve: Table) -> list[Path]:
    """Write the tables and the pictures.  Raises UnwritableOutput."""
    from aiida_mbetrain.pictures import learning_curve_picture, parity_picture, save

    outputs = evaluated.outputs
    errors, predictions, forces = (outputs[name].to_science() for name in ("errors", "predictions", "forces"))
    facts = outputs.summary.get_dict()
    tables = {"errors": errors, "predictions": predictions, "learning_curve": curve}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [_write_csv(folder / f"{name}.csv", table) for name, table in tables.items()]
        columns = {name: [None if value != value else value for value in column.tolist()]
                   for name, column in errors.columns.items()}  # fmt: skip
        paths.append(folder / "errors.json")
        paths[-1].write_text(json.dumps(facts | {"errors": columns}, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be written: {error.strerror or error}.") from error
    parity = parity_picture(predictions, forces, level_of_theory=facts["level_of_theory"])
    learned = learning_curve_picture(curve)
    return [*paths, save(parity, folder / "parity.png"), save(learned, folder / "learning_curve.png")]


def _write_csv(path: Path, table: Table) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(zip(*(column.tolist() for column in table.columns.values()), strict=True))
    return path
