"""Settings come back from a stored node as they went in, whatever floats the user gave."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from aiida import orm
from settings_catalog import CLASSES

from aiida_mbetrain import settings
from aiida_mbetrain.settings import Settings

THIRDS: dict[type[Settings], dict[str, Any]] = {
    settings.Inference: {"max_features_GB": 10 / 3},
    settings.ClassicalMD: {
        "time_total_fs": 400 / 3,
        "time_step_fs": 1 / 3,
        "hydrogen_mass_u": 10 / 3,
        "sampling_interval_fs": 10 / 3,
        "time_equilibration_fs": 20 / 3,
        "thermostat_time_fs": 100 / 3,
        "barostat_time_fs": 1000 / 3,
        "supercell_radius": 22 / 3,
        "temperature_window": (1 / 3, 4 / 3),
        "volume_window": (2 / 3, 4 / 3),
        "max_force": 100 / 3,
    },
    settings.FiniteSubsystemFilter: {
        "selection_rule": "max_min_distance_to_central_molecule",
        "n_molecules": None,
        "distances": [20 / 3, 10 / 3],
        "bond_tolerance": 4 / 3,
        "bond_check_tolerance": 5 / 3,
        "symmetry_tolerance": 1 / 300,
    },
    settings.PhononFilter: {"k_point_mesh": 100 / 3, "freq_min_THz": 1 / 3, "freq_max_THz": 20 / 3},
    settings.FreeEnergy: {
        "supercell_radius": 22 / 3,
        "supercell_displacement": 1 / 300,
        "fourier_interpolation_mesh": 100 / 3,
        "temperatures_K": [1000 / 3, 200 / 3],
        "symmetry_tolerance_loose": 1 / 300,
        "symmetry_tolerance_strict": 1 / 30000,
        "max_force_on_atom": 1 / 3000,
        "imaginary_mode_threshold": -1 / 3,
        "volume_range": [2 / 3, 1.0, 4 / 3],
        "pressure_range": [1 / 3, 0.0, -1 / 3],
        "pressure_GPa": 1 / 3,
    },
    settings.Subsampling: {"n_frames": 3, "random_share": 1 / 3, "temperatures_K": {"md": 1000 / 3}},
    settings.NamedCalculator: {"name": "morse", "parameters": {"epsilon": 1 / 3, "rho0": 6, "rcut": 1e17 / 3}},
}
THIRDS[settings.MDSampling] = {
    "temperature_K": 1000 / 3,
    "pressure_GPa": 1e-4 / 3,
    "finite_subsystem_filter": THIRDS[settings.FiniteSubsystemFilter],
    "md_crystal": THIRDS[settings.ClassicalMD],
}
THIRDS[settings.Replica] = {"temperature_K": 1000 / 3, "pressure_GPa": 1e-4 / 3}
THIRDS[settings.MDReplicas] = {
    "sampling": THIRDS[settings.MDSampling],
    "replicas": {"warm": THIRDS[settings.Replica], "cold": {"temperature_K": 200 / 3}},
}
THIRDS[settings.PhononSampling] = {
    "temperature_K": 1000 / 3,
    "phonon_filter": THIRDS[settings.PhononFilter],
    "finite_subsystem_filter": THIRDS[settings.FiniteSubsystemFilter],
    "time_step_fs": 100 / 3,
    "amplitude_max": 10 / 3,
}


def holds_floats(annotation: Any) -> bool:
    """Whether a field of this type may hold a float, at any depth but not inside other settings."""
    return annotation is float or any(holds_floats(part) for part in get_args(annotation))


def test_every_class_and_every_float_of_it_is_among_the_thirds():
    assert set(THIRDS) == set(CLASSES)
    for cls, values in THIRDS.items():
        floats = {name for name, field in cls.model_fields.items() if holds_floats(field.annotation)}
        assert floats <= set(values), cls.__name__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_thirds_come_back_equal_from_a_stored_node(cls):
    given = cls(**THIRDS[cls])
    node = orm.Dict(given.to_dict()).store()
    reloaded = orm.QueryBuilder().append(orm.Dict, filters={"id": node.pk}, project="attributes").first(flat=True)
    assert cls(**reloaded) == given
    assert cls(**reloaded).to_dict() == given.to_dict()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_defaults_come_back_equal_from_a_stored_node(cls):
    required = {name: THIRDS[cls][name] for name, field in cls.model_fields.items() if field.is_required()}
    assert cls(**orm.Dict(cls(**required).to_dict()).store().get_dict()) == cls(**required)


def test_rounding_keeps_the_digits_that_a_node_keeps():
    assert settings.MDSampling(temperature_K=1000 / 3).temperature_K == 333.33333333333
    assert settings.MDSampling(temperature_K=298.15).temperature_K == 298.15


def test_temperatures_that_a_node_cannot_tell_apart_are_one():
    assert len(settings.FreeEnergy(temperatures_K=[100 / 3, 100 / 3 * (1 + 4e-16)]).temperatures_K) == 1
