"""``python -m benchmarks [--small] [--models demo,large] [--threads 1,2] [--json FILE]``: figures and their limits."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import Inference
from benchmarks import aiida_overhead, clock, growth, stages, thermal_expansion
from benchmarks.figure import Figure
from benchmarks.models import model_files


def figures(names: list[str], *, small: bool, threads: int) -> Iterator[Figure]:
    """Every figure; ``small`` shrinks the work so that the suite runs in a minute or two.

    With several threads, those of the model's stages alone: the others have one.
    """
    constants = None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = model_files(folder)
        for name in names:
            potential = load_mace(files[name], Inference(device="cpu"))
            yield from stages.labels(potential, name, files[name], folder, n_frames=4 if small else 64)
            yield from stages.molecular_dynamics(potential, name, n_cells=2, n_steps=20 if small else 200)
            constants, found = stages.force_constants(potential, name, n_cells=2)
            yield from found
            if threads > 1:
                continue
            yield from thermal_expansion.figures(potential, name, n_cells=1 if small else 2)
            single = load_mace(files[name], Inference(device="cpu", default_dtype="float32"))
            yield from stages.precision(potential, single, name, n_frames=2 if small else 8)
            if name == "demo":
                yield from growth.with_model(potential, name, small=small)
        if threads > 1:
            return
        yield from stages.molecules(n_frames=30 if small else 200)
        yield from stages.supercells(radius=15.0 if small else 25.0)
        if constants is not None:
            yield from stages.phonon_frames(constants, n_frames=40 if small else 400)
        yield from stages.export(folder, n_frames=50 if small else 1250)
        yield from growth.without_model(constants, folder, small=small)
        yield from aiida_overhead.figures(small=small)


def table_of(found: list[Figure], threads: int) -> Table:
    """For people."""
    title = f"{threads} thread{'s, elapsed time' if threads > 1 else ', CPU time'}"
    table = Table("stage", "figure", "measured", "to reach", "", box=None, title=title)
    for figure in found:
        limit = "" if figure.limit is None else f"{'≥' if figure.at_least else '≤'} {figure.limit:g} {figure.unit}"
        verdict = {True: "yes", False: "no", None: ""}[figure.reached]
        table.add_row(figure.stage, figure.what, f"{figure.value:.3g} {figure.unit}", limit, verdict)
    return table


def in_a_process_of_its_own(arguments: argparse.Namespace, threads: int) -> list[Figure]:
    """PyTorch and OpenMP take their number of threads once."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", "--models", arguments.models, "--worker", str(threads)]
        command += ["--json", str(path)] + ["--small"] * arguments.small
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "AIIDA_PATH": scratch}
        subprocess.run(command, env=environment, check=True)
        return [Figure(**row) for row in json.loads(path.read_text("utf-8"))]


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shrink the work; the ratios are noisier")
    parser.add_argument("--models", default="demo,large", help="demo, large, or both")
    parser.add_argument("--threads", default="1", help="numbers of threads, each a run of its own (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        torch.set_num_threads(arguments.worker)
        if arguments.worker > 1:
            clock.use_wall_time()
        found = figures(arguments.models.split(","), small=arguments.small, threads=arguments.worker)
        arguments.json.write_text(json.dumps([asdict(figure) for figure in found]), "utf-8")
        return
    runs = []
    for threads in map(int, arguments.threads.split(",")):
        found = in_a_process_of_its_own(arguments, threads)
        Console(width=132).print(table_of(found, threads))
        runs.append({"threads": threads, "figures": [asdict(f) | {"reached": f.reached} for f in found]})
    if arguments.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count()}
        arguments.json.write_text(json.dumps({"machine": machine, "runs": runs}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
