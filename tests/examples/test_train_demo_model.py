"""The recipe of the demo model: every script starts, and the structures of the training set can be made again.

Making structures needs no tblite: nothing is labelled.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.geometry import find_mic
from ase.io import read, write
from scipy.spatial.distance import cdist

from aiida_mbetrain import demo

RECIPE = Path(__file__).parents[2] / "examples" / "train_demo_model"
SCRIPTS = sorted(RECIPE.glob("*.py"))
WITH_OPTIONS = [path for path in SCRIPTS if "argparse" in path.read_text("utf-8")]
LIBRATIONS = ("librations", "quiet_librations", "small_librations", "soft_librations")
PARTS = ("supercells", "thermal", "clusters", "dimers", "close_dimers", *LIBRATIONS)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module generate_data, with the module of the reference method left out."""
    reference = types.ModuleType("reference")
    reference.label = lambda atoms: atoms
    monkeypatch.setitem(sys.modules, "reference", reference)
    monkeypatch.syspath_prepend(str(RECIPE))
    for name in ("geometry", "generate_data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("generate_data")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What prepare.py leaves behind, of springs to the sites instead of GFN1-xTB: every mode has 20 THz."""
    folder = tmp_path_factory.mktemp("work")
    crystal = demo.crystal()
    crystal.positions = find_mic(crystal.positions, crystal.cell)[0]
    write(folder / "relaxed.xyz", crystal, format="extxyz")
    frequency = 2 * np.pi * 0.020 / units.fs
    masses = np.repeat(crystal.get_masses(), 3)
    weights = np.sqrt(masses)
    free = np.linalg.qr(np.column_stack([rigid_motions(crystal) * weights[:, None], np.eye(len(masses))]))[0][:, 6:66]
    np.save(folder / "hessian.npy", frequency**2 * (free @ free.T) * np.outer(weights, weights))
    modes = np.eye(8 * len(masses)).reshape(-1, 8 * len(crystal), 3)
    np.savez(folder / "modes.npz", frequencies=np.full(len(modes), frequency), modes=modes)
    return folder


def rigid_motions(molecule: Atoms) -> np.ndarray:
    """Displacements (3n, 6) of translations and rotations."""
    axes = np.repeat(np.eye(3)[:, None], len(molecule), axis=1)
    turns = np.cross(axes, molecule.positions)
    return np.concatenate([axes, turns]).reshape(6, -1).T


def bonds(positions: np.ndarray) -> np.ndarray:
    return cdist(positions, positions)[np.triu_indices(len(positions), 1)]


def test_every_script_compiles_and_names_itself_in_its_usage():
    assert len(SCRIPTS) >= 9
    for path in SCRIPTS:
        compile(path.read_text("utf-8"), str(path), "exec")
    for path in WITH_OPTIONS:
        assert f"python {path.name}" in path.read_text("utf-8"), path.name


@pytest.mark.parametrize("path", WITH_OPTIONS, ids=lambda path: path.stem)
def test_scripts_answer_help(path: Path):
    if re.search(r"from reference import|import reference", path.read_text("utf-8")):
        pytest.importorskip("tblite")
    result = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: {path.name}")


def test_the_recipe_calls_scripts_and_parts_that_there_are(recipe):
    shell = (RECIPE / "recipe.sh").read_text("utf-8")
    assert set(recipe.STREAMS) == set(PARTS)
    assert set(re.findall(r"^part (\w+)", shell, re.MULTILINE)) == set(PARTS)
    called = set(re.findall(r"\$here/(\w+\.py)", shell))
    assert called <= {path.name for path in SCRIPTS}
    assert {"prepare.py", "train.py", "evaluate.py"} <= called


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_made_of_whole_molecules_and_reproducible_from_the_seed(recipe, work: Path, part: str):
    made = list(recipe.structures(part, work, 2, 1))
    again = list(recipe.structures(part, work, 2, 1))
    other = list(recipe.structures(part, work, 2, 2))
    reference = bonds(demo_molecule())
    for first, second, third in zip(made, again, other, strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)
        assert first.positions.shape != third.positions.shape or np.abs(first.positions - third.positions).max() > 1e-3
        molecules = first.positions.reshape(-1, 22, 3)
        assert (first.numbers.reshape(-1, 22) == demo.crystal().numbers).all()
        for molecule in molecules:
            assert np.abs(bonds(molecule) - reference).max() < 1.0  # shaken, and not torn apart
        kind = "librations" if part in LIBRATIONS else part
        assert first.info["config_type"].split("_")[0] == kind.rstrip("s").replace("_", "")
        assert first.pbc.all() == (part in ("supercells", "thermal", *LIBRATIONS))


def test_parts_that_share_random_numbers_have_other_seeds(recipe):
    shell = (RECIPE / "recipe.sh").read_text("utf-8")
    calls = re.findall(r"^part (\w+) data/\S+ \d+ (\d+)", shell, re.MULTILINE)
    used = [(recipe.STREAMS[part], int(seed)) for part, seed in calls]
    assert len(used) == len(set(used)) >= 10


def demo_molecule() -> np.ndarray:
    crystal = demo.crystal()
    return find_mic(crystal.positions, crystal.cell)[0]


@pytest.mark.parametrize("contact", [1.2, 2.5])
def test_dimers_touch_at_the_distance_that_was_asked_for(recipe, work: Path, contact: float):
    molecule = recipe.geometry.molecule_of(read(work / "relaxed.xyz"), np.load(work / "hessian.npy"))
    dimer = recipe.geometry.random_dimer(molecule, np.random.default_rng(3), contact=contact)
    assert cdist(dimer.positions[:22], dimer.positions[22:]).min() == pytest.approx(contact, abs=1e-5)


def test_supercells_of_periodic_parts_are_doubled_and_slightly_strained(recipe, work: Path):
    [supercell] = recipe.structures("supercells", work, 1, 5)
    ratio = supercell.cell.volume / (8 * demo.crystal().cell.volume)
    assert ratio == pytest.approx(1.0, abs=0.25)
    assert len(supercell) == 8 * 22
