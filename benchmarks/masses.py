"""Independent frames per evaluation with repartitioned masses, and the time step that each choice of masses allows.

``python -m benchmarks.masses [--small] [--crystal demo|urea] [--evaluations N]``: the demo crystal with the demo model,
or urea as an elastic network, which is cheap enough for tests of distributions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from ase.build import make_supercell
from ase.data import chemical_symbols
from scipy.stats import ks_2samp

from aiida_mbetrain.demo import crystal, model_path
from aiida_mbetrain.science.configurations import AnyArray, Configurations, FloatArray
from aiida_mbetrain.science.molecular_dynamics import MDRun, run_molecular_dynamics
from aiida_mbetrain.science.potentials import Potential, load_mace
from aiida_mbetrain.science.statistics import SHORTEST, autocorrelation
from aiida_mbetrain.settings import ClassicalMD, Inference
from benchmarks.crystals import urea
from benchmarks.elastic_network import ElasticNetwork
from benchmarks.figure import Figure

TEMPERATURE_K = 300.0
INTERVAL_fs, EQUILIBRATION_fs = 12.0, 600.0
TRIED_fs = {"natural": (1.0, 1.5), "hydrogen": (1.5, 2.0, 2.5), "uniform": (1.5, 2.0, 2.5)}
COUNTED_fs = {"natural": 1.0, "hydrogen": 2.0, "uniform": 2.0}
"""Time steps whose conserved energy is measured, and those whose independent frames are counted."""
SHORT_fs = 300.0
GOAL = 1.7


class Counted(NamedTuple):
    """Evaluations per independent frame, and their standard error by leaving out one run after another."""

    value: float
    error: float


def figures(name: str, n_evaluations: int, *, small: bool) -> Iterator[Figure]:
    """Conserved energy by masses and time step, means, two-sample tests, and evaluations per independent frame."""
    start, potential = CRYSTALS[name]()
    yield from conserved_energies(potential, start)
    n_runs = 2 if small else 3
    counted: dict[str, dict[str, Counted]] = {}
    natural_runs: list[MDRun] = []
    for masses, step in COUNTED_fs.items():
        time_fs = EQUILIBRATION_fs + INTERVAL_fs * np.ceil(n_evaluations * step / INTERVAL_fs)
        changes = {"masses": masses, "time_step_fs": step, "time_total_fs": time_fs}
        runs = [dynamics(potential, start, **changes, rng_seed=seed) for seed in range(n_runs)]
        counted[masses] = dict(independent(runs, step))
        for what, (value, error) in {**means(runs), **counted[masses]}.items():
            yield Figure(f"masses = {masses}, {step:g} fs", f"{what} (± {error:.2g})", value)
        if masses == "natural":
            natural_runs = runs
            continue
        for what, p_value in two_sample_tests(natural_runs, runs).items():
            yield Figure(
                f"masses = {masses}, {step:g} fs",
                f"{what}, p of Kolmogorov-Smirnov",
                p_value,
                limit=1e-3,
                at_least=True,
            )
        for what, natural in counted["natural"].items():
            own = counted[masses][what]
            ratio = natural.value / own.value
            error = ratio * float(np.hypot(natural.error / natural.value, own.error / own.value))
            name = f"{what}, ratio of natural (± {error:.2g})"
            yield Figure(f"masses = {masses}", name, ratio, "x", limit=GOAL, at_least=True)


def hexamethylenetetramine() -> tuple[Configurations, Potential]:
    """Two molecules: the cubic cell of the demo crystal, whose primitive cell has one; and the demo model."""
    atoms = make_supercell(crystal(), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Configurations.from_atoms(atoms), load_mace(model_path(), Inference())


def urea_network() -> tuple[Configurations, Potential]:
    """Four molecules of urea, and springs between their atoms."""
    structure = Configurations.from_atoms(make_supercell(urea(), np.diag([1, 1, 2])))
    return structure, ElasticNetwork(structure)


CRYSTALS = {"demo": hexamethylenetetramine, "urea": urea_network}


def dynamics(potential: Potential, start: Configurations, **changes: Any) -> MDRun:
    """One run, by default with the thermostat and barostat of the protocols."""
    defaults = {"ensemble": "NPT", "sampling_interval_fs": INTERVAL_fs, "time_equilibration_fs": EQUILIBRATION_fs}
    settings = ClassicalMD(**(defaults | changes))
    pressure = 1e-4 if settings.ensemble == "NPT" else None
    return run_molecular_dynamics(
        start, potential, settings, temperature_K=TEMPERATURE_K, pressure_GPa=pressure, features=True
    )


def conserved_energies(potential: Potential, relaxed: Configurations) -> Iterator[Figure]:
    """Fluctuation of the energy over a short time without a thermostat, from one thermal configuration."""
    thermal = dynamics(
        potential, relaxed, ensemble="NVT", time_step_fs=1.0, time_total_fs=EQUILIBRATION_fs + INTERVAL_fs
    ).frames
    start = thermal.select([-1]).with_(energies=None, forces=None, stress=None, features=None, velocities=None)
    for masses, steps in TRIED_fs.items():
        for step in steps:
            run = dynamics(
                potential, start, ensemble="NVT", masses=masses, time_step_fs=step, thermostat_time_fs=1e9,
                time_equilibration_fs=0.0, sampling_interval_fs=step, time_total_fs=step * round(SHORT_fs / step),
            )  # fmt: skip
            rms = 1000 * float(np.std(run.series["conserved_energy_eV"])) / start.n_atoms
            yield Figure(f"masses = {masses}, {step:g} fs", "conserved energy, rms", rms, "meV/atom")


def means(runs: Sequence[MDRun]) -> dict[str, Counted]:
    """Averages that must not depend on the masses, with the standard error of the runs' means."""
    numbers = runs[0].frames.numbers
    above = [energies(run).mean() - run.series["potential_energy_eV"][0] for run in runs]
    values = {"mean energy above the start / meV per atom": [1000 * energy / len(numbers) for energy in above]}
    values["mean volume / Å³"] = [volumes(run).mean() for run in runs]
    for number in np.unique(numbers):
        squares = [square_displacements(run, number) for run in runs]
        values[f"mean square displacement of {chemical_symbols[number]} / 10⁻³ Å²"] = [s.mean() for s in squares]
    return {what: Counted(float(np.mean(v)), float(np.std(v, ddof=1) / len(v) ** 0.5)) for what, v in values.items()}


