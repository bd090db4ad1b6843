"""Memory and time from frames to files: ``python -m benchmarks.end_to_end [--octamers N | --dimers N]``, by hand.

Clusters of a crystal whose atoms vibrate about their places, labelled by a cheap potential with the features of a large
model, go through a whole run and then through every command that reads them: each in a process of its own, watched from
outside.  Given are its time and its anonymous memory at the peak, the interpreter with its libraries (some 200 MB)
included; pages of mapped files are not, for the operating system takes them back.

A cluster takes 9 kB of disk for each atom.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes

from aiida_mbetrain.datasets import names
from aiida_mbetrain.science.configurations import FloatArray
from benchmarks.figure import Figure
from benchmarks.memory import Cheap

SPRINGS_eV_A2 = (2.0, 8.0)
"""Between these; equal ones would make all kinetic energies vanish at once."""
TEMPERATURE_K = 30.0
SPACING_A = 5.5
POLL_s = 0.005


@dataclass(frozen=True)
class Crystal:
    """A cubic lattice of molecules, and the clusters that are cut from it.

    per_frame: clusters of the size that a frame gives.
    """

    name: str
    size: int
    per_frame: int

    def atoms(self) -> Atoms:
        """Eight molecules in a cell."""
        unit = molecule(self.name, cell=[SPACING_A] * 3, pbc=True)
        unit.center()
        cell: Atoms = unit.repeat(2)
        return cell


CRYSTALS = {"octamers": Crystal("C2H6", 8, 1), "dimers": Crystal("H2O", 2, 10)}


class Springs(Calculator):
    """Every atom bound to its place by a spring."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  # declared by ASE

    def __init__(self, places: FloatArray) -> None:
        super().__init__()
        self._places = places
        self._springs = np.random.default_rng(0).uniform(*SPRINGS_eV_A2, size=(len(places), 1))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] | None = None,
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        moved = self.atoms.positions - self._places
        forces = -self._springs * moved
        self.results = {"energy": -0.5 * float((forces * moved).sum()), "forces": forces}


class Vibrating(Cheap):
    """The potential of the run: springs for the dynamics, and cheap labels for clusters."""

    def __init__(self, places: FloatArray) -> None:
        self._places = places

    def calculator(self) -> Calculator:
        """See Potential."""
        return Springs(self._places)


def run(folder: Path, crystal: Crystal, n_frames: int) -> int:
    """Molecular dynamics of which every step is stored, clusters and labels, in this process; returns the pk."""
    from aiida import orm
    from aiida.engine import run_get_node

    from aiida_mbetrain.calculations.functions import in_process
    from aiida_mbetrain.cli.profile import load_local_profile
    from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain

    load_local_profile(folder)
    atoms = crystal.atoms()
    potential = Vibrating(atoms.positions)
    inputs: dict[str, Any] = {
        "structure": orm.StructureData(ase=atoms),
        "model": orm.Dict({"name": "lennard_jones", "parameters": {}}),
        "inference": orm.Dict({"features": "clusters", "max_features_GB": None}),
        "settings": orm.Dict(_settings(crystal, n_frames)),
    }
    with mock.patch.object(in_process, "load_potential", return_value=potential):
        _, node = run_get_node(MDSamplingWorkChain, **inputs)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    assert node.pk is not None
    return node.pk


def _settings(crystal: Crystal, n_frames: int) -> dict[str, Any]:
    rule = {"n_molecules": [crystal.size], "clusters_per_size": crystal.per_frame}
    dynamics = {
        "ensemble": "NVT", "time_total_fs": float(n_frames), "time_step_fs": 1.0, "time_equilibration_fs": 0.0,
        "sampling_interval_fs": 1.0, "supercell_matrix": np.eye(3, dtype=int).tolist(),
    }  # fmt: skip
    return {"temperature_K": TEMPERATURE_K, "finite_subsystem_filter": rule, "md_crystal": dynamics}


