"""Volume fluctuations at constant pressure: kT <V> / Var(V) is the bulk modulus that V at two pressures gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from md_potentials import LennardJonesCrystal

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.settings import ClassicalMD

TEMPERATURE = 60.0
PRESSURES = (0.1, 0.2)  # GPa; so close that the bulk modulus changes by little between them
N_BLOCKS = 20

# A solid is much stiffer than the gas that barostat_time_fs is meant for: its volume oscillates with a period of about
# a third of that time, which the step has to resolve.
SETTINGS = ClassicalMD(
    ensemble="NPT", time_step_fs=20.0, time_total_fs=115000.0, time_equilibration_fs=5000.0,
    sampling_interval_fs=200.0, thermostat_time_fs=200.0, barostat_time_fs=2000.0, tchain=2, pchain=2,
    temperature_window=(1e-3, 1e3), volume_window=(1e-3, 1e3),
)  # fmt: skip


def cubic() -> Configurations:
    """Solid argon, 32 atoms."""
    return Configurations.from_atoms(bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2))


def triclinic() -> Configurations:
    """The same lattice in a cell without right or equal angles, 27 atoms."""
    atoms = bulk("Ar", "fcc", a=5.3)
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]]) @ atoms.cell.array, scale_atoms=False)
    return Configurations.from_atoms(atoms.repeat(3))


@dataclass(frozen=True)
class Modulus:
    """A bulk modulus and its standard error, GPa."""

    value: float
    error: float


def block_means(values):
    return values[: len(values) // N_BLOCKS * N_BLOCKS].reshape(N_BLOCKS, -1).mean(axis=1)


def standard_error(values):
    """Of the mean of a correlated series, from blocks much longer than the correlation time."""
    return block_means(values).std(ddof=1) / np.sqrt(N_BLOCKS)


def from_variance(volumes) -> Modulus:
    """B = kT <V> / Var(V)."""
    squares = (volumes - volumes.mean()) ** 2
    value = units.kB * TEMPERATURE * volumes.mean() / squares.mean() / units.GPa
    return Modulus(value, value * standard_error(squares) / squares.mean())


def from_two_pressures(low, high) -> Modulus:
    """B = -dp / d ln V."""
    means = [volumes.mean() for volumes in (low, high)]
    change = np.log(means[0] / means[1])
    error = np.hypot(*(standard_error(volumes) / volumes.mean() for volumes in (low, high)))
    value = (PRESSURES[1] - PRESSURES[0]) / change
    return Modulus(value, value * error / change)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "algorithm", "anisotropy"),
    [(cubic, "mtk_full", 0.0), (cubic, "mtk_isotropic", 0.0), (triclinic, "mtk_full", 1.0)],
    ids=["cubic", "isotropic barostat", "triclinic and anisotropic"],
)
def test_bulk_modulus_from_the_variance_of_the_volume_is_that_of_the_volume_at_two_pressures(
    make, algorithm, anisotropy
):
    structure = make()
    potential = LennardJonesCrystal(structure, anisotropy=anisotropy)
    settings = SETTINGS.model_copy(update={"npt_algo": algorithm})
    runs = [
        run_molecular_dynamics(structure, potential, settings, temperature_K=TEMPERATURE, pressure_GPa=pressure)
        for pressure in PRESSURES
    ]
    volumes = [run.frames.volumes for run in runs]
    fluctuations = [from_variance(each) for each in volumes]
    # B grows with pressure; the response between the two is their mean.
    found = Modulus(
        np.mean([one.value for one in fluctuations]), np.hypot(*(one.error for one in fluctuations)) / len(fluctuations)
    )
    expected = from_two_pressures(*volumes)
    error = np.hypot(found.error, expected.error)
    assert error < 0.1 * expected.value
    assert abs(found.value - expected.value) < 3.0 * error
