"""ORCA: inputs with ghost atoms, and outputs read by cclib."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed
from aiida_mbetrain.science.reference_labels.backends import Evaluation
from aiida_mbetrain.science.reference_labels.elsewhere.outcome import Outcome, require_forces, require_same_geometry
from aiida_mbetrain.science.reference_labels.fragments import Fragment
from aiida_mbetrain.settings import OrcaMethod

INPUT, OUTPUT = ".inp", ".out"
FINAL_ENERGY = re.compile(r"^FINAL SINGLE POINT ENERGY\s+(-?\d+\.\d+)(.*)$", re.MULTILINE)
FINISHED = "ORCA TERMINATED NORMALLY"
GHOST_LABEL = re.compile(r"^(\s*(?:\d+\s+)?[A-Z][a-z]?)\s*:(?=\s+-?\d+\.\d+)", re.MULTILINE)
"""An element in a table of coordinates with the colon of a ghost atom, which cclib does not know."""
BANNER = "* O   R   C   A *"
VERSION = re.compile(r"^.*Program Version .*$", re.MULTILINE)
TABLE = re.compile(
    r"^(?:-+\n)?(?:CARTESIAN COORDINATES \(ANGSTROEM\)|CARTESIAN GRADIENT|The final MP2 gradient).*\n"
    r"(?:-+\n\n?)?(?:.*\S.*\n)+",
    re.MULTILINE,
)
"""Heading and rows of a table up to the first blank line."""
COMPLAINT = re.compile(
    r"error termination|\berror\s*[:(!]|not (?:fully )?converged|(?:not enough|insufficient|out of) memory",
    re.IGNORECASE,
)
"""Lines about what went wrong: `DIIS Error` and `Maximum memory used` are in every output."""

RUN_SCRIPT = """\
#!/bin/sh
# Run every calculation of this folder that is not finished, JOBS of them side by side (1):
#   ORCA=/full/path/to/orca ./run.sh [JOBS]
: "${ORCA:?give the full path of the program: ORCA=/opt/orca/orca ./run.sh}"
export ORCA
cd "$(dirname "$0")" || exit 1
find . -maxdepth 1 -name '*.inp' | sort | xargs -P "${1:-1}" -I{} sh -c '
  name=$(basename "$1" .inp)
  grep -q "ORCA TERMINATED NORMALLY" "$name.out" 2>/dev/null && exit 0
  mkdir -p "scratch/$name" && cp "$name.inp" "scratch/$name/" && cd "scratch/$name" || exit 0
  "$ORCA" "$name.inp" > "../../$name.out" 2>&1
  cd ../.. && rm -rf "scratch/$name"
' sh {}
"""


def write_input(path: Path, fragment: Fragment, method: OrcaMethod) -> None:
    """One single point; a colon behind the element marks a ghost atom."""
    words = [method.method, method.dispersion, method.basis, "EnGrad" if method.forces else None, *method.keywords]
    lines = ["! " + " ".join(word for word in words if word)]
    lines += [method.blocks.strip()] if method.blocks.strip() else []
    lines.append(f"* xyz {fragment.charge} {fragment.multiplicity}")
    for number, ghost, position in zip(fragment.numbers, fragment.ghosts, fragment.positions, strict=True):
        label = chemical_symbols[number] + (":" if ghost else "")
        lines.append(f"{label:4}" + "".join(f"{x:18.10f}" for x in position))
    path.write_text("\n".join([*lines, "*", ""]), "utf-8")


def read_output(path: Path, fragment: Fragment, method: OrcaMethod) -> Outcome:
    """Energy and forces of an output.

    The energy is ORCA's own final one: it includes corrections (dispersion, gCP, double hybrids, triples) that cclib
    keeps apart.  Raises ReferenceCalculationFailed with the program's complaint, for an output that is incomplete or
    of another geometry; InvalidSettings where cclib is missing.
    """
    try:
        from cclib.io.ccio import ccread
    except ImportError as error:
        raise InvalidSettings('Outputs of ORCA are read by cclib: pip install "aiida-mbetrain[reference]".') from error
    text = path.read_text("utf-8", errors="replace")
    final = FINAL_ENERGY.findall(text)
    if FINISHED not in text or not final or "not fully converged" in final[-1][1]:
        raise ReferenceCalculationFailed(f"orca: {path.name}: {_complaint(text)}")
    try:
        data = ccread(io.StringIO(_tables(text)), loglevel=logging.CRITICAL)
        numbers, positions = np.asarray(data.atomnos), np.asarray(data.atomcoords[-1])
    except Exception as error:  # cclib raises whatever its line by line reading runs into
        raise ReferenceCalculationFailed(f"orca: {path.name} cannot be read by cclib: {error}") from error
    require_same_geometry(fragment, numbers, positions, f"orca: {path.name}")
    forces = None
    if method.forces:
        gradients = getattr(data, "grads", None)
        found = None if gradients is None else -np.asarray(gradients[-1]) * (units.Hartree / units.Bohr)
        forces = require_forces(found, fragment, f"orca: {path.name}")
    version = data.metadata.get("package_version", "of unknown version")
    return Outcome(Evaluation(float(final[-1][0]) * units.Hartree, forces), f"orca {version}")


def _tables(text: str) -> str:
    """Version, coordinates and gradient of an output: cclib 1.8 stumbles over the SCF of ORCA 6."""
    parts = [BANNER, *VERSION.findall(text)[:1], *TABLE.findall(GHOST_LABEL.sub(r"\1 ", text))]
    return "\n".join([*parts, f"****{FINISHED}****", ""])


def _complaint(text: str) -> str:
    """The last two lines in which the program complains, or where its output ends."""
    lines = [line.strip(" \t*!.-") for line in text.splitlines()]
    complaints = list(dict.fromkeys(line for line in lines if COMPLAINT.search(line)))
    if complaints and FINISHED not in text:
        return "; ".join(complaints[-2:])
    if FINISHED in text:
        return "the wave function is not fully converged" if FINAL_ENERGY.search(text) else "it has no final energy"
    ended = next((line for line in reversed(lines) if line), "nothing")
    return f"the program did not end (killed, by memory or time, or running); the output ends with {ended!r}"
