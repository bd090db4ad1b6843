"""NPT of the 2x2x2 supercell with a MACE model: the test of the demo model, and a source of training frames.

python dynamics.py MODEL WORK_DIR OUT.npz --picoseconds 10 --temperature 298.15 --seed 7
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.geometry import find_mic
from ase.io import read
from ase.md.nose_hoover_chain import MTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.neighborlist import neighbor_list

from aiida_mbetrain.science.potentials import load_mace

REPEATS = (2, 2, 2)
BOND_LIMITS = {("C", "H"): 1.6, ("C", "N"): 2.1}  # Å; a longer bond counts as broken


def reference_bonds(supercell: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bonds (i, j) of the ordered crystal and the length above which each counts as broken."""
    first, second = neighbor_list("ij", supercell, {("C", "H"): 1.3, ("C", "N"): 1.7})
    first, second = first[first < second], second[first < second]
    pairs = [tuple(sorted((supercell[i].symbol, supercell[j].symbol))) for i, j in zip(first, second, strict=True)]
    return first, second, np.array([BOND_LIMITS[pair] for pair in pairs])


def intact(positions: np.ndarray, cells: np.ndarray, bonds: tuple[np.ndarray, ...]) -> np.ndarray:
    """Mask of the frames with every bond of the ordered crystal, (F,)."""
    first, second, limits = bonds
    lengths = [find_mic(x[second] - x[first], cell)[1] for x, cell in zip(positions, cells, strict=True)]
    return np.all(np.array(lengths) < limits, axis=1)


def run_npt(
    supercell: Atoms, calculator: Calculator, *, picoseconds: float, temperature_K: float, seed: int,
    time_step_fs: float = 0.5, interval: int = 20,
) -> dict[str, np.ndarray]:  # fmt: skip
    """MTK NPT at 1 bar with a fully flexible cell; a sample every ``interval`` steps."""
    rng = np.random.default_rng(seed)
    atoms = supercell.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature_K, rng=rng)
    Stationary(atoms)
    dynamics = MTKNPT(
        atoms, timestep=time_step_fs * units.fs, temperature_K=temperature_K, pressure_au=1e5 * units.Pascal,
        tdamp=100 * units.fs, pdamp=1000 * units.fs,
    )  # fmt: skip
    samples: dict[str, list] = {key: [] for key in ("temperature", "volume", "conserved", "positions", "cells")}

    def observe() -> None:
        samples["temperature"].append(2 * atoms.get_kinetic_energy() / (3 * (len(atoms) - 1) * units.kB))
        samples["volume"].append(atoms.get_volume())
        samples["conserved"].append(dynamics.get_conserved_energy())
        samples["positions"].append(atoms.get_positions())
        samples["cells"].append(atoms.cell.array.copy())

    dynamics.attach(observe, interval=interval)
    start, steps = time.process_time(), round(picoseconds * 1000 / time_step_fs)
    dynamics.run(steps)
    result = {key: np.array(value) for key, value in samples.items()}
    result["time_ps"] = np.arange(len(result["volume"])) * interval * time_step_fs / 1000
    result["cpu_ms_per_step"] = np.array(1000 * (time.process_time() - start) / steps)
    result["intact"] = intact(result["positions"], result["cells"], reference_bonds(supercell))
    return result


def summary(run: dict[str, np.ndarray], v0: float) -> dict[str, float]:
    """Averages over the last 80 % of a run; drift of the conserved energy in meV per atom and ps."""
    late = run["time_ps"] >= 0.2 * run["time_ps"][-1]
    n_atoms = run["positions"].shape[1]
    drift = np.polyfit(run["time_ps"][late], run["conserved"][late], 1)[0]
    return {
        "picoseconds": float(run["time_ps"][-1]),
        "mean_temperature_K": float(run["temperature"][late].mean()),
        "mean_volume_over_relaxed": float(run["volume"][late].mean() / v0),
        "drift_meV_per_atom_per_ps": float(1000 * drift / n_atoms),
        "fraction_of_frames_intact": float(run["intact"].mean()),
        "cpu_ms_per_step": float(run["cpu_ms_per_step"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path, help="holds relaxed.xyz of prepare.py")
    parser.add_argument("out", type=Path)
    parser.add_argument("--picoseconds", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=298.15)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--time-step", type=float, default=0.5, help="fs")
    parser.add_argument("--interval", type=int, default=20)
    options = parser.parse_args()
    supercell = read(options.work / "relaxed.xyz").repeat(REPEATS)
    calculator = load_mace(options.model).calculator()
    run = run_npt(
        supercell, calculator, picoseconds=options.picoseconds, temperature_K=options.temperature,
        seed=options.seed, time_step_fs=options.time_step, interval=options.interval,
    )  # fmt: skip
    np.savez_compressed(options.out, **run)
    print(summary(run, supercell.get_volume()))


if __name__ == "__main__":
    main()
