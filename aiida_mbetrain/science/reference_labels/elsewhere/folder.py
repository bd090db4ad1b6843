"""Folder of calculations to be made elsewhere: inputs, a run script, a table of the fragments, and the outputs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ase.formula import Formula
from ase.symbols import Symbols

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed, UnreadableFile, UnwritableOutput
from aiida_mbetrain.science.reference_labels.elsewhere import orca, qcschema
from aiida_mbetrain.science.reference_labels.elsewhere.outcome import Outcome
from aiida_mbetrain.science.reference_labels.elsewhere.table_file import RESULTS, read_row, read_table
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments
from aiida_mbetrain.science.reference_labels.labels import FragmentLabels
from aiida_mbetrain.settings import ExternalMethod, OrcaMethod, ReferenceLabels

SETTINGS_FILE, TABLE, RUN = "reference.json", "fragments.csv", "run.sh"


@dataclass(frozen=True)
class FolderStatus:
    """Calculations of a folder: inputs, outputs, and inputs without an output."""

    n_inputs: int
    n_outputs: int

    @property
    def n_open(self) -> int:
        """Inputs without an output."""
        return self.n_inputs - self.n_outputs


def write_inputs(folder: Path, fragments: Fragments, settings: ReferenceLabels) -> list[str]:
    """Write the inputs of all fragments, ``run.sh``, ``fragments.csv`` and ``reference.json``; returns their names.

    A folder of the same settings is added to, and its outputs stay.  Raises InvalidSettings for a program that the
    stage runs itself and for a folder of other settings; UnwritableOutput.
    """
    method = settings.method
    if not isinstance(method, OrcaMethod | ExternalMethod):
        raise InvalidSettings(f"ReferenceLabels.method: {method.program} is run by `reference run`; it has no inputs.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SETTINGS_FILE).exists() and folder_settings(folder).method.hash != method.hash:
            raise InvalidSettings(
                f"{folder} has inputs of other settings, see its {SETTINGS_FILE}: give another folder."
            )
        names = [_write_input(folder, fragments[row], method) for row in range(len(fragments))]
        (folder / SETTINGS_FILE).write_text(json.dumps(settings.to_dict(), indent=1) + "\n", "utf-8")
        _write_table(folder / TABLE, fragments, names)
        script = orca.RUN_SCRIPT if isinstance(method, OrcaMethod) else qcschema.RUN_SCRIPT
        (folder / RUN).write_text(script.replace("@PROGRAM@", _quoted(getattr(method, "code", ""))), "utf-8")
        (folder / RUN).chmod(0o755)
    except OSError as error:
        raise UnwritableOutput(f"{folder} cannot be written to: {error.strerror or error}.") from error
    return [*names, RUN, TABLE, SETTINGS_FILE]


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _write_input(folder: Path, fragment: Fragment, method: OrcaMethod | ExternalMethod) -> str:
    if isinstance(method, OrcaMethod):
        name = f"{fragment.id}{orca.INPUT}"
        orca.write_input(folder / name, fragment, method)
    else:
        name = f"{fragment.id}{qcschema.INPUT}"
        qcschema.write_input(folder / name, fragment, method)
    return name


def _write_table(path: Path, fragments: Fragments, names: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "input", "formula", "n_atoms", "n_ghosts", "charge", "multiplicity"])
        for row, name in enumerate(names):
            fragment = fragments[row]
            formula = Formula(str(Symbols(fragment.numbers[~fragment.ghosts]))).format("hill")
            counts = [len(fragment.numbers), int(fragment.ghosts.sum()), fragment.charge, fragment.multiplicity]
            writer.writerow([fragment.id, name, formula, *counts])


def folder_settings(folder: Path) -> ReferenceLabels:
    """Settings of the folder's inputs.  Raises UnreadableFile."""
    path = folder / SETTINGS_FILE
    try:
        return ReferenceLabels(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{path} cannot be read: {error}. Give a folder that `reference export` wrote.") from error


def output_names(folder: Path, settings: ReferenceLabels) -> dict[str, str]:
    """File names of the outputs in a folder by the id of their fragment."""
    suffix = orca.OUTPUT if isinstance(settings.method, OrcaMethod) else qcschema.OUTPUT
    return {path.name.removesuffix(suffix): path.name for path in sorted(folder.glob(f"*{suffix}"))}


def output_files(folder: Path) -> list[Path]:
    """Files that an import needs: the settings, the outputs, and a table of results."""
    names = [SETTINGS_FILE, *sorted(output_names(folder, folder_settings(folder)).values()), RESULTS]
    return [folder / name for name in names if (folder / name).is_file()]


def folder_status(folder: Path) -> FolderStatus:
    """Inputs and outputs of a folder; rows of a table of results count as outputs.  Raises UnreadableFile."""
    settings = folder_settings(folder)
    outputs = set(output_names(folder, settings))
    if (folder / RESULTS).exists():
        outputs |= set(read_table(folder / RESULTS))
    suffix = orca.INPUT if isinstance(settings.method, OrcaMethod) else qcschema.INPUT
    left_out = (qcschema.OUTPUT, SETTINGS_FILE)
    inputs = {path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}") if not path.name.endswith(left_out)}
    return FolderStatus(len(inputs), len(inputs & outputs))


def read_outputs(folder: Path, fragments: Fragments, settings: ReferenceLabels) -> FragmentLabels:
    """Labels of the fragments whose outputs, or rows in ``results.csv``, the folder has.

    Outputs that are incomplete, of another geometry or without an energy are recorded as failures with their
    message, and the others are read.  Raises UnreadableFile for a damaged table.
    """
    outputs, table = output_names(folder, settings), {}
    if (folder / RESULTS).exists():
        table = read_table(folder / RESULTS)
    labels = FragmentLabels.empty(fragments, settings.method.hash)
    failures: dict[int, str] = {}
    programs: set[str] = set()
    for row, name in enumerate(fragments.ids.tolist()):
        try:
            outcome = _outcome(folder, fragments[row], settings, outputs.get(name), table.get(name))
        except ReferenceCalculationFailed as error:
            failures[row] = error.message
            continue
        if outcome is not None:
            labels.energies[row] = outcome.evaluation.energy
            programs.add(outcome.program)
            if outcome.evaluation.forces is not None:
                labels.forces[labels.offsets[row] : labels.offsets[row + 1]] = outcome.evaluation.forces
    return replace(labels, failures=failures, programs=tuple(sorted(programs)))


def _outcome(
    folder: Path, fragment: Fragment, settings: ReferenceLabels, output: str | None, entry: Mapping[str, str] | None
) -> Outcome | None:
    """The result of a fragment: its output, else its row in the table; None where there is neither."""
    method = settings.method
    if output is not None and isinstance(method, OrcaMethod):
        return orca.read_output(folder / output, fragment, method)
    if output is not None and isinstance(method, ExternalMethod):
        return qcschema.read_output(folder / output, fragment, method)
    if entry is None:
        return None
    return read_row(entry, fragment, method, program=getattr(method, "code", method.program))
