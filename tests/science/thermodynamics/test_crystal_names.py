"""Names of crystals and the choice of force constants by key."""

import pytest

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.thermodynamics import (
    equilibrium_name,
    equilibrium_names,
    name_of_key,
    reference_name,
    sampled_names,
)
from aiida_mbetrain.science.thermodynamics.crystal_names import pressure_name, volume_name
from aiida_mbetrain.settings import FreeEnergy, PhononSampling

DEFAULT = PhononSampling().force_constants_key


def key(label: str, root: str = "training/quasi_harmonic") -> str:
    return f"{root}/phonons/{label}/force_constants"


def test_labels_name_volume_pressure_and_temperature():
    assert volume_name(1.02) == "crystal[eos:V=1.0200]"
    assert pressure_name(-0.2) == "crystal[eos:p_thermal=-0.2000]"
    assert equilibrium_name(298.15) == "crystal[eq:T=298.15]"


def test_labels_follow_from_the_settings():
    settings = FreeEnergy(volume_range=[0.96, 1.0, 1.02, 1.04], temperatures_K=[298.15, 0.0], relax_input_cell="full")
    assert reference_name(settings) == "crystal[opt:atoms,shape,V]"
    assert sampled_names(settings)[:2] == ["crystal[eos:V=0.9600]", "crystal[eos:V=1.0000]"]
    assert equilibrium_names(settings) == ["crystal[eq:T=0.00]", "crystal[eq:T=298.15]"]
    pressure = FreeEnergy(eos_sampling="pressure", pressure_range=[0.2, 0.0, -0.2, -0.3])
    assert sampled_names(pressure)[2] == "crystal[eos:p_thermal=-0.2000]"
    harmonic = FreeEnergy(thermal_expansion=False)
    assert sampled_names(harmonic) == equilibrium_names(harmonic) == []


def test_key_chooses_any_crystal():
    settings = FreeEnergy(temperatures_K=[100.0])
    for label in ("crystal[opt:atoms,shape]", "crystal[eos:V=1.0500]", "crystal[eq:T=100.00]"):
        assert name_of_key(key(label), settings) == label


def test_default_key_is_the_reference_whatever_its_name():
    assert name_of_key(DEFAULT, FreeEnergy(thermal_expansion=False)) == "crystal[opt:atoms,shape]"
    assert name_of_key(DEFAULT, FreeEnergy(relax_input_cell="full")) == "crystal[opt:atoms,shape,V]"
    assert name_of_key(DEFAULT, FreeEnergy(root_key="elsewhere")) == "crystal[opt:atoms,shape]"


@pytest.mark.parametrize("wrong", [key("crystal[eq:T=101.00]"), key("crystal[eq:T=100.00]", "elsewhere"), "nothing"])
def test_unknown_key_is_refused_with_the_known_ones(wrong):
    with pytest.raises(InvalidSettings, match=r"eq:T=100\.00"):
        name_of_key(wrong, FreeEnergy(temperatures_K=[100.0]))


def test_without_thermal_expansion_there_is_no_expanded_crystal():
    with pytest.raises(InvalidSettings, match="take one of"):
        name_of_key(key("crystal[eq:T=100.00]"), FreeEnergy(thermal_expansion=False, temperatures_K=[100.0]))