def square_displacements(run: MDRun, number: int) -> FloatArray:
    """Mean square displacement of the atoms of an element in every frame, 10⁻³ Å²."""
    numbers = run.frames.numbers
    moved = displacements(run).reshape(-1, len(numbers), 3)[:, numbers == number]
    return np.asarray(3000 * (moved**2).mean(axis=(1, 2)))


def two_sample_tests(natural: Sequence[MDRun], other: Sequence[MDRun]) -> dict[str, float]:
    """Probability of such different samples from one distribution, of frames that are independent of one another."""
    numbers = natural[0].frames.numbers
    quantities: dict[str, Callable[[MDRun], FloatArray]] = {"energy": energies, "volume": volumes}
    for number in np.unique(numbers):
        name = f"square displacement of {chemical_symbols[number]}"
        quantities[name] = partial(square_displacements, number=number)
    found = {}
    for what, quantity in quantities.items():
        samples = [_independent_sample([quantity(run) for run in runs]) for runs in (natural, other)]
        found[f"{what} ({len(samples[0])} and {len(samples[1])} frames)"] = float(ks_2samp(*samples).pvalue)
    return found


def _independent_sample(series: Sequence[FloatArray]) -> FloatArray:
    apart = int(np.ceil(inefficiency(np.mean([correlation(values) for values in series], axis=0))))
    return np.concatenate([values[::apart] for values in series])


def independent(runs: Sequence[MDRun], step_fs: float) -> Iterator[tuple[str, Counted]]:
    """Evaluations per independent frame, by quantity."""
    quantities: dict[str, Callable[[MDRun], FloatArray]] = {
        "energy": energies, "volume": volumes, "positions": displacements,
    }  # fmt: skip
    if runs[0].frames.features is not None:
        quantities["features"] = features
    for what, quantity in quantities.items():
        correlations = np.array([correlation(quantity(run)) for run in runs])
        evaluations = [
            INTERVAL_fs / step_fs * inefficiency(part.mean(axis=0)) for part in _leaving_one_out(correlations)
        ]
        value = INTERVAL_fs / step_fs * inefficiency(correlations.mean(axis=0))
        n = len(runs)
        yield f"evaluations per independent {what}", Counted(value, float(np.std(evaluations) * (n - 1) ** 0.5))


def _leaving_one_out(values: AnyArray) -> list[AnyArray]:
    return [np.delete(values, left_out, axis=0) for left_out in range(len(values))]


def energies(run: MDRun) -> FloatArray:
    """Potential energy of the frames, eV."""
    assert run.frames.energies is not None
    return run.frames.energies


def volumes(run: MDRun) -> FloatArray:
    """Volume of the frames, Å³."""
    return run.frames.volumes


def displacements(run: MDRun) -> FloatArray:
    """Deviations from the mean positions, (frames, 3N), Å; in fractional coordinates, so without those of the cell."""
    cells = run.frames.cells
    assert cells is not None
    fractional = np.linalg.solve(cells.transpose(0, 2, 1), run.frames.positions.transpose(0, 2, 1)).transpose(0, 2, 1)
    return np.asarray((fractional - fractional.mean(axis=0)) @ cells.mean(axis=0)).reshape(len(cells), -1)


def features(run: MDRun) -> FloatArray:
    """Components of the feature vectors of all atoms in units of their fluctuation, (frames, components)."""
    assert run.frames.features is not None
    flat = run.frames.features.reshape(run.frames.n_frames, -1)
    spread = flat.std(axis=0)
    return np.asarray(flat[:, spread > 1e-8] / spread[spread > 1e-8])


def correlation(values: FloatArray) -> FloatArray:
    """Autocorrelation of a series, or the average of its components', weighted by their variances."""
    if values.ndim == 1:
        return autocorrelation(values)
    weights = values.var(axis=0)
    functions = [weight * autocorrelation(series) for weight, series in zip(weights, values.T, strict=True)]
    return np.asarray(np.sum(functions, axis=0) / weights.sum())


def inefficiency(function: FloatArray) -> float:
    """Frames per independent one, as :func:`aiida_mbetrain.science.statistics.statistical_inefficiency` counts them."""
    vanished = np.flatnonzero(function[SHORTEST + 1 :] <= 0)
    end = SHORTEST + 1 + (vanished[0] if len(vanished) else len(function))
    return max(1.0, 1.0 + 2.0 * float(function[1:end].sum()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shrink the work; the figures are noise")
    parser.add_argument("--crystal", default="demo", choices=list(CRYSTALS), help="what moves (default demo)")
    parser.add_argument("--evaluations", type=int, help="of every run [2000 of the demo crystal, 60000 of urea]")
    arguments = parser.parse_args()
    usual = {"demo": 2000, "urea": 60000}[arguments.crystal]
    n_evaluations = arguments.evaluations or (600 if arguments.small else usual)
    for figure in figures(arguments.crystal, n_evaluations, small=arguments.small):
        print(figure, flush=True)


if __name__ == "__main__":
    main()
