"""Label frames of the model's own NPT run, and clusters cut from them: where the model goes, it must be right.

python frames_of_dynamics.py RUN.npz WORK_DIR OUT.xyz --frames 12 --clusters 12 --seed 3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.io import read, write

sys.path.insert(0, str(Path(__file__).parent))
from reference import label


def cluster_of(frame: Atoms, size: int, n_atoms: int, rng: np.random.Generator) -> Atoms:
    """A random molecule and its nearest neighbours, each whole; the molecules follow one another in the frame."""
    molecules = frame.positions.reshape(-1, n_atoms, 3)
    anchors = molecules[:, :1]
    inside, _ = find_mic((molecules - anchors).reshape(-1, 3), frame.cell)
    molecules = anchors + inside.reshape(molecules.shape)
    centres = molecules.mean(axis=1)
    middle = rng.integers(len(centres))
    separations, distances = find_mic(centres - centres[middle], frame.cell)
    chosen = np.argsort(distances)[:size]
    positions = molecules[chosen] - centres[chosen][:, None] + separations[chosen][:, None]
    cluster = Atoms(np.tile(frame.numbers[:n_atoms], size), positions.reshape(-1, 3))
    cluster.info["config_type"] = f"dynamics_cluster_{size}"
    return cluster


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--clusters", type=int, default=12)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    run, crystal = np.load(options.run), read(options.work / "relaxed.xyz")
    usable = np.flatnonzero(run["intact"] & (run["time_ps"] > 0.1))
    rng = np.random.default_rng(options.seed)
    frames = []
    for index in usable[np.linspace(0, len(usable) - 1, options.frames).round().astype(int)]:
        numbers = np.tile(crystal.numbers, run["positions"].shape[1] // len(crystal))
        frame = Atoms(numbers, run["positions"][index], cell=run["cells"][index], pbc=True)
        frame.info["config_type"] = "dynamics"
        frames.append(frame)
    sizes = 1 + np.arange(options.clusters) % 8
    clusters = [cluster_of(frames[rng.integers(len(frames))], size, len(crystal), rng) for size in sizes]
    options.out.unlink(missing_ok=True)
    for atoms in (*frames, *clusters):
        write(options.out, label(atoms), format="extxyz", append=True)


if __name__ == "__main__":
    main()
