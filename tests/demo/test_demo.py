"""The shipped crystal and model: what MODEL_CARD.md promises."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import phonopy
import pytest
import spglib
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.geometry import find_mic
from ase.md.nose_hoover_chain import MTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from phonopy.structure.atoms import PhonopyAtoms
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from aiida_mbetrain import demo
from aiida_mbetrain.science.potentials import inspect_mace, load_mace

REFERENCE = json.loads((Path(__file__).with_name("gfn1_reference.json")).read_text())
REPEATS = (2, 2, 2)
BOND_LIMITS = {("C", "H"): 1.6, ("C", "N"): 2.1}  # Å


@pytest.fixture(scope="module")
def calculator() -> Calculator:
    return load_mace(demo.model_path()).calculator()


@pytest.fixture(scope="module")
def relaxed(calculator: Calculator) -> Atoms:
    crystal = demo.crystal()
    crystal.calc = calculator
    crystal.set_constraint(FixSymmetry(crystal))
    assert BFGS(FrechetCellFilter(crystal), logfile=None).run(fmax=1e-3, steps=200)
    return Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True)


def test_importing_the_demo_loads_nothing_heavy() -> None:
    code = "import sys, aiida_mbetrain.demo; print({'torch', 'mace', 'ase'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "set()"


def test_crystal_is_one_molecule_per_primitive_cell_at_the_minimum_of_gfn1() -> None:
    crystal = demo.crystal()
    assert crystal.get_chemical_formula() == "C6H12N4"
    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    assert spglib.get_spacegroup(cell) == "I-43m (217)"
    distances = np.sort(crystal.get_all_distances(mic=True)[crystal.numbers == 6], axis=1)
    np.testing.assert_allclose(distances[:, 1:3], 1.094, atol=2e-3)
    np.testing.assert_allclose(distances[:, 3:5], 1.465, atol=2e-3)
    np.testing.assert_allclose(crystal.cell.lengths(), REFERENCE["primitive_edge_A"], rtol=2e-4)


def test_model_is_the_file_the_card_describes() -> None:
    content = demo.model_path().read_bytes()
    [stated] = re.findall(r"\b[0-9a-f]{64}\b", demo.model_card_path().read_text())
    assert hashlib.sha256(content).hexdigest() == stated
    assert len(content) < 1_000_000


def test_model_knows_the_elements_in_double_precision() -> None:
    found = inspect_mace(demo.model_path())
    assert sorted(found["elements"]) == ["C", "H", "N"]
    assert found["dtype"] == "float64"


@pytest.mark.parametrize("case", REFERENCE["structures"], ids=lambda case: case["name"])
def test_energies_and_forces_agree_with_gfn1(case: dict, calculator: Calculator) -> None:
    atoms = Atoms(case["numbers"], case["positions"], cell=case["cell"], pbc=case["cell"] is not None)
    atoms.calc = calculator
    errors = atoms.get_forces() - np.array(case["forces"])
    assert np.sqrt(np.mean(errors**2)) < REFERENCE["tolerances"]["forces_eV_per_A"]
    difference = (atoms.get_potential_energy() - case["energy"]) / len(atoms)
    assert abs(difference) < REFERENCE["tolerances"]["energy_eV_per_atom"]


def test_relaxed_lattice_is_that_of_gfn1(relaxed: Atoms) -> None:
    reference = REFERENCE["primitive_edge_A"]
    np.testing.assert_allclose(relaxed.cell.lengths(), reference, rtol=REFERENCE["tolerances"]["edge_relative"])


def interaction(
    calculator: Calculator, molecule: Atoms, direction: np.ndarray, turn: Rotation, contact: float
) -> float:
    """Interaction energy (eV) of two rigid molecules whose nearest atoms are ``contact`` apart."""
    first, second = molecule.positions, turn.apply(molecule.positions)

    def excess(separation: float) -> float:
        return cdist(first, second + separation * direction).min() - contact

    last_touch = max(s for s in np.arange(0.0, 15.0, 0.1) if excess(s) < 0)
    separation = brentq(excess, last_touch, last_touch + 0.1)
    dimer = Atoms(np.tile(molecule.numbers, 2), np.concatenate([first, second + separation * direction]))
    energies = []
    for atoms in (dimer, dimer[: len(molecule)], dimer[len(molecule) :]):
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    return energies[0] - energies[1] - energies[2]


@pytest.mark.parametrize("seed", range(6))
def test_molecules_repel_at_short_contacts(seed: int, relaxed: Atoms, calculator: Calculator) -> None:
    rng = np.random.default_rng(seed)
    molecule = Atoms(relaxed.numbers, find_mic(relaxed.positions, relaxed.cell)[0])
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    turn = Rotation.random(rng=rng)
    contacts = REFERENCE["wall_contacts_A"]
    energies = [interaction(calculator, molecule, direction, turn, contact) for contact in contacts]
    assert np.all(np.diff(energies) > 0), dict(zip(contacts, energies, strict=True))
    assert energies[-1] > 10 * units.kB * 298.15  # out of reach at room temperature


def frequencies_of(crystal: Atoms, calculator: Calculator) -> np.ndarray:
    """Frequencies (8, 66), THz, at the q-points of the 2x2x2 supercell, Γ first; imaginary ones are negative."""
    cell = PhonopyAtoms(numbers=crystal.numbers, cell=crystal.cell.array, positions=crystal.positions)
    phonon = phonopy.Phonopy(cell, supercell_matrix=np.diag(REPEATS), primitive_matrix=np.eye(3), log_level=0)
    phonon.generate_displacements(distance=0.01)
    forces = []
    for displaced in phonon.supercells_with_displacements:
        atoms = Atoms(displaced.numbers, displaced.positions, cell=displaced.cell, pbc=True)
        atoms.calc = calculator
        forces.append(atoms.get_forces())
    phonon.forces = np.array(forces)
    phonon.produce_force_constants()
    phonon.symmetrize_force_constants()
    qpoints = np.array(list(np.ndindex(REPEATS))) / REPEATS
    return np.array([phonon.get_frequencies(q) for q in qpoints])


def test_phonons_are_real_and_near_those_of_gfn1(relaxed: Atoms, calculator: Calculator) -> None:
    frequencies = frequencies_of(relaxed, calculator)
    np.testing.assert_allclose(frequencies[0, :3], 0.0, atol=1e-3)
    assert frequencies[1:].min() > 0.5
    expected = np.array(REFERENCE["commensurate_frequencies_THz"])
    libration = REFERENCE["tolerances"]["gamma_libration_THz"]
    np.testing.assert_allclose(frequencies[0, 3:6], expected[0, 3:6], atol=libration)
    lattice = np.sqrt(np.mean((frequencies - expected)[:, :6] ** 2))
    assert lattice < REFERENCE["tolerances"]["lattice_modes_rms_THz"]


@pytest.mark.parametrize(("ratio", "low", "high"), [(0.97, 1.7, 2.3), (1.02, 0.3, 0.9)])
def test_librations_soften_as_the_crystal_expands(
    ratio: float, low: float, high: float, relaxed: Atoms, calculator: Calculator
) -> None:
    """GFN1-xTB: 1.73 THz at 0.97 and some 0.8 THz at 1.02 of its volume."""
    crystal = relaxed.copy()
    crystal.set_cell(crystal.cell * ratio ** (1 / 3), scale_atoms=True)
    crystal.calc = calculator
    crystal.set_constraint(FixSymmetry(crystal))
    assert BFGS(crystal, logfile=None).run(fmax=1e-3, steps=200)
    frequencies = frequencies_of(Atoms(crystal.numbers, crystal.positions, cell=crystal.cell, pbc=True), calculator)
    assert low < frequencies[0, 3:6].min() <= frequencies[0, 3:6].max() < high
    assert frequencies[1:].min() > 0.5


def run_npt(relaxed: Atoms, calculator: Calculator, picoseconds: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Temperatures (K) and volumes over that at rest every 10 fs at 298.15 K and 1 bar, longest bond over its limit."""
    atoms = relaxed.repeat(REPEATS)
    first, second = neighbor_list("ij", atoms, {("C", "H"): 1.3, ("C", "N"): 1.7})
    pairs = zip(atoms.symbols[first], atoms.symbols[second], strict=True)
    limits = np.array([BOND_LIMITS[tuple(sorted(pair))] for pair in pairs])
    assert len(first) == 2 * 8 * (12 + 12)
    volume = atoms.get_volume()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=298.15, rng=np.random.default_rng(1))
    Stationary(atoms)
    dynamics = MTKNPT(
        atoms, timestep=0.5 * units.fs, temperature_K=298.15, pressure_au=1e5 * units.Pascal,
        tdamp=100 * units.fs, pdamp=1000 * units.fs,
    )  # fmt: skip
    temperatures, volumes, stretch = [], [], 0.0
    for _ in dynamics.irun(round(picoseconds * 2000)):
        if dynamics.nsteps % 20:
            continue
        lengths = find_mic(atoms.positions[second] - atoms.positions[first], atoms.cell)[1]
        stretch = max(stretch, float((lengths / limits).max()))
        temperatures.append(atoms.get_temperature())
        volumes.append(atoms.get_volume() / volume)
    return np.array(temperatures), np.array(volumes), stretch


def test_crystal_holds_at_room_temperature(relaxed: Atoms, calculator: Calculator) -> None:
    temperatures, volumes, stretch = run_npt(relaxed, calculator, picoseconds=0.05)
    assert stretch < 1.0
    assert temperatures.max() < 500
    assert 0.9 < volumes.min() <= volumes.max() < 1.15


@pytest.mark.long
def test_crystal_holds_for_ten_picoseconds(relaxed: Atoms, calculator: Calculator) -> None:
    temperatures, volumes, stretch = run_npt(relaxed, calculator, picoseconds=10.0)
    assert stretch < 1.0
    late = slice(len(temperatures) // 5, None)
    assert temperatures[late].mean() == pytest.approx(298.15, abs=10)
    assert 0.93 < volumes[late].mean() < 1.10
