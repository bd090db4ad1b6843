"""Replicas made together against the same runs one after another: overhead of the batch, and what it saves.

``python -m benchmarks.replicas [--small]``: a potential that costs next to nothing, and the demo model.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from ase.calculators.calculator import Calculator

from aiida_mbetrain.demo import crystal, model_path
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.crystal import make_supercell
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics, run_replicas
from aiida_mbetrain.science.potentials import Potential, SumPotential, load_mace
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import ClassicalMD, Inference, Replica
from benchmarks.clock import seconds
from benchmarks.figure import Figure

N_REPLICAS = 16
TEMPERATURE_K, PRESSURE_GPA = 300.0, 1e-4
STIFFNESS = 5.0
"""eV/Å² of every atom's spring."""


class EinsteinCrystal(Potential):
    """Every atom on a spring of its own, in one array expression for any number of frames: the batch costs nothing."""

    def __init__(self, reference: Configurations) -> None:
        assert reference.cells is not None
        self._fractional: FloatArray = np.linalg.solve(reference.cells[0].T, reference.positions[0].T).T

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential; without stress from the cell."""
        labelled = []
        for part in sets:
            assert part.cells is not None
            moved = part.positions - self._fractional @ part.cells
            energies = 0.5 * STIFFNESS * np.einsum("fna,fna->f", moved, moved)
            stress = np.zeros((part.n_frames, 3, 3))
            labelled.append(part.with_(energies=energies, forces=-STIFFNESS * moved, stress=stress))
        return labelled

    def calculator(self) -> Calculator:
        """See Potential; one evaluation each."""
        return SumPotential([self]).calculator()

    def describe(self) -> dict[str, str | float | int | None]:
        """See Potential."""
        return {"name": "Einstein crystal"}


def figures(*, small: bool) -> Iterator[Figure]:
    """Time of a replica-step together and one after another, by ensemble and potential."""
    cell = Configurations.from_atoms(crystal())
    supercell = make_supercell(cell, 2 * np.eye(3, dtype=int))
    for ensemble in ("NVT", "NPT"):
        yield from against_single_runs(
            "Einstein crystal", EinsteinCrystal(supercell), supercell, ensemble, 40 if small else 200
        )
    model = load_mace(model_path(), Inference(device="cpu"))
    yield from against_single_runs("demo model", model, cell, "NPT", 2 if small else 8)


def against_single_runs(
    name: str, potential: Potential, supercell: Configurations, ensemble: str, n_steps: int
) -> Iterator[Figure]:
    """The same runs both ways, in the same process, each the best of three."""
    settings = ClassicalMD(
        ensemble=ensemble, time_step_fs=0.5, time_total_fs=0.5 * n_steps, time_equilibration_fs=0.0,
        sampling_interval_fs=0.5 * n_steps,
    )  # fmt: skip
    replicas = {f"r{seed}": Replica(temperature_K=TEMPERATURE_K, rng_seed=seed) for seed in range(N_REPLICAS)}

    def one_after_another() -> None:
        for replica in replicas.values():
            own = settings.model_copy(update={"rng_seed": replica.rng_seed})
            run_molecular_dynamics(supercell, potential, own, temperature_K=TEMPERATURE_K, pressure_GPa=PRESSURE_GPA)

    def all_together() -> None:
        run_replicas(supercell, potential, settings, replicas)

    # in turns, so that both meet the same machine
    times = [(seconds(one_after_another, repeat=1), seconds(all_together, repeat=1)) for _ in range(3)]
    single, together = (min(each) for each in zip(*times, strict=True))
    stage = f"{N_REPLICAS} replicas, {name}, {supercell.n_atoms} atoms, {ensemble}"
    milliseconds = 1e3 / (N_REPLICAS * n_steps)
    yield Figure(stage, "a replica-step, one after another", single * milliseconds, "ms")
    yield Figure(stage, "a replica-step, together", together * milliseconds, "ms")
    yield Figure(stage, "together / one after another", together / single, "x", limit=1.1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shrink the work; the figures are noise")
    for figure in figures(small=parser.parse_args().small):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
