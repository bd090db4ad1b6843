"""Energy, forces and descriptors of one configuration after another by MACECalculator, for comparison.

    python -m benchmarks.one_by_one MODEL CONFIGURATIONS.xyz DEVICE THREADS

prints the CPU and the elapsed seconds after a first, uncounted call.  A program of its own: whatever this package
tunes in its process (memory allocation) must not speed up what it is compared with.
"""

from __future__ import annotations

import sys
import time

import torch
from ase import Atoms
from ase.io import read
from mace.calculators import MACECalculator


def label(calculator: MACECalculator, atoms: Atoms) -> None:
    """Energy, forces, descriptors."""
    plain = Atoms(atoms.numbers, atoms.positions)
    plain.calc = calculator
    plain.get_potential_energy()
    plain.get_forces()
    calculator.get_descriptors(plain)


def main() -> None:
    """Time all configurations of a file."""
    model, path, device, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    configurations = read(path, index=":")
    calculator = MACECalculator(model_paths=model, device=device, default_dtype="float64")
    for atoms in configurations[-1:] * 3:
        label(calculator, atoms)
    started = time.process_time(), time.perf_counter()
    for atoms in configurations:
        label(calculator, atoms)
    print("SECONDS", time.process_time() - started[0], time.perf_counter() - started[1])


if __name__ == "__main__":
    main()
