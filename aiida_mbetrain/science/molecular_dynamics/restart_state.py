"""State of an unfinished molecular dynamics run, as arrays that a caller may keep and hand back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from aiida_mbetrain.science.configurations import AnyArray, FloatArray
from aiida_mbetrain.science.io import array_to_text, text_to_array

FREE_TO_CHANGE = (
    "time_total_fs", "temperature_window", "volume_window", "max_force",
    "max_atoms", "supercell_radius", "supercell_matrix", "supercell_diagonal",
)  # fmt: skip
"""Settings that a continued run may change: its length, its guards, and how the supercell at hand was chosen."""


@dataclass(frozen=True, eq=False)
class RestartState:
    """Everything that decides how a run goes on, and what it has stored so far.

    step: absolute number of steps made.
    positions, momenta: (N, 3), Å and ASE units, float64, unwrapped.
    cell: (3, 3), Å; None for a finite system.
    integrator: thermostat and barostat variables by name.
    rng_state: the random generator's state as JSON.
    results: ``energy``, ``forces`` and, if evaluated, ``stress`` (Voigt) at these positions, so that the
        continuation does not depend on evaluating them again.
    recorded: what has been stored of frames and series, one entry per record, see :meth:`.trajectory.Recorder.rows`.
    """

    step: int
    positions: FloatArray
    momenta: FloatArray
    cell: FloatArray | None
    integrator: Mapping[str, AnyArray]
    rng_state: str
    results: Mapping[str, AnyArray]
    recorded: Mapping[str, Sequence[object] | AnyArray]

    def to_arrays(self) -> dict[str, AnyArray]:
        """All but ``recorded``, whose size grows; text as UTF-8 bytes, so that nothing needs pickle."""
        arrays = {
            "step": np.array(self.step),
            "positions": self.positions,
            "momenta": self.momenta,
            "rng_state": text_to_array(self.rng_state),
        }
        arrays |= {} if self.cell is None else {"cell": self.cell}
        arrays |= {f"integrator.{name}": np.asarray(value) for name, value in self.integrator.items()}
        return arrays | {f"results.{name}": np.asarray(value) for name, value in self.results.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], recorded: Mapping[str, Sequence[object] | AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""

        def group(prefix: str) -> dict[str, AnyArray]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        return cls(
            step=int(arrays["step"]),
            positions=arrays["positions"],
            momenta=arrays["momenta"],
            cell=arrays.get("cell"),
            integrator=group("integrator."),
            rng_state=array_to_text(arrays["rng_state"]),
            results=group("results."),
            recorded=recorded,
        )


def rng_state_to_json(rng: np.random.Generator) -> str:
    """The state of PCG64, whose integers exceed 64 bits, as JSON."""
    return json.dumps(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: str) -> None:
    """The inverse of :func:`rng_state_to_json`."""
    rng.bit_generator.state = json.loads(state)
