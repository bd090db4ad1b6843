"""``python -m benchmarks [--small] [--models demo,large] [--device cuda] [--threads 1,2] [--json FILE]``: figures."""

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

from benchmarks import aiida_overhead, clock, growth, memory, reference_labels, stages, thermal_expansion
from benchmarks.figure import Figure
from benchmarks.models import load, model_files


def figures(names: list[str], *, device: str, small: bool, threads: int) -> Iterator[Figure]:
    """Every figure; ``small`` shrinks the work so that the suite runs in a minute or two.

    With several threads, or on CUDA, those of the model's stages alone: the others have one thread of the CPU.
    """
    model_alone = threads > 1 or device == "cuda"
    constants = None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = model_files(folder)
        for name in names:
            potentials = load(name, files[name], device)
            yield from stages.labels(potentials, folder, n_frames=4 if small else 64)
            yield from stages.kernels(potentials, n_frames=1 if small else 4)
            yield from stages.molecular_dynamics(potentials, n_steps=20 if small else 200)
            constants, found = stages.force_constants(potentials, n_cells=2 if small else 3)
            yield from found
            yield from stages.precision(potentials, n_frames=2 if small else 8)
            if model_alone:
                continue
            yield from thermal_expansion.figures(potentials.default, name, n_cells=1 if small else 2)
            if name == "demo":
                yield from growth.with_model(potentials.default, name, small=small)
        if model_alone:
            return
        yield from stages.molecules(n_frames=30 if small else 200)
        yield from stages.supercells(radius=15.0 if small else 25.0)
        if constants is not None:
            yield from stages.phonon_frames(constants, n_frames=40 if small else 400)
        yield from stages.export(folder, n_frames=50 if small else 1250)
        yield from growth.without_model(constants, folder, small=small)
        yield from reference_labels.figures(small=small)
        yield from aiida_overhead.figures(small=small)
        yield from memory.figures(n_octamers=100 if small else 2000)


def is_elapsed(device: str, threads: int) -> bool:
    """Return True if elapsed time is measured, and not the CPU time of one thread."""
    return device == "cuda" or threads > 1


def table_of(found: list[Figure], device: str, threads: int) -> Table:
    """For people."""
    title = (
        f"{device}, {threads} thread{'s' * (threads > 1)}, {'elapsed' if is_elapsed(device, threads) else 'CPU'} time"
    )
    table = Table("stage", "figure", "measured", "to reach", "", box=None, title=title)
    for figure in found:
        limit = "" if figure.limit is None else f"{'≥' if figure.at_least else '≤'} {figure.limit:g} {figure.unit}"
        verdict = {True: "yes", False: "no", None: ""}[figure.reached]
        table.add_row(figure.stage, figure.what, f"{figure.value:.3g} {figure.unit}", limit, verdict)
    return table


def in_a_process_of_its_own(arguments: argparse.Namespace, threads: int) -> list[Figure]:
    """PyTorch, OpenMP and phonopy's Rust code take their number of threads once."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", "--models", arguments.models, "--device", arguments.device]
        command += ["--worker", str(threads)]
        command += ["--json", str(path)] + ["--small"] * arguments.small
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
        environment["AIIDA_PATH"] = scratch
        subprocess.run(command, env=environment, check=True)
        return [Figure(**row) for row in json.loads(path.read_text("utf-8"))]


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shrink the work; the ratios are noisier")
    parser.add_argument("--models", default="demo,large", help="demo, large, or both")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where the models run (default cpu)")
    parser.add_argument("--threads", default="1", help="numbers of threads, each a run of its own (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        torch.set_num_threads(arguments.worker)
        if is_elapsed(arguments.device, arguments.worker):
            clock.use_wall_time()
        names, small = arguments.models.split(","), arguments.small
        found = []
        for figure in figures(names, device=arguments.device, small=small, threads=arguments.worker):
            print(figure, file=sys.stderr, flush=True)
            found.append(asdict(figure))
        arguments.json.write_text(json.dumps(found), "utf-8")
        return
    runs = []
    for threads in map(int, arguments.threads.split(",")):
        found = in_a_process_of_its_own(arguments, threads)
        Console(width=132).print(table_of(found, arguments.device, threads))
        runs.append({"threads": threads, "figures": [asdict(f) | {"reached": f.reached} for f in found]})
    if arguments.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "device": _name(arguments.device)}
        arguments.json.write_text(json.dumps({"machine": machine, "runs": runs}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
