"""The trajectories sample the ensembles they claim to: distributions against theory, with fixed seeds.

Eight atoms, so that three degrees of freedom more or less are 14 % of the temperature.  Deviations are counted
in standard errors of decorrelated samples and must stay below three.
"""

import numpy as np
import physical_validation as pv
import pytest
from ase import units
from md_potentials import MDPotential, SpringCrystal, spring_structure

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.settings import ClassicalMD

NVT = ("csvr", "nose_hoover_chain")
NPT = ("mtk_isotropic", "mtk_full")
UNITS = pv.data.UnitData(
    kb=units.kB, energy_str="eV", energy_conversion=units.mol / units.kJ, length_str="A", length_conversion=0.1,
    volume_str="A^3", volume_conversion=1e-3, temperature_str="K", temperature_conversion=1.0,
    pressure_str="eV/A^3", pressure_conversion=1.0 / units.bar, time_str="fs", time_conversion=1e-3,
)  # fmt: skip
TEMPERATURE, PRESSURE = 800.0, 4.0  # K and GPa; hotter or denser, the springs let the crystal collapse
WIDE = {"temperature_window": (1e-3, 1e3), "volume_window": (1e-3, 1e3)}


@pytest.fixture(scope="module")
def trajectory():
    """trajectory(algorithm, temperature_K, pressure_GPa, time_total_fs): a run, made once."""
    made = {}

    def get(algorithm, temperature_K=TEMPERATURE, pressure_GPa=0.0, time_total_fs=40000.0):
        key = (algorithm, temperature_K, pressure_GPa, time_total_fs)
        if key not in made:
            made[key] = _run(*key)
        return made[key]

    return get


def _run(algorithm, temperature_K, pressure_GPa, time_total_fs):
    structure = spring_structure()
    ensemble, field = ("NVT", "nvt_algo") if algorithm in NVT else ("NPT", "npt_algo")
    settings = ClassicalMD(
        ensemble=ensemble, time_step_fs=5.0, time_total_fs=time_total_fs, sampling_interval_fs=100.0,
        time_equilibration_fs=1000.0, thermostat_time_fs=30.0, barostat_time_fs=100.0, **{field: algorithm}, **WIDE,
    )  # fmt: skip
    return run_molecular_dynamics(
        structure, SpringCrystal(structure), settings, temperature_K=temperature_K, pressure_GPa=pressure_GPa
    )


def _data(run, temperature_K, pressure_GPa=None):
    """physical_validation's view of the stored frames."""
    at = np.isin(run.series["time_fs"], run.frames.origin["time_fs"])
    series = {name: values[at] for name, values in run.series.items()}
    n = run.frames.n_atoms
    ensemble = {"natoms": n, "temperature": temperature_K}
    if pressure_GPa is None:
        state = pv.data.EnsembleData("NVT", volume=series["volume_A3"][0], **ensemble)
    else:
        state = pv.data.EnsembleData("NPT", pressure=pressure_GPa * units.GPa, **ensemble)
    kinetic, potential = series["kinetic_energy_eV"], series["potential_energy_eV"]
    return pv.data.SimulationData(
        units=UNITS,
        ensemble=state,
        system=pv.data.SystemData(
            natoms=n,
            nconstraints=0,
            ndof_reduction_tra=3,
            ndof_reduction_rot=0,
        ),
        observables=pv.data.ObservableData(
            kinetic_energy=kinetic,
            potential_energy=potential,
            total_energy=kinetic + potential,
            volume=series["volume_A3"],
        ),
    )


@pytest.mark.parametrize("algorithm", NVT + NPT)
def test_kinetic_energy_has_mean_and_width_of_the_gamma_distribution(algorithm, trajectory):
    data = _data(trajectory(algorithm), TEMPERATURE)
    mean, width = pv.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)
    assert mean < 3
    assert width < 3


@pytest.mark.parametrize("algorithm", NVT + NPT)
def test_kinetic_energy_has_the_shape_of_the_gamma_distribution(algorithm, trajectory):
    data = _data(trajectory(algorithm), TEMPERATURE)
    assert pv.kinetic_energy.distribution(data, strict=True, verbosity=0) > 0.003


