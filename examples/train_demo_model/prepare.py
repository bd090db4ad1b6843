"""Relax the crystal with GFN1-xTB and compute its reference phonons.

    python prepare.py WORK_DIR

relaxes the experimental structure of experiment.cif and writes relaxed.xyz (primitive cell; what the package ships),
gfn1_phonons.yaml (phonopy, 2x2x2 force constants), modes.npz (the normal modes of the supercell) and hessian.npy
(isolated molecule).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.io import read, write
from phonopy.harmonic.force_constants import compact_fc_to_full_fc

sys.path.insert(0, str(Path(__file__).parent))
from reference import Repeated, commensurate_frequencies, gfn1, phonons, relax


def molecular_hessian(molecule: Atoms, step: float = 0.005) -> np.ndarray:
    """Central differences of the GFN1 forces, symmetrised, (3n, 3n), eV/Å²."""
    rows = []
    molecule = molecule.copy()
    molecule.calc = gfn1()
    for atom, axis in np.ndindex(len(molecule), 3):
        forces = []
        for sign in (1, -1):
            displaced = molecule.copy()
            displaced.calc = molecule.calc
            displaced.positions[atom, axis] += sign * step
            forces.append(displaced.get_forces())
        rows.append((forces[1] - forces[0]).ravel() / (2 * step))
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


def supercell_modes(phonon, crystal: Atoms) -> dict[str, np.ndarray]:
    """Normal modes of the supercell at rest, in the order of ``crystal.repeat``: frequencies (ASE units) and modes.

    The three translations are left out.
    """
    supercell = crystal.repeat((2, 2, 2))
    separations = supercell.positions[:, None] - phonon.supercell.positions[None]
    distances = find_mic(separations.reshape(-1, 3), supercell.cell)[1].reshape(len(supercell), -1)
    order = distances.argmin(axis=1)
    if distances.min(axis=1).max() > 1e-3 or len(set(order)) != len(order):
        raise ValueError("phonopy's supercell is not the repeated primitive cell")
    constants = phonon.force_constants
    if len(constants) < len(supercell):
        constants = compact_fc_to_full_fc(phonon.primitive, constants)
    constants = constants[np.ix_(order, order)]
    n, masses = len(supercell), supercell.get_masses()
    weights = np.repeat(masses, 3) ** -0.5
    matrix = constants.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n) * np.outer(weights, weights)
    eigenvalues, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if eigenvalues[3] <= 0:
        raise ValueError("the reference crystal is not a minimum")
    return {"frequencies": np.sqrt(eigenvalues[3:]), "modes": vectors.T[3:].reshape(-1, n, 3)}


def main() -> None:
    work = Path(sys.argv[1])
    work.mkdir(parents=True, exist_ok=True)
    start = read(Path(__file__).parent / "experiment.cif", primitive_cell=True, subtrans_included=False)
    crystal = relax(start[(-start.numbers).argsort(kind="stable")], Repeated(gfn1()))  # N, C, H
    crystal.positions = find_mic(crystal.positions, crystal.cell)[0]  # the molecule around the origin, whole
    write(work / "relaxed.xyz", crystal, format="extxyz")
    print("primitive cell edge (Å):", crystal.cell.lengths()[0])
    phonon = phonons(crystal, gfn1())
    phonon.save(work / "gfn1_phonons.yaml", settings={"force_constants": True})
    np.savez(work / "modes.npz", **supercell_modes(phonon, crystal))
    print("Γ frequencies (THz):", commensurate_frequencies(phonon)[0, :6])
    np.save(work / "hessian.npy", molecular_hessian(Atoms(crystal.numbers, crystal.positions)))


if __name__ == "__main__":
    main()
