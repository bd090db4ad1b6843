"""Whole programs beside those that a user would write with other tools: ``python -m benchmarks.rivals [--repeat 5]``.

Every program starts cold, in a process of its own; rivals take turns, so that a busy machine disturbs both.  CPU
seconds are those of the process with all its imports; medians with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import ase.io
import numpy as np
from rich.console import Console
from rich.table import Table

from aiida_mbetrain.demo import crystal
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.crystal import make_supercell
from benchmarks.models import model_files
from benchmarks.stages import clusters_of

AGREEMENT = 1e-6
"""Largest relative difference of the numbers that two programs print."""


@dataclass(frozen=True)
class Pair:
    """The same task as commands behind ``python``.

    output: file that the rival writes instead of printing a number; its last frame has it.
    """

    task: str
    rival: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    output: Path | None = None


@dataclass(frozen=True)
class Spent:
    """Seconds of a process."""

    cpu_s: float
    elapsed_s: float


def pairs(folder: Path, model: Path, *, small: bool) -> list[Pair]:
    """Dynamics, force constants and labels of the demo crystal, for one model."""
    cell = Configurations.from_atoms(crystal())
    ase.io.write(folder / "cell.xyz", cell.to_atoms())
    ase.io.write(folder / "supercell.xyz", make_supercell(cell, 2 * np.eye(3, dtype=int)).to_atoms())
    frames = [item.configurations.to_atoms() for item in clusters_of(3, 2 if small else 32)]
    ase.io.write(folder / "clusters.xyz", [atoms for part in frames for atoms in part])
    n_steps, n_cells = ("10", "2") if small else ("200", "3")
    dynamics = (str(model), str(folder / "supercell.xyz"), n_steps)
    constants = (str(model), str(folder / "cell.xyz"), n_cells)
    clusters, ours, theirs = (str(folder / f"{name}.xyz") for name in ("clusters", "ours", "theirs"))
    evaluation = ("--configs", clusters, "--model", str(model), "--output", theirs, "--default_dtype", "float64")
    return [
        Pair(
            f"dynamics, {n_steps} steps of 176 atoms",
            "ASE and MACECalculator",
            ("-m", "benchmarks.programs.dynamics", *dynamics),
            ("-m", "benchmarks.programs.dynamics_ase", *dynamics),
        ),
        Pair(
            f"force constants, {n_cells} x {n_cells} x {n_cells} cells of 22 atoms",
            "phonopy and MACECalculator",
            ("-m", "benchmarks.programs.force_constants", *constants),
            ("-m", "benchmarks.programs.force_constants_phonopy", *constants),
        ),
        Pair(
            f"labels, {sum(map(len, frames))} clusters of 1 to 8 molecules",
            "mace_eval_configs",
            ("-m", "benchmarks.programs.labels", str(model), clusters, ours),
            ("-m", "mace.cli.eval_configs", *evaluation),
            Path(theirs),
        ),
    ]


def run(arguments: Sequence[str], threads: int) -> tuple[Spent, str]:
    """Seconds of a program, and its last word."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(cpu, elapsed), (done.stdout.split() or [""])[-1]


def race(pair: Pair, repeat: int, threads: int) -> tuple[list[Spent], list[Spent]]:
    """Seconds of both in turn; SystemExit where they do not agree."""
    ours, theirs = [], []
    for _ in range(repeat):
        own, printed = run(pair.ours, threads)
        other, word = run(pair.theirs, threads)
        found = word if pair.output is None else ase.io.read(pair.output, index=-1).info["MACE_energy"]
        if not np.isclose(float(printed), float(found), rtol=AGREEMENT):
            raise SystemExit(f"{pair.task}: {printed} with this package, {found} with {pair.rival}")
        ours.append(own)
        theirs.append(other)
    return ours, theirs


def text(seconds: Sequence[float]) -> str:
    """Median and spread: ``12.3 (11.9–14.0)``."""
    return f"{median(seconds):.3g} ({min(seconds):.3g}–{max(seconds):.3g})"


def main() -> None:
    """Print a table for every model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="times that every program runs")
    parser.add_argument("--models", default="demo,large", help="demo, large")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="shrink the work; start-up is then most of it")
    options = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as scratch:
        files = model_files(Path(scratch))
        for name in options.models.split(","):
            title = f"model {name}, {options.threads} thread(s), median (smallest–largest) of {options.repeat}"
            table = Table(
                "task", "rival", "ours, s CPU", "rival, s CPU", "ratio", "ratio elapsed", box=None, title=title
            )
            for pair in pairs(Path(scratch), files[name], small=options.small):
                ours, theirs = race(pair, options.repeat, options.threads)
                cpu, elapsed = (
                    [[getattr(one, kind) for one in side] for side in (ours, theirs)] for kind in ("cpu_s", "elapsed_s")
                )
                table.add_row(
                    pair.task,
                    pair.rival,
                    *map(text, cpu),
                    *(f"{median(side[1]) / median(side[0]):.2f}" for side in (cpu, elapsed)),
                )
            console.print(table)


if __name__ == "__main__":
    main()
