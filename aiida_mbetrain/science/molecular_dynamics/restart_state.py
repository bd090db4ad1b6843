"""The state of an unfinished molecular dynamics run, and its file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.configurations import AnyArray, Configurations, FloatArray
from aiida_mbetrain.science.io import array_to_text, load_npz, save_npz, text_to_array
from aiida_mbetrain.settings import ClassicalMD

FORMAT = "mbetrain-md-checkpoint-1"
MAPPINGS = ("integrator", "results", "series")

FREE_TO_CHANGE = (
    "time_total_fs", "temperature_window", "volume_window", "max_force",
    "max_atoms", "supercell_radius", "supercell_matrix", "supercell_diagonal",
)  # fmt: skip
"""Settings that a continued run may change: its length, its guards, and how the supercell at hand was chosen."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that decides how a run goes on, and what it has stored so far.

    fingerprint: of structure, settings and thermodynamic state; see ``run_fingerprint``.
    step: absolute number of steps made.
    positions, momenta: (N, 3), Å and ASE units, float64, unwrapped.
    cell: (3, 3), Å; None for a finite system.
    integrator: thermostat and barostat variables by name.
    rng_state: the random generator's state as JSON.
    results: ``energy``, ``forces`` and, if evaluated, ``stress`` (Voigt) at these positions, so that the
        continuation does not depend on evaluating them again.
    frames: the stored frames so far.  series: the thermodynamic series so far.
    """

    fingerprint: str
    step: int
    positions: FloatArray
    momenta: FloatArray
    cell: FloatArray | None
    integrator: Mapping[str, AnyArray]
    rng_state: str
    results: Mapping[str, AnyArray]
    frames: Configurations
    series: Mapping[str, FloatArray]

    def to_arrays(self) -> dict[str, AnyArray]:
        """Flat arrays of numbers; text as UTF-8 bytes, so that nothing needs pickle."""
        arrays = {
            "format": text_to_array(FORMAT),
            "fingerprint": text_to_array(self.fingerprint),
            "rng_state": text_to_array(self.rng_state),
            "step": np.array(self.step),
            "positions": self.positions,
            "momenta": self.momenta,
        }
        arrays |= {} if self.cell is None else {"cell": self.cell}
        arrays |= {f"frames.{name}": value for name, value in self.frames.to_arrays().items()}
        for group in MAPPINGS:
            arrays |= {f"{group}.{name}": np.asarray(value) for name, value in getattr(self, group).items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`; raises KeyError for a missing and ValueError for a foreign array."""
        if array_to_text(arrays["format"]) != FORMAT:
            raise ValueError(f"format {array_to_text(arrays['format'])!r} instead of {FORMAT!r}")
        return cls(
            fingerprint=array_to_text(arrays["fingerprint"]),
            step=int(arrays["step"]),
            positions=arrays["positions"],
            momenta=arrays["momenta"],
            cell=arrays.get("cell"),
            rng_state=array_to_text(arrays["rng_state"]),
            frames=Configurations.from_arrays(_group(arrays, "frames")),
            **{name: _group(arrays, name) for name in MAPPINGS},
        )

    def save(self, path: str | Path) -> None:
        """Write one npz, renamed into place: a kill leaves the old file whole."""
        save_npz(path, self.to_arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; raises UnreadableFile when missing, damaged or something else."""
        try:
            return cls.from_arrays(load_npz(path))
        except (UnreadableFile, KeyError, ValueError, TypeError) as error:
            raise UnreadableFile(
                f"{path} is not a readable molecular dynamics checkpoint ({error}): start the run anew without it."
            ) from error

    def require(self, fingerprint: str) -> None:
        """Raise UnreadableFile when the checkpoint belongs to another run."""
        if self.fingerprint != fingerprint:
            raise UnreadableFile(
                "The checkpoint belongs to a run with another structure, model, temperature, pressure or settings: "
                "continue with the inputs it was made with, or start anew without it."
            )


def run_fingerprint(
    supercell: Configurations, settings: ClassicalMD, state: Mapping[str, Any], potential: Mapping[str, Any]
) -> str:
    """sha256 of all that the course of a run depends on, apart from the machine.

    state: temperature, pressure and what is stored per frame.  potential: its ``describe()``, of which name and
    sha256 count: a run may continue on another device or with a newer version.
    """
    record = {
        "settings": {name: value for name, value in settings.to_dict().items() if name not in FREE_TO_CHANGE},
        "state": dict(state),
        "potential": {name: potential[name] for name in ("name", "sha256") if name in potential},
    }
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for values in (supercell.numbers, supercell.positions, supercell.cells):
        digest.update(b"none" if values is None else values.tobytes())
    return digest.hexdigest()


def rng_state_to_json(rng: np.random.Generator) -> str:
    """The state of PCG64, whose integers exceed 64 bits, as JSON."""
    return json.dumps(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: str) -> None:
    """The inverse of :func:`rng_state_to_json`."""
    rng.bit_generator.state = json.loads(state)


def _group(arrays: Mapping[str, AnyArray], name: str) -> dict[str, AnyArray]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
