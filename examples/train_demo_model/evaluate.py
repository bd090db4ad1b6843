"""The numbers of the model card: errors on held-out data, the crystal, its phonons, the repulsive wall.

python evaluate.py MODEL WORK_DIR RESULT.json held_out_1.xyz held_out_2.xyz ...
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import phonopy
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io import read
from numpy.typing import ArrayLike

sys.path.insert(0, str(Path(__file__).parent))
import geometry
from reference import Repeated, commensurate_frequencies, gfn1, phonons, relax

from aiida_mbetrain.science.potentials import load_mace

WALL_CONTACTS = np.array([1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0])


def rms(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def held_out_errors(frames: list[Atoms], calculator: Calculator, n_molecule: int) -> dict[str, dict[str, float]]:
    """Root mean square errors by kind of structure: meV/Å, meV/atom, GPa; interaction energies per molecule, meV."""
    errors: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for frame in frames:
        kind = frame.info["config_type"].split("_")[0]
        copy = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        copy.calc = calculator
        found = errors[kind]
        found["forces_meV_per_A"].extend(1000 * (copy.get_forces() - frame.get_forces()).ravel())
        difference = copy.get_potential_energy() - frame.get_potential_energy()
        found["energy_meV_per_atom"].append(1000 * difference / len(frame))
        if frame.pbc.all():
            found["stress_GPa"].extend((copy.get_stress() - frame.get_stress()) / units.GPa)
        elif len(frame) > n_molecule:
            model, reference = (interaction_energy(frame, energy, n_molecule) for energy in (calculator, gfn1()))
            n_molecules = len(frame) // n_molecule
            found["interaction_meV_per_molecule"].append(1000 * (model - reference) / n_molecules)
            found["reference_interaction_meV_per_molecule"].append(1000 * reference / n_molecules)
    return {
        kind: {name: rms(np.array(values)) for name, values in found.items()}
        | {"structures": len(found["energy_meV_per_atom"])}
        for kind, found in sorted(errors.items())
    }


def interaction_energy(cluster: Atoms, calculator, n_molecule: int) -> float:
    """E(cluster) - sum of E(molecule), every molecule in its geometry in the cluster, eV."""

    def energy(atoms: Atoms) -> float:
        atoms = Atoms(atoms.numbers, atoms.positions)
        atoms.calc = calculator
        return atoms.get_potential_energy()

    return energy(cluster) - sum(energy(cluster[i : i + n_molecule]) for i in range(0, len(cluster), n_molecule))


def without_acoustic(phonon: phonopy.Phonopy) -> np.ndarray:
    """Commensurate frequencies, (8, 3 n); the three translations at Γ, wherever imaginary modes put them, are NaN."""
    frequencies = commensurate_frequencies(phonon)
    gamma = frequencies[0]
    acoustic = np.argsort(np.abs(gamma))[:3]
    frequencies[0] = np.concatenate([[np.nan] * 3, np.delete(gamma, acoustic)])
    return frequencies


def compare_phonons(crystal: Atoms, calculator: Calculator, reference: phonopy.Phonopy) -> dict[str, float]:
    """The model's phonons at its own minimum against GFN1's at GFN1's, at the q-points of the 2x2x2 supercell, THz."""
    model, expected = (without_acoustic(p) for p in (phonons(crystal, calculator), reference))
    # of one molecule: three librations, and three translations except at Γ
    lattice = np.zeros_like(expected, dtype=bool)
    lattice[0, 3:6] = lattice[1:, :6] = True
    present = np.isfinite(expected)
    difference = model - expected
    return {
        "gamma_libration_model": float(model[0, 3:6].mean()),
        "gamma_libration_reference": float(expected[0, 3:6].mean()),
        "lowest_model": float(np.nanmin(model)),
        "lowest_reference": float(np.nanmin(expected)),
        "rms_error_lattice_modes": rms(difference[lattice]),
        "rms_error_molecular_modes": rms(difference[present & ~lattice]),
        "largest_error_lattice_modes": float(np.abs(difference[lattice]).max()),
    }


def rigid_dimer(molecule: geometry.Molecule, seed: int, contact: float) -> Atoms:
    """The same orientation at every contact distance, molecules as in the crystal."""
    return geometry.random_dimer(molecule, np.random.default_rng([5, seed]), contact, temperature_K=0.0)


def wall(crystal: Atoms, work: Path, calculator: Calculator, orientations: int = 8) -> dict[str, list]:
    """Interaction energies (eV) of rigid dimers at falling contact distance, (orientations, contacts), both methods."""
    molecule = geometry.molecule_of(crystal, np.load(work / "hessian.npy"))
    energies: dict[str, list] = {"contacts_A": WALL_CONTACTS.tolist(), "model": [], "reference": []}
    for seed in range(orientations):
        for name, method in (("model", calculator), ("reference", gfn1())):
            dimers = [rigid_dimer(molecule, seed, contact) for contact in WALL_CONTACTS]
            energies[name].append([interaction_energy(dimer, method, len(crystal)) for dimer in dimers])
    return energies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path, help="holds the files of prepare.py")
    parser.add_argument("result", type=Path)
    parser.add_argument("held_out", type=Path, nargs="*")
    options = parser.parse_args()
    calculator = load_mace(options.model).calculator()
    crystal = read(options.work / "relaxed.xyz")
    relaxed = relax(crystal, Repeated(calculator))
    frames = [frame for path in options.held_out for frame in read(path, index=":")]
    reference = phonopy.load(options.work / "gfn1_phonons.yaml", log_level=0)
    result = {
        "edge_A": {"model": relaxed.cell.lengths()[0], "reference": crystal.cell.lengths()[0]},
        "phonons_THz": compare_phonons(relaxed, calculator, reference),
        "held_out": held_out_errors(frames, calculator, len(crystal)),
        "wall_eV": wall(crystal, options.work, calculator),
    }
    options.result.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
