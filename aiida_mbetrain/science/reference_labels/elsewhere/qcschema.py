"""QCSchema: inputs and results of any program as JSON (molssi-qc-schema version 1, which QCEngine runs)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import units
from ase.data import atomic_numbers, chemical_symbols

from aiida_mbetrain.errors import ReferenceCalculationFailed
from aiida_mbetrain.science.reference_labels.backends import Evaluation
from aiida_mbetrain.science.reference_labels.elsewhere.outcome import Outcome, require_forces, require_same_geometry
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import ExternalMethod, JsonObject

INPUT, OUTPUT = ".json", ".result.json"

RUN_SCRIPT = """\
#!/bin/sh
# Run every calculation of this folder that has no result, JOBS of them side by side (1), by QCEngine:
#   ./run.sh [JOBS]
PROGRAM=@PROGRAM@
export PROGRAM
cd "$(dirname "$0")" || exit 1
find . -maxdepth 1 -name '*.json' ! -name '*.result.json' ! -name 'reference.json' | sort |
  xargs -P "${1:-1}" -I{} sh -c '
  name=$(basename "$1" .json)
  [ -s "$name.result.json" ] && exit 0
  qcengine run "$PROGRAM" "$name.json" > "$name.partial" && mv "$name.partial" "$name.result.json"
' sh {}
"""


def write_input(path: Path, fragment: Fragment, method: ExternalMethod) -> None:
    """An AtomicInput; the geometry is fixed, ghost atoms are not ``real``."""
    content = {
        "schema_name": "qcschema_input",
        "schema_version": 1,
        "id": fragment.id,
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "symbols": [chemical_symbols[number] for number in fragment.numbers],
            "geometry": (fragment.positions / units.Bohr).ravel().tolist(),
            "real": (~fragment.ghosts).tolist(),
            "molecular_charge": float(fragment.charge),
            "molecular_multiplicity": fragment.multiplicity,
            "fix_com": True,
            "fix_orientation": True,
        },
        "driver": "gradient" if method.forces else "energy",
        "model": {"method": method.method, "basis": method.basis},
        "keywords": method.keywords,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def read_output(path: Path, fragment: Fragment, method: ExternalMethod) -> Outcome:
    """Energy and forces of an AtomicResult.

    Raises ReferenceCalculationFailed with the program's message, for a file that is no such result, and for a result
    of another geometry.
    """
    where = f"{method.code}: {path.name}"
    try:
        result: JsonObject = json.loads(path.read_text("utf-8"))
        if not result.get("success"):
            error = result.get("error") or {}
            raise ReferenceCalculationFailed(f"{where}: {_one_line(error.get('error_message'))}")
        molecule, said = result["molecule"], result.get("provenance") or {}
        numbers = np.array([atomic_numbers[symbol.capitalize()] for symbol in molecule["symbols"]])
        positions = np.array(molecule["geometry"], dtype=np.float64).reshape(-1, 3) * units.Bohr
        require_same_geometry(fragment, numbers, positions, where)
        energy, forces = float(_energy(result)) * units.Hartree, None
        if method.forces:
            gradient = np.array(_gradient(result), dtype=np.float64).reshape(-1, 3)
            forces = require_forces(-gradient * (units.Hartree / units.Bohr), fragment, where)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReferenceCalculationFailed(f"{where} is no result of QCSchema: {type(error).__name__} {error}") from error
    program = f"{said.get('creator', method.code)} {said.get('version') or 'of unknown version'}"
    return Outcome(Evaluation(energy, forces), program.lower())


def _energy(result: JsonObject) -> float:
    energy: float = result["return_result"] if result["driver"] == "energy" else result["properties"]["return_energy"]
    return energy


def _gradient(result: JsonObject) -> list[float]:
    values: list[float] = (
        result["return_result"] if result["driver"] == "gradient" else result["properties"]["return_gradient"]
    )
    return values


def _one_line(message: object) -> str:
    lines = [line.strip() for line in str(message or "failed without a message").splitlines() if line.strip()]
    return lines[-1]
