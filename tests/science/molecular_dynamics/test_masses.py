"""Repartitioned masses: what is conserved, what they change (time, velocities) and what not (positions, volumes)."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from crystals import oxalic_acid_dihydrate
from md_potentials import DumbbellCrystal, MDPotential, SpringCrystal, dumbbell_structure, spring_structure
from scipy.stats import ks_2samp

from aiida_mbetrain import demo
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout.objects import drift_energies, from_structure, to_structure
from aiida_mbetrain.errors import InvalidSettings, InvalidStructure
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import dynamical_masses, run_molecular_dynamics
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.stages import estimate_md
from aiida_mbetrain.science.statistics import mean_with_error
from aiida_mbetrain.settings import ClassicalMD, MDSampling

NATURAL, HYDROGEN, UNIFORM = (ClassicalMD(masses=name) for name in ("natural", "hydrogen", "uniform"))
WIDE = {"temperature_window": (1e-3, 1e3), "volume_window": (1e-3, 1e3)}
REDUCED = {"natural": 0.9300, "hydrogen": 3.0 * 10.019 / 13.019, "uniform": 13.019 / 4}
"""Reduced masses of carbon and hydrogen, u."""


def crystal(atoms: Atoms) -> Configurations:
    return Configurations.from_atoms(atoms)


@pytest.mark.parametrize("atoms", [demo.crystal(), oxalic_acid_dihydrate()])
def test_molecules_keep_their_mass_and_hydrogens_have_that_of_the_settings(atoms):
    structure = crystal(atoms)
    owner = detect_molecules(structure, assert_identical_composition=False).molecule_of_atom
    masses = dynamical_masses(structure, HYDROGEN)
    np.testing.assert_allclose(np.bincount(owner, masses), np.bincount(owner, structure.masses), rtol=1e-14)
    np.testing.assert_array_equal(masses[structure.numbers == 1], 3.0)
    assert (masses[structure.numbers != 1] >= 3.0).all()


def test_uniform_masses_keep_that_of_the_cell():
    structure = crystal(oxalic_acid_dihydrate())
    masses = dynamical_masses(structure, UNIFORM)
    assert np.ptp(masses) == 0
    assert masses.sum() == pytest.approx(structure.masses.sum(), rel=1e-14)
    np.testing.assert_array_equal(dynamical_masses(structure, NATURAL), structure.masses)


def test_atoms_give_what_their_hydrogens_get():
    water = molecule("H2O")
    for structure in (crystal(water), crystal(Atoms(water, cell=[5, 6, 7], pbc=True))):
        masses = dynamical_masses(structure, ClassicalMD(masses="hydrogen", hydrogen_mass_u=4.0))
        np.testing.assert_allclose(masses, [15.999 - 2 * (4 - 1.008), 4, 4], rtol=1e-12)


def test_bonds_across_the_boundary_of_the_cell_count():
    structure = dumbbell_structure()
    wrapped = structure.to_atoms()[0]
    wrapped.wrap()
    assert np.abs(wrapped.positions - structure.positions[0]).max() > 3
    masses = dynamical_masses(crystal(wrapped), HYDROGEN)
    np.testing.assert_allclose(masses, np.where(structure.numbers == 1, 3.0, 12.011 - 1.992), rtol=1e-12)


def test_isotopes_are_where_the_repartition_begins():
    """Deuterium needs less from its atom, tritium is heavy enough."""
    ammonia = molecule("NH3")
    ammonia.set_masses([15.0001, 2.0141, 3.0160, 1.008])
    masses = dynamical_masses(crystal(ammonia), HYDROGEN)
    np.testing.assert_allclose(masses, [15.0001 - 0.9859 - 1.992, 3.0, 3.0160, 3.0], rtol=1e-12)
    assert dynamical_masses(crystal(ammonia), UNIFORM).sum() == pytest.approx(21.0382)


def test_the_nearest_of_two_atoms_gives_the_mass():
    """A short hydrogen bond: 1.10 and 1.25 Å from two oxygens."""
    bridge = Atoms("OHO", [[0, 0, 0], [1.10, 0, 0], [2.35, 0, 0]])
    np.testing.assert_allclose(dynamical_masses(crystal(bridge), HYDROGEN), [14.007, 3.0, 15.999], rtol=1e-12)


def test_hydrogen_without_another_element_is_refused():
    with pytest.raises(InvalidSettings, match=r"hydrogen 0 is bonded to no heavier atom.*'natural' or 'uniform'"):
        dynamical_masses(crystal(molecule("H2")), HYDROGEN)


def test_an_atom_lighter_than_its_hydrogens_is_refused():
    corners = 1.19 * np.array([[0, 0], [1, 0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    borane = crystal(Atoms("BH3", np.column_stack([corners, np.zeros(4)])))
    assert dynamical_masses(borane, HYDROGEN).min() == 3.0
    with pytest.raises(InvalidSettings, match=r"hydrogen_mass_u = 4 leaves 1.83 u to the atom 0 \(B\)"):
        dynamical_masses(borane, ClassicalMD(masses="hydrogen", hydrogen_mass_u=4.0))


@pytest.mark.parametrize(("field", "value"), [("masses", "heavy"), ("hydrogen_mass_u", 0.9), ("hydrogen_mass_u", 13)])
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(InvalidSettings, match=field):
        ClassicalMD(**{field: value})


class Bond(MDPotential):
    """A harmonic bond of carbon and hydrogen, eV and Å."""

    def __init__(self, k=30.0):
        super().__init__()
        self.k = k

    def frame(self, positions, cell):
        vector = positions[1] - positions[0]
        length = np.linalg.norm(vector)
        pull = self.k * (length - 1.09) * vector / length
        return 0.5 * self.k * (length - 1.09) ** 2, np.array([pull, -pull]), np.zeros((3, 3))


def without_thermostat(masses: str, step_fs: float, k: float = 30.0):
    """A vibrating diatomic; every step is in the series.  Start: stretched by 0.1 Å and almost at rest."""
    start = crystal(Atoms("CH", [[0, 0, 0], [1.19, 0, 0]]))
    n_steps = round(400 / step_fs)
    settings = ClassicalMD(
        ensemble="NVT", masses=masses, time_step_fs=step_fs, time_total_fs=n_steps * step_fs, thermostat_time_fs=1e12,
        sampling_interval_fs=step_fs, time_equilibration_fs=0.0, temperature_window=(1e-9, 1e9),
    )  # fmt: skip
    return run_molecular_dynamics(start, Bond(k), settings, temperature_K=0.01).series


def frequency(masses: str, k: float = 30.0) -> float:
    """Angular frequency of the diatomic, 1/fs."""
    return float(np.sqrt(k / REDUCED[masses]) * units.fs)


def conserved_rms(masses: str, step_fs: float) -> float:
    return float(np.std(without_thermostat(masses, step_fs)["conserved_energy_eV"]))


def test_the_error_of_the_energy_falls_with_the_square_of_frequency_and_step():
    """Velocity Verlet of a harmonic oscillator: E deviates by (omega dt)^2 / 4 of the potential energy."""
    natural = conserved_rms("natural", 0.5)
    for masses in ("hydrogen", "uniform"):
        ratio = frequency("natural") / frequency(masses)
        assert conserved_rms(masses, 0.5) == pytest.approx(natural / ratio**2, rel=0.05)
        assert conserved_rms(masses, 0.5 * ratio) == pytest.approx(natural, rel=0.05)


@pytest.mark.parametrize(("masses", "step_fs"), [("natural", 1.0), ("hydrogen", 2.0), ("uniform", 2.0)])
def test_a_vibration_is_wider_than_it_should_be_by_the_error_of_the_step(masses, step_fs):
    """<U> / <K> = 1 / (1 - (omega dt)^2 / 4): what a time step costs in the distribution of positions."""
    series = without_thermostat(masses, step_fs)
    wider = 1 / (1 - (frequency(masses) * step_fs) ** 2 / 4)
    ratio = series["potential_energy_eV"].mean() / series["kinetic_energy_eV"].mean()
    assert ratio == pytest.approx(wider, rel=0.03)


TEMPERATURE = 1500.0
SAMPLED = {"natural": 0.75, "hydrogen": 1.0, "uniform": 1.5}
"""Time steps (fs) whose errors are far below those of the samples."""
APART = 8
"""Every so many frames enter tests that assume independent ones."""


@pytest.fixture(scope="module")
def sampled():
    """Dumbbells so soft and hot that bonds and lattice exchange energy."""
    structure = dumbbell_structure()
    potential = DumbbellCrystal(structure, stiff=4.0, soft=0.5)
    runs = {}
    for masses, step in SAMPLED.items():
        settings = ClassicalMD(
            ensemble="NVT", masses=masses, time_step_fs=step, time_total_fs=20000 * step, rng_seed=7,
            time_equilibration_fs=1000 * step, sampling_interval_fs=20 * step, thermostat_time_fs=40.0, **WIDE,
        )  # fmt: skip
        runs[masses] = run_molecular_dynamics(structure, potential, settings, temperature_K=TEMPERATURE).frames
    return potential, runs


@pytest.mark.parametrize("masses", ["hydrogen", "uniform"])
def test_velocities_have_the_distribution_of_the_dynamical_masses(sampled, masses):
    """By element: m <v^2> = kT, less the share of the centre of mass, and the frames say whose masses these are."""
    frames = sampled[1][masses]
    structure = dumbbell_structure()
    np.testing.assert_array_equal(frames.dynamical_masses, dynamical_masses(structure, ClassicalMD(masses=masses)))
    np.testing.assert_array_equal(frames.masses, structure.masses)
    momenta = frames.dynamical_masses[:, None] * frames.velocities
    assert np.abs(momenta.sum(axis=1)).max() < 1e-10 * np.abs(momenta).max()
    shares = 1 - frames.dynamical_masses / frames.dynamical_masses.sum()
    for number in (1, 6):
        atoms = frames.numbers == number
        energies = frames.dynamical_masses[:, None] * (frames.velocities / units.fs) ** 2 / shares[:, None]
        found = mean_with_error(energies[:, atoms].mean(axis=(1, 2)) / units.kB)
        assert abs(found.value - TEMPERATURE) < 4 * found.standard_error < 0.25 * TEMPERATURE
    assert sampled[1]["natural"].dynamical_masses is None


@pytest.mark.parametrize("masses", ["hydrogen", "uniform"])
def test_positions_have_the_distribution_of_natural_masses(sampled, masses):
    """Energies, bond lengths, distances to neighbours: means within four errors, and the same shape."""
    potential, runs = sampled

    def quantities(frames):
        lengths = potential.bond_lengths(frames)
        hydrogens = frames.positions[:, frames.numbers == 1]
        apart = np.linalg.norm(hydrogens[:, 0] - hydrogens[:, 5], axis=1)
        return {"energy": frames.energies, "bond": lengths[:, 0], "bonds²": (lengths**2).mean(axis=1), "apart": apart}

    natural, found = quantities(runs["natural"]), quantities(runs[masses])
    for name, values in found.items():
        one, other = mean_with_error(natural[name]), mean_with_error(values)
        error = np.hypot(one.standard_error, other.standard_error)
        assert abs(one.value - other.value) < 4 * error, name
        assert error < 0.3 * natural[name].std(), name
        assert ks_2samp(natural[name][::APART], values[::APART]).pvalue > 1e-3, name


def test_volumes_have_the_distribution_of_natural_masses():
    """Light and heavy atoms in turns against the same mass for all, at constant pressure."""
    reference = spring_structure()
    structure = reference.with_(isotope_masses=np.resize([8.0, 72.0], reference.n_atoms))
    volumes = []
    for masses in ("natural", "uniform"):
        settings = ClassicalMD(
            ensemble="NPT", npt_algo="mtk_isotropic", masses=masses, time_step_fs=4.0, time_total_fs=25000.0,
            time_equilibration_fs=1000.0, sampling_interval_fs=80.0, thermostat_time_fs=30.0, barostat_time_fs=100.0,
            **WIDE,
        )  # fmt: skip
        run = run_molecular_dynamics(
            structure, SpringCrystal(reference), settings, temperature_K=800.0, pressure_GPa=4.0
        )
        temperature = mean_with_error(run.series["temperature_K"])
        assert abs(temperature.value - 800.0) < 4 * temperature.standard_error
        volumes.append(run.frames.volumes)
    one, other = (mean_with_error(v) for v in volumes)
    error = np.hypot(one.standard_error, other.standard_error)
    assert abs(one.value - other.value) < 4 * error < 0.02 * one.value
    assert ks_2samp(*(v[::2] for v in volumes)).pvalue > 1e-3


def short_run(masses: str, ensemble: str = "NVT"):
    """A few frames of dumbbells."""
    structure = dumbbell_structure()
    settings = ClassicalMD(
        ensemble=ensemble, masses=masses, time_step_fs=1.0, time_total_fs=100.0, time_equilibration_fs=0.0,
        sampling_interval_fs=10.0, **WIDE,
    )  # fmt: skip
    potential = DumbbellCrystal(structure)
    return run_molecular_dynamics(structure, potential, settings, temperature_K=300.0, pressure_GPa=0.0)


@pytest.mark.parametrize("ensemble", ["NVT", "NPT"])
def test_temperature_and_pressure_are_those_of_the_dynamical_masses(ensemble):
    run = short_run("hydrogen", ensemble)
    frames, at = run.frames, np.isin(run.series["time_fs"], run.frames.origin["time_fs"])
    kinetic = 0.5 * np.einsum("n,fnk->f", frames.dynamical_masses, (frames.velocities / units.fs) ** 2)
    np.testing.assert_allclose(run.series["kinetic_energy_eV"][at], kinetic, rtol=1e-10)
    temperatures = 2 * kinetic / ((3 * frames.n_atoms - 3) * units.kB)
    np.testing.assert_allclose(run.series["temperature_K"][at], temperatures, rtol=1e-10)
    normal = np.trace(frames.stress, axis1=1, axis2=2) / 3
    pressures = (2 * kinetic / (3 * frames.volumes) - normal) / units.GPa
    np.testing.assert_allclose(run.series["pressure_GPa"][at], pressures, atol=1e-10)


def test_files_say_whose_velocities_they_hold():
    frames = short_run("hydrogen").frames
    group = from_structure(frames)
    np.testing.assert_array_equal(group.array(names.DYNAMICAL_MASSES), frames.dynamical_masses)
    np.testing.assert_array_equal(group.array(names.MASSES), dumbbell_structure().masses)
    assert drift_energies(frames).max() < 1e-20
    assert names.DYNAMICAL_MASSES not in from_structure(short_run("natural").frames).datasets
    for found in (to_structure(group), Configurations.concatenate([frames] * 2), frames.select([0])):
        np.testing.assert_array_equal(found.dynamical_masses, frames.dynamical_masses)
        np.testing.assert_array_equal(found.masses, frames.masses)
    with pytest.raises(InvalidStructure, match="same atoms"):
        Configurations.concatenate([frames, frames.with_(dynamical_masses=None)])


def test_the_estimate_refuses_what_the_dynamics_would_refuse():
    settings = MDSampling(md_crystal={"masses": "hydrogen"})
    with pytest.raises(InvalidSettings, match="bonded to no heavier atom"):
        estimate_md(crystal(Atoms("H2", [[0, 0, 0], [0.74, 0, 0]], cell=[4, 4, 4], pbc=True)), settings)