@pytest.mark.parametrize("algorithm", ["csvr", pytest.param("nose_hoover_chain", marks=pytest.mark.slow)])
def test_potential_energies_at_two_temperatures_have_the_ratio_of_boltzmann_factors(algorithm, trajectory):
    low, high = (_data(trajectory(algorithm, temperature), temperature) for temperature in (TEMPERATURE, 1000.0))
    (deviation,) = pv.ensemble.check(low, high, verbosity=0, bootstrap_seed=1)
    assert abs(deviation) < 3


@pytest.mark.parametrize("algorithm", ["mtk_full", pytest.param("mtk_isotropic", marks=pytest.mark.slow)])
def test_volumes_at_two_pressures_of_a_triclinic_cell_have_the_ratio_of_boltzmann_factors(algorithm, trajectory):
    runs = {pressure: trajectory(algorithm, TEMPERATURE, pressure) for pressure in (0.0, PRESSURE)}
    low, high = (_data(run, TEMPERATURE, pressure) for pressure, run in runs.items())
    (deviation,) = pv.ensemble.check(low, high, verbosity=0, bootstrap_seed=1)
    assert abs(deviation) < 3


def test_flexible_triclinic_cell_carries_the_pressure_without_shear(trajectory):
    """Every component of <V (stress + kinetic)> equals -(p V - kT) on the diagonal and 0 beside it."""
    frames = trajectory("mtk_full", TEMPERATURE, PRESSURE).frames
    speeds = frames.velocities / units.fs
    kinetic = np.einsum("n,fna,fnb->fab", frames.masses, speeds, speeds)
    work = kinetic - frames.volumes[:, None, None] * (frames.stress + PRESSURE * units.GPa * np.eye(3))
    error = work.std(axis=0) / np.sqrt(len(frames) / 2)
    deviation = (work.mean(axis=0) + units.kB * TEMPERATURE * np.eye(3)) / error
    assert np.abs(deviation).max() < 3.5
    angles = frames.cells @ frames.cells.transpose(0, 2, 1)
    assert np.ptp(angles[:, 0, 1]) > 0.5


def test_isotropic_barostat_keeps_the_shape_of_a_triclinic_cell(trajectory):
    frames = trajectory("mtk_isotropic").frames
    shapes = frames.cells / np.cbrt(frames.volumes)[:, None, None]
    np.testing.assert_allclose(shapes, np.broadcast_to(shapes[0], shapes.shape), atol=1e-12)
    assert np.ptp(frames.volumes) > 3.0


def test_ideal_gas_has_the_volume_and_the_fluctuations_of_theory():
    """p <V> = N kT and Var(V) = <V>^2 / N: with the centre of mass at rest, V follows Gamma(N, kT/p)."""
    n, temperature, pressure = 6, 300.0, 0.02
    volume = n * units.kB * temperature / (pressure * units.GPa)
    cell = np.cbrt(volume) * np.eye(3)
    positions = np.random.default_rng(1).random((1, n, 3)) @ cell
    gas = Configurations(np.full(n, 18), positions, cell[None])
    settings = ClassicalMD(
        ensemble="NPT", npt_algo="mtk_isotropic", time_step_fs=5.0, time_total_fs=60000.0, sampling_interval_fs=100.0,
        time_equilibration_fs=2000.0, thermostat_time_fs=40.0, barostat_time_fs=40.0, **WIDE,
    )  # fmt: skip
    run = run_molecular_dynamics(gas, MDPotential(), settings, temperature_K=temperature, pressure_GPa=pressure)
    volumes = run.frames.volumes
    blocks = volumes[: len(volumes) // 20 * 20].reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    assert error < 0.05 * volume
    assert abs(volumes.mean() - volume) < 3 * error
    assert volumes.std() == pytest.approx(volume / np.sqrt(n), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("pressure", [0.0, PRESSURE])
@pytest.mark.parametrize("algorithm", NPT)
def test_long_npt_runs(algorithm, pressure, trajectory):
    data = _data(trajectory(algorithm, TEMPERATURE, pressure, 120000.0), TEMPERATURE, pressure)
    mean, width = pv.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)
    assert max(mean, width) < 3
    assert pv.kinetic_energy.distribution(data, strict=True, verbosity=0) > 0.003


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", NVT)
def test_long_nvt_runs(algorithm, trajectory):
    data = _data(trajectory(algorithm, TEMPERATURE, 0.0, 120000.0), TEMPERATURE)
    mean, width = pv.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)
    assert max(mean, width) < 3
    assert pv.kinetic_energy.distribution(data, strict=True, verbosity=0) > 0.003
