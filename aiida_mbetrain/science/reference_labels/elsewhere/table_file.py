"""Table of results of a program whose outputs nothing else reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aiida_mbetrain.errors import ReferenceCalculationFailed, UnreadableFile
from aiida_mbetrain.science.reference_labels.backends import Evaluation
from aiida_mbetrain.science.reference_labels.elsewhere.outcome import Outcome, require_forces
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import Method

RESULTS = "results.csv"
COLUMNS = ("id", "energy_eV")
"""Needed; ``forces_eV_per_A`` (3N numbers separated by blanks), ``program`` and ``message`` are optional."""


def read_table(path: Path) -> dict[str, Mapping[str, str]]:
    """Rows by the id of the fragment.  Raises UnreadableFile."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFile(f"{path} cannot be read as a table: {error}.") from error
    if missing := [name for name in COLUMNS if rows and name not in rows[0]]:
        raise UnreadableFile(f"{path} has no column {', '.join(missing)}: give {', '.join(COLUMNS)} in the first line.")
    found: dict[str, Mapping[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        if row["id"] in found:
            raise UnreadableFile(f"{path}, line {number}: the id {row['id']} stands twice in the table.")
        found[row["id"]] = row
    return found


def read_row(row: Mapping[str, str], fragment: Fragment, method: Method, *, program: str) -> Outcome:
    """Energy and forces of a row.  Raises ReferenceCalculationFailed with its message, or for numbers that are none."""
    where = f"{RESULTS}: {fragment.id}"
    if row.get("message"):
        raise ReferenceCalculationFailed(f"{where}: {row['message']}")
    try:
        energy = float(row["energy_eV"])
        words = (row.get("forces_eV_per_A") or "").split()
        forces = np.array(words, dtype=np.float64).reshape(-1, 3) if words else None
    except ValueError as error:
        raise ReferenceCalculationFailed(f"{where}: {error}") from error
    if not np.isfinite(energy):
        raise ReferenceCalculationFailed(f"{where}: the energy is {energy}")
    if method.gives_forces:
        forces = require_forces(forces, fragment, where)
    return Outcome(Evaluation(energy, forces), row.get("program") or program)
