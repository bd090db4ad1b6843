"""A profile in memory for the whole session, and the smallest inputs on which every WorkChain really runs."""

from __future__ import annotations

import pytest
from aiida import load_profile, orm
from aiida.manage.configuration import reset_config
from aiida.manage.configuration.settings import AiiDAConfigDir
from aiida.storage.sqlite_temp import SqliteTempBackend
from ase.build import bulk

LENNARD_JONES = {"name": "lennard_jones", "parameters": {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True}}

ARGON_SETTINGS = {
    "md_sampling": {
        "temperature_K": 20.0,
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3]},
        "md_crystal": {
            "ensemble": "NVT",
            "time_total_fs": 60.0,
            "time_equilibration_fs": 20.0,
            "sampling_interval_fs": 10.0,
            "time_step_fs": 5.0,
            "supercell_radius": 7.0,
        },
    },
    "quasi_harmonic": {"thermal_expansion": False, "supercell_radius": 7.0, "fourier_interpolation_mesh": [4, 4, 4]},
    "phonon_sampling": {
        "temperature_K": 20.0,
        "finite_subsystem_filter": {"n_molecules": [1, 2, 3]},
        "phonon_filter": {"k_point_mesh": "commensurate"},
        "n_frames": 2,
    },
}


@pytest.fixture(scope="session", autouse=True)
def profile(tmp_path_factory: pytest.TempPathFactory):
    """A profile without services; ~/.aiida is not touched."""
    folder = tmp_path_factory.mktemp("aiida")
    AiiDAConfigDir.set(folder / ".aiida")
    reset_config()
    profile = SqliteTempBackend.create_profile("tests", options={"warnings.development_version": False})
    load_profile(profile, allow_switch=True)
    return profile


@pytest.fixture
def argon() -> orm.StructureData:
    """Fcc argon, one atom and one molecule per cell."""
    return orm.StructureData(ase=bulk("Ar", "fcc", a=5.26))


@pytest.fixture
def lennard_jones() -> orm.Dict:
    """A model input that needs no model file."""
    return orm.Dict(LENNARD_JONES)
