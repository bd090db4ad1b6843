"""Memory at each place that arrays of labelled clusters pass through: ``python -m benchmarks.memory [--octamers N]``.

A cheap potential with the features of a large model labels octamers of 64 atoms.  Each place is measured in a process
of its own, and given in MB and as a ratio to the bytes of the arrays.  Counted is anonymous memory: pages of files that
are mapped belong to the cache of the operating system, which gives them back.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones

from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from benchmarks.figure import Figure

if TYPE_CHECKING:
    from aiida_mbetrain.data.cluster_set import ClusterSetData

N_MOLECULES, N_ATOMS, N_FEATURES = 8, 64, 256
KEY = f"n={N_MOLECULES}"
OUTPUTS = "outputs"
STATUS = Path("/proc/self/status")


class Cheap(Potential):
    """Harmonic potential of every atom in its place, with features that are cosines of its coordinates."""

    feature_length = N_FEATURES

    def evaluate(
        self, sets: Sequence[Configurations], *, features: bool = False, report: Report = silent
    ) -> list[Configurations]:
        """See Potential."""
        return [self._labelled(part, features) for part in sets]

    def _labelled(self, part: Configurations, features: bool) -> Configurations:
        return part.with_(
            energies=0.5 * (part.positions**2).sum(axis=(1, 2)),
            forces=-part.positions,
            stress=np.zeros((part.n_frames, 3, 3)) if part.periodic else None,
            features=_cosines(part.positions) if features else None,
        )

    def calculator(self) -> Calculator:
        """See Potential."""
        return LennardJones()

    def describe(self) -> dict[str, str | float | int | None]:
        """See Potential."""
        return {"name": "cheap", "device": "cpu"}


def _cosines(positions: FloatArray) -> FloatArray:
    waves: FloatArray = np.cos(positions @ np.random.default_rng(0).normal(size=(3, N_FEATURES)))
    return waves


def octamers(n_frames: int) -> ClusterSet:
    """A cluster of eight molecules in many frames, without labels."""
    rng = np.random.default_rng(1)
    frames = Configurations(
        numbers=np.tile([6, 6, 8, 8, 1, 1, 1, 1], N_MOLECULES),
        positions=rng.normal(scale=5.0, size=(n_frames, N_ATOMS, 3)),
        origin={"frame": np.arange(n_frames), "intact": np.ones(n_frames, dtype=bool)},
    )
    cluster = Cluster(KEY, np.arange(N_MOLECULES), np.zeros((N_MOLECULES, 3), dtype=np.int64), 0)
    return ClusterSet(cluster, frames)


def label(folder: Path, n_octamers: int, checkpoint_interval_s: float) -> Callable[[], object]:
    """The stage in a job: outputs in files, and its checkpoint where the interval is short."""
    from aiida_mbetrain.science.stages import STAGES, Job
    from aiida_mbetrain.worker.main import write_outputs

    job = Job(
        inputs={"n_8": octamers(n_octamers)},
        potential=Cheap(),
        checkpoint=folder / "checkpoint.segments",
        checkpoint_interval_s=checkpoint_interval_s,
    )

    def run() -> None:
        entries = write_outputs(folder / OUTPUTS, STAGES["labels"](job))
        (folder / "entries.json").write_text(json.dumps(entries), "utf-8")
        (folder / "checkpoint.segments").unlink(missing_ok=True)

    return run


def labelled(folder: Path) -> ClusterSet:
    """The labelled clusters that the job has left."""
    from aiida_mbetrain.worker import codec

    entries = json.loads((folder / "entries.json").read_text("utf-8"))
    found: ClusterSet = codec.load(folder / OUTPUTS, entries["n_8"])
    return found


def parse(folder: Path) -> Callable[[], ClusterSetData]:
    """From the files of a job to a stored node."""
    from aiida_mbetrain.data.cluster_set import ClusterSetData

    return lambda: ClusterSetData.from_science(labelled(folder)).store()


def read(folder: Path) -> Callable[[], object]:
    """From a stored node to a mean over the features."""
    node = parse(folder)()
    return lambda: np.asarray(node.to_science().configurations.features).mean(axis=1, dtype=np.float64)


def export(folder: Path, **storage: Any) -> Callable[[], object]:
    """The HDF5 file of a stored node."""
    from aiida_mbetrain.datasets.hdf5 import Storage, write_dataset

    node, path = parse(folder)(), folder / "dataset.hdf5"
    write_dataset(path, dataset_of([octamers(2)]))  # imports
    return lambda: write_dataset(path, dataset_of([node.to_science()]), storage=Storage(**storage))


def export_xyz(folder: Path) -> Callable[[], object]:
    """Extended XYZ of a stored node."""
    from aiida_mbetrain.datasets.training import Split, entries_of, write_training_files

    node = parse(folder)()
    e0s = {1: 0.0, 6: 0.0, 8: 0.0}

    def write(clusters: ClusterSet) -> None:
        entries = entries_of(dataset_of([clusters]), sizes=[N_MOLECULES])
        write_training_files(folder / "mace", entries, e0s, split=Split((0.8, 0.1, 0.1), seed=1))

    first = node.to_science()
    write(replace(first, configurations=first.configurations.select(slice(100))))  # imports
    del first
    return lambda: write(node.to_science())


def subsample(folder: Path) -> Callable[[], object]:
    """A choice of a hundredth by features, from a stored node."""
    from aiida_mbetrain.science.subsampling import subsample as choose
    from aiida_mbetrain.settings import Subsampling

    node = parse(folder)()
    settings = Subsampling(n_frames=max(1, node.base.attributes.get("n_frames") // 100))
    return lambda: choose({"n_8": node.to_science()}, settings)


def dataset_of(clusters: Sequence[ClusterSet]) -> Any:
    """A dataset whose dynamics has the clusters, and hardly anything else."""
    from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules
    from aiida_mbetrain.science.molecules import detect_molecules
    from aiida_mbetrain.science.tables import Table
    from benchmarks.stages import thermal_frames

    n_frames = clusters[0].configurations.n_frames
    times, crystal = np.arange(1.0, n_frames + 1), thermal_frames(1, 1, noise=0.0)
    frames = crystal.select(np.zeros(n_frames, dtype=int))
    frames = frames.with_(
        energies=np.zeros(n_frames), forces=frames.positions, velocities=frames.positions, origin={"time_fs": times}
    )
    series = Table({name: times for name in ("time_fs", "temperature_K", "kinetic_energy_eV", "pressure_GPa")})
    section = MDSection(
        root_key="training/md_sampling", ensemble="NPT", temperature_K=300.0, pressure_GPa=1e-4,
        time_equilibration_fs=0.0, trajectory=frames, series=series,
        molecules=Molecules(detect_molecules(crystal), frames, tuple(clusters)),
    )  # fmt: skip
    return Dataset((section,))


OFTEN_s, NEVER_s = 1e-9, 1e9
PLACES: Mapping[str, Callable[[Path, int], Callable[[], object]]] = {
    "label stage": partial(label, checkpoint_interval_s=NEVER_s),
    "label stage, saved after every piece": partial(label, checkpoint_interval_s=OFTEN_s),
    "parser and node": lambda folder, _: parse(folder),
    "read a node": lambda folder, _: read(folder),
    "export": lambda folder, _: export(folder),
    "export --compress": lambda folder, _: export(folder, compression=1),
    "export-xyz": lambda folder, _: export_xyz(folder),
    "subsample": lambda folder, _: subsample(folder),
}


def anonymous_peak(call: Callable[[], object]) -> int:
    """Growth of the anonymous memory of this process (bytes) at its peak during the call."""
    found, done = [_anonymous()], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            found.append(_anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        call()
    finally:
        done.set()
        watcher.join()
    return max(found) - found[0]


def _anonymous() -> int:
    return 1024 * sum(int(size) for size in re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+)", STATUS.read_text(), re.M))


def figures(*, n_octamers: int) -> Iterator[Figure]:
    """Memory of every place; none where the system does not tell it (not Linux)."""
    if not STATUS.exists():
        return
    array_bytes = n_octamers * N_ATOMS * N_FEATURES * 8
    with tempfile.TemporaryDirectory() as scratch:
        for place in PLACES:
            command = [sys.executable, "-m", "benchmarks.memory", "--place", place, "--octamers", str(n_octamers)]
            environment = os.environ | {"AIIDA_PATH": scratch}
            told = subprocess.run(
                [*command, "--folder", scratch], env=environment, check=True, stdout=subprocess.PIPE, text=True
            )
            grown = int(told.stdout.splitlines()[-1])
            what = f"{n_octamers:,} octamers"
            yield Figure(f"memory: {place}", what, grown / 1e6, "MB")
            yield Figure(f"memory: {place}", f"{what} / features in float64", grown / array_bytes)


@contextlib.contextmanager
def _profile(folder: Path) -> Iterator[None]:
    """A profile of its own, as `aiida-mbetrain` makes one, whose nodes lie in files in the folder."""
    from aiida import load_profile, orm
    from aiida.manage import get_manager
    from aiida.manage.configuration import Profile
    from aiida.storage.sqlite_dos import SqliteDosStorage

    with tempfile.TemporaryDirectory(dir=folder) as storage:
        profile = Profile(
            "memory",
            {
                "default_user_email": "user@email.com",
                "storage": {"backend": "core.sqlite_dos", "config": {"filepath": storage}},
                "process_control": {"backend": None, "config": {}},
                "options": {"warnings.development_version": False, "logging.aiida_loglevel": "ERROR"},
            },
        )
        SqliteDosStorage.initialise(profile)
        load_profile(profile, allow_switch=True)  # type: ignore[arg-type]  # it takes both
        orm.User("user@email.com").store()
        try:
            yield
        finally:
            get_manager().unload_profile()


def main() -> None:
    """Print the figures, or in a process of its own the memory (bytes) of one place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--octamers", type=int, default=2000, help="clusters of 64 atoms (default 2000)")
    parser.add_argument("--place", choices=PLACES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.place is None:
        for figure in figures(n_octamers=arguments.octamers):
            print(figure, flush=True)
        return
    with _profile(arguments.folder):
        call = PLACES[arguments.place](arguments.folder, arguments.octamers)
        print(anonymous_peak(call))


if __name__ == "__main__":
    main()
