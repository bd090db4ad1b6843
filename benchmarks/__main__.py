"""``python -m benchmarks [--small] [--models demo,large] [--json FILE]``: figures and what they should reach."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from aiida_mbetrain.settings import Inference
from benchmarks import models, stages, thermal_expansion
from benchmarks.stages import Figure


def figures(names: list[str], *, small: bool) -> Iterator[Figure]:
    """Every figure; ``small`` shrinks the work so that the suite runs in a minute or two."""
    inference = Inference(device="cpu")
    constants = None
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in names:
            potential = models.demo_model(inference) if name == "demo" else models.large_model(folder, inference)
            yield from stages.labels(potential, name, n_frames=4 if small else 64)
            yield from stages.molecular_dynamics(potential, name, n_cells=2, n_steps=20 if small else 200)
            constants, found = stages.force_constants(potential, name, n_cells=2)
            yield from found
            yield from thermal_expansion.figures(potential, name, n_cells=1 if small else 2)
        yield from stages.molecules(n_frames=30 if small else 200)
        yield from stages.supercells(radius=15.0 if small else 25.0)
        if constants is not None:
            yield from stages.phonon_frames(constants, n_frames=40 if small else 400)
        yield from stages.export(folder, n_frames=50 if small else 1250)


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="shrink the work; the ratios are noisier")
    parser.add_argument("--models", default="demo,large", help="demo, large, or both")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = []
    table = Table("stage", "figure", "measured", "to reach", "", box=None)
    for figure in figures(arguments.models.split(","), small=arguments.small):
        found.append(figure)
        sign = "≥" if figure.at_least else "≤"
        limit = "" if figure.limit is None else f"{sign} {figure.limit:g} {figure.unit}"
        verdict = {True: "yes", False: "no", None: ""}[figure.reached]
        table.add_row(figure.stage, figure.what, f"{figure.value:.3g} {figure.unit}", limit, verdict)
    Console(width=132).print(table)
    if arguments.json:
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "threads": arguments.threads}
        rows = [asdict(figure) | {"reached": figure.reached} for figure in found]
        arguments.json.write_text(json.dumps({"machine": machine, "figures": rows}, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
