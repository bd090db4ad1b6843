"""Make and label one part of the training set; see README.md for the parts and their order.

python generate_data.py WORK_DIR PART OUT.xyz --count N --seed S
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read, write

sys.path.insert(0, str(Path(__file__).parent))
import geometry
from reference import label

STREAMS = {"supercells": 0, "thermal": 1, "librations": 2, "clusters": 3, "dimers": 4, "close_dimers": 5}
STREAMS |= {"quiet_librations": 6, "small_librations": 6, "soft_librations": 6}
"""Parts and their streams of random numbers; of those that share one, each has to have a seed of its own."""


def structures(part: str, work: Path, count: int, seed: int, max_cluster: int = 5) -> Iterator[Atoms]:
    """The unlabelled structures of one part, reproducible from the seed."""
    crystal = read(work / "relaxed.xyz")
    cell = crystal.cell.array
    molecule = geometry.molecule_of(crystal, np.load(work / "hessian.npy"))
    rng = np.random.default_rng([seed, STREAMS[part]])
    normal_modes = np.load(work / "modes.npz") if part == "thermal" else {}
    for index in range(count):
        if part == "supercells":
            yield geometry.perturbed_supercell(molecule, cell, rng)
        elif part == "thermal":
            yield geometry.thermal_supercell(molecule, cell, rng, **normal_modes)
        elif part in geometry.LIBRATIONS:
            kind = geometry.LIBRATIONS[part]
            yield geometry.concerted_libration(molecule, cell, rng, kind, gamma=index % 4 in kind.at_gamma)
        elif part == "clusters":
            yield geometry.crystal_cluster(molecule, cell, rng, size=1 + index % max_cluster)
        else:
            contacts = (1.8, 3.2) if part == "dimers" else (1.0, 1.8)
            dimer = geometry.random_dimer(molecule, rng, contact=rng.uniform(*contacts))
            dimer.info["config_type"] = "dimer" if part == "dimers" else "closedimer"
            yield dimer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="holds the files of prepare.py")
    parser.add_argument("part", choices=STREAMS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--max-cluster", type=int, default=5, help="largest cluster, molecules")
    options = parser.parse_args()
    options.out.unlink(missing_ok=True)
    for atoms in structures(options.part, options.work, options.count, options.seed, options.max_cluster):
        try:
            write(options.out, label(atoms), format="extxyz", append=True)
        except RuntimeError as error:  # tblite: the self-consistent charges did not converge
            print(f"left out a {atoms.info['config_type']}: {error}")


if __name__ == "__main__":
    main()
