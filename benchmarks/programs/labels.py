"""``python -m benchmarks.programs.labels MODEL CLUSTERS.xyz OUTPUT.xyz``: energies and forces with this package."""

from __future__ import annotations

import sys
from itertools import groupby

from ase.io import read, write

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.science.stages import compute_labels

model, clusters, output = sys.argv[1:]
sets = [
    Configurations.from_atoms(list(frames))
    for _, frames in groupby(read(clusters, ":"), lambda atoms: tuple(atoms.numbers))
]
labelled = compute_labels(sets, load_mace(model), features=False)
write(output, [atoms for part in labelled for atoms in part.to_atoms()])
print(labelled[-1].energies[-1])