def commands(pk: str, entry: str) -> Mapping[str, Sequence[str]]:
    """Commands of ``aiida-mbetrain`` that read the run or its file."""
    file = "dataset.hdf5"
    return {
        "export": ["export", pk, "-o", file],
        "export-xyz of a run": ["export-xyz", pk, "-o", "of_run"],
        "export-xyz of a file": ["export-xyz", file, "-o", "of_file", "--e0s", "e0s.json"],
        "subsample": ["subsample", pk, "-n", "100", "--no-crystal"],
        "query origin": ["query", "origin", file, entry, "7"],
        "query frames": ["query", "frames", file, entry.partition(f"/{names.FINITE_SUBSYSTEMS}")[0]],
        "query unlabelled": ["query", "unlabelled", file, "GFN2-xTB"],
        "report of a run": ["report", pk, "-o", "run.html"],
        "report of a file": ["report", file, "-o", "file.html"],
    }


def figures(name: str, n_clusters: int, folder: Path, only: Sequence[str] = ()) -> Iterator[Figure]:
    """Time and memory of the run and of every command."""
    crystal = CRYSTALS[name]
    n_frames = n_clusters // crystal.per_frame
    what = f"{n_frames * crystal.per_frame:,} {name}"
    (folder / "e0s.json").write_text('{"C": 0.0, "H": 0.0, "O": 0.0}', "utf-8")
    told = folder / "pk"
    if not told.exists():
        arguments = ["-m", "benchmarks.end_to_end", f"--{name}", str(n_clusters), "--folder", str(folder), "--run"]
        yield from _watched("run", what, [sys.executable, *arguments], folder)
    pk = told.read_text("utf-8")
    section = f"training/md_sampling/{names.md_crystal_name(TEMPERATURE_K, None)}"
    entry = f"{section}/{names.FINITE_SUBSYSTEMS}/n={crystal.size}"
    for command, words in commands(pk, entry).items():
        if not only or command in only:
            yield from _watched(command, what, [_program(), *words], folder)


def _program() -> str:
    found = shutil.which("aiida-mbetrain")
    assert found is not None, "aiida-mbetrain is not installed"
    return found


def _watched(name: str, what: str, command: Sequence[str], folder: Path) -> Iterator[Figure]:
    """Time and anonymous memory of a process until it ends."""
    environment = os.environ | {"AIIDA_PATH": str(folder), "TMPDIR": str(folder)}
    start, peak = time.perf_counter(), 0
    with (folder / "log").open("a", encoding="utf-8") as log:
        cwd = Path.cwd() if "-m" in command else folder
        process = subprocess.Popen(command, env=environment, cwd=cwd, stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(POLL_s)
    if process.returncode:
        print((folder / "log").read_text("utf-8")[-3000:], file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    yield Figure(name, f"{what}, memory", peak / 1e6, "MB")
    yield Figure(name, f"{what}, time", time.perf_counter() - start, "s")


def _anonymous(pid: int) -> int:
    """Anonymous memory of a process in bytes; 0 for one that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * sum(int(size) for size in re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+)", status, re.M))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--octamers", type=int, help="clusters of eight ethane molecules, 64 atoms")
    chosen.add_argument("--dimers", type=int, help="pairs of water molecules, 6 atoms, ten in every frame")
    parser.add_argument("--only", action="append", default=[], help="one of the commands; may be repeated")
    parser.add_argument("--folder", type=Path, help="keep the files there, and go on with those that are there")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    name = "dimers" if arguments.octamers is None else "octamers"
    n_clusters = getattr(arguments, name)
    if arguments.run:
        crystal = CRYSTALS[name]
        pk = run(arguments.folder, crystal, n_clusters // crystal.per_frame)
        (arguments.folder / "pk").write_text(str(pk), "utf-8")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) if arguments.folder is None else arguments.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for figure in figures(name, n_clusters, folder, arguments.only):
            print(figure, flush=True)


if __name__ == "__main__":
    main()
