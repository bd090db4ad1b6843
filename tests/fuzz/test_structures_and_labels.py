"""Random structures, structure files and labels end in a named error or in molecules and labels."""

from __future__ import annotations

from random import Random

import crystals
import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from cif_files import HEADER
from fuzzing import mutated_bytes, mutated_text, refused

from aiida_mbetrain.datasets.training import read_labels
from aiida_mbetrain.datasets.training.reference_energies import read_e0s
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import load_npz, read_frames, save_npz
from aiida_mbetrain.science.molecules import detect_molecules

NUMBERS = (0.0, -0.0, 1e-300, 1e-8, 1e-3, 0.5, 1.0, 3.0, -7.0, 1e3, 1e6, 1e12, 1e300, np.nan, np.inf, -np.inf)


def treat(path) -> None:
    [atoms] = read_frames(path, what="a crystal", index="-1:")
    detect_molecules(Configurations.from_atoms(atoms))


@pytest.mark.parametrize("seed", range(20))
def test_structures(seed):
    random = Random(seed)
    for number in range(15):
        atoms = crystals.carbon_dioxide()
        numbers, positions, cell = atoms.numbers.copy(), atoms.positions.copy(), atoms.cell.array.copy()
        for _ in range(random.randint(1, 2)):
            action = random.randrange(5)
            if action == 0:
                numbers[random.randrange(len(numbers))] = random.choice([-1, 0, 1, 2, 54, 92, 96, 97, 118, 119, 2**40])
            elif action == 1:
                positions[random.randrange(len(positions)), random.randrange(3)] = random.choice(NUMBERS)
            elif action == 2:
                cell[random.randrange(3), random.randrange(3)] = random.choice(NUMBERS)
            elif action == 3:
                cell *= random.choice([0.0, 1e-3, 0.1, 0.5, 2.0, 10.0, 1e3, 1e6])
            else:
                positions *= random.choice([0.0, 1e-3, 0.5, 1.0, 1e3, 1e9])
        case = f"seed {seed}, case {number}: {numbers.tolist()} {positions.tolist()} {cell.tolist()}"
        refused(case, lambda n=numbers, p=positions, c=cell: detect_molecules(Configurations(n, p[None], c[None])))


@pytest.mark.parametrize("seed", range(20))
def test_structure_files(tmp_path, seed):
    random = Random(seed)
    cif = HEADER + "_atom_site_occupancy\nAr1 Ar 0 0 0 1\nAr2 Ar 0.5 0.5 0 1\nD1 D 0.5 0 0.5 1.0\n"
    write(tmp_path / "a.extxyz", crystals.argon())
    write(tmp_path / "POSCAR", crystals.argon())
    examples = {
        "b.cif": cif,
        "b.extxyz": (tmp_path / "a.extxyz").read_text(),
        "POSCAR": (tmp_path / "POSCAR").read_text(),
    }
    for _ in range(15):
        name = random.choice(list(examples))
        (tmp_path / name).write_text(mutated_text(random, examples[name]), errors="replace")
        refused((tmp_path / name).read_text(), lambda name=name: treat(tmp_path / name))


@pytest.mark.parametrize("seed", range(10))
def test_array_files(tmp_path, seed):
    random = Random(seed)
    frames = Configurations.from_atoms(crystals.argon())
    save_npz(tmp_path / "a.npz", frames.to_arrays())
    content = (tmp_path / "a.npz").read_bytes()
    for _ in range(25):
        (tmp_path / "b.npz").write_bytes(mutated_bytes(random, content))
        refused(f"seed {seed}", lambda: load_npz(tmp_path / "b.npz"))


@pytest.mark.parametrize("seed", range(20))
def test_labels(tmp_path, seed):
    random = Random(seed)
    frames = []
    for uid in ("u1", "u2"):
        atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]], cell=5 * np.eye(3), pbc=uid == "u2")
        atoms.info.update(uid=uid, REF_energy=-3.0, REF_stress=np.zeros((3, 3)))
        atoms.arrays["REF_forces"] = np.full((2, 3), 0.1)
        frames.append(atoms)
    isolated = Atoms("C")
    isolated.info.update(uid="u3", REF_energy=-1.0, config_type="IsolatedAtom")
    write(tmp_path / "labels.xyz", [*frames, isolated], format="extxyz")
    text = (tmp_path / "labels.xyz").read_text()

    def read():
        labels = read_labels(tmp_path / "other.xyz")
        for label in labels.frames.values():
            assert np.isfinite(label.energy)
            assert label.forces is None or np.isfinite(label.forces).all()

    for _ in range(20):
        (tmp_path / "other.xyz").write_text(mutated_text(random, text), errors="replace")
        refused((tmp_path / "other.xyz").read_text(), read)


@pytest.mark.parametrize("seed", range(5))
def test_isolated_atoms(tmp_path, seed):
    random = Random(seed)
    for _ in range(20):
        (tmp_path / "e0s.yaml").write_text(mutated_text(random, "H: -13.6\nC: -1029.6\n8: -2042.0\n"), errors="replace")
        refused((tmp_path / "e0s.yaml").read_text(), lambda: read_e0s(tmp_path / "e0s.yaml"))
