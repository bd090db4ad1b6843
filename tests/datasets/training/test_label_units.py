"""Labels in another unit are pointed out with the unit; other labels pass."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write

from aiida_mbetrain.datasets.training import read_labels
from aiida_mbetrain.datasets.training.label_units import require_same_units
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations

NUMBERS = np.array([6, 8, 8, 1])


def frames(rng: np.random.Generator, n: int = 6) -> Configurations:
    shape = (n, len(NUMBERS), 3)
    return Configurations(
        NUMBERS, rng.normal(size=shape), energies=-5000 + rng.normal(size=n), forces=rng.normal(size=shape)
    )


def labels(before: Configurations, rng: np.random.Generator, *, energy: float = 1.0, force: float = 1.0):
    """Another method: other zeros, slightly other numbers, then other units."""
    energies = (before.energies * 1.05 - 300.0 + rng.normal(scale=0.05, size=len(before))) * energy
    forces = (before.forces * 0.93 + rng.normal(scale=0.1, size=before.forces.shape)) * force
    return before.with_(energies=energies, forces=forces)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (units.mol / units.kJ, "kJ/mol/Å"),
        (units.mol / units.kcal, "kcal/mol/Å"),
        (units.Bohr / units.Hartree, "hartree/bohr"),
        (1000.0, "meV/Å"),
    ],
)
def test_forces_in_another_unit_are_named(factor, unit):
    rng = np.random.default_rng(1)
    before = frames(rng)
    with pytest.raises(InvalidSettings, match=f"Are they in .*{unit}"):
        require_same_units([(labels(before, rng, force=factor), before)], "labels.xyz")


@pytest.mark.parametrize(
    ("factor", "unit"), [(96.485, "kJ/mol"), (23.06, "kcal/mol"), (1 / 27.211, "hartree"), (1000.0, "meV")]
)
def test_energies_in_another_unit_are_named(factor, unit):
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(3):
        before = frames(rng)
        pairs.append((labels(before, rng, energy=factor), before))
    with pytest.raises(InvalidSettings, match=f"energies .* Are they in .*{unit}"):
        require_same_units(pairs, "labels.xyz")


def test_gradients_are_named():
    rng = np.random.default_rng(3)
    before = frames(rng)
    with pytest.raises(InvalidSettings, match="gradients"):
        require_same_units([(labels(before, rng, force=-1.0), before)], "labels.xyz")


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_another_method_pass(seed):
    rng = np.random.default_rng(seed)
    before = frames(rng)
    require_same_units([(labels(before, rng), before)], "labels.xyz")
    require_same_units([(frames(rng), before)], "labels.xyz")
    unlike = frames(rng)
    require_same_units([(unlike.with_(forces=96.485 * unlike.forces), before)], "labels.xyz")


def test_few_or_absent_numbers_pass():
    one = Configurations(NUMBERS, np.zeros((1, 4, 3)), energies=np.array([-3.0]))
    require_same_units([(one.with_(energies=np.array([-300.0])), one)], "labels.xyz")
    require_same_units([], "labels.xyz")


@pytest.mark.parametrize(("energy", "force"), [(1e300, 0.1), (-1e9, 0.1), (-5.0, 1e300), (-5.0, 1e6)])
def test_absurd_numbers_are_refused(tmp_path, energy, force):
    atoms = Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.13]])
    atoms.info.update(uid="u1", REF_energy=energy)
    atoms.arrays["REF_forces"] = np.full((2, 3), force)
    write(tmp_path / "labels.xyz", atoms, format="extxyz")
    with pytest.raises(UnreadableFile, match=r"frame 0: the (energy|force) .* is none"):
        read_labels(tmp_path / "labels.xyz")


@pytest.mark.parametrize("symbols", ["", "CO"])
def test_isolated_atom_without_or_with_two_atoms_is_refused(tmp_path, symbols):
    atoms = Atoms(symbols)
    atoms.info.update(uid="u1", REF_energy=-5.0, config_type="IsolatedAtom")
    write(tmp_path / "labels.xyz", atoms, format="extxyz")
    with pytest.raises(UnreadableFile):
        read_labels(tmp_path / "labels.xyz")
