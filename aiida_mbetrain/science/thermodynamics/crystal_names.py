"""Names of the crystals of a quasi-harmonic calculation, known from its settings alone."""

from __future__ import annotations

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.relaxation import CRYSTAL_NAMES
from aiida_mbetrain.settings import FreeEnergy, PhononSampling


def volume_name(volume_ratio: float) -> str:
    """The crystal relaxed at a sampled volume: ``crystal[eos:V=1.0200]``."""
    return f"crystal[eos:V={volume_ratio:.4f}]"


def pressure_name(pressure_GPa: float) -> str:
    """The crystal relaxed under a sampled (thermal) pressure: ``crystal[eos:p_thermal=-0.2000]``."""
    return f"crystal[eos:p_thermal={pressure_GPa:.4f}]"


def equilibrium_name(temperature_K: float) -> str:
    """The crystal at its equilibrium volume at a temperature: ``crystal[eq:T=298.15]``."""
    return f"crystal[eq:T={temperature_K:.2f}]"


def force_constants_key(root_key: str, name: str) -> str:
    """Name of a crystal's force constants: where the exporter writes them, by which a setting chooses them."""
    return f"{root_key}/phonons/{name}/force_constants"


def reference_name(settings: FreeEnergy) -> str:
    """The relaxed input structure."""
    return CRYSTAL_NAMES[settings.relax_input_cell]


def sampled_names(settings: FreeEnergy) -> list[str]:
    """The sampled crystals in the order of ``eos_points``; none without thermal expansion."""
    name = volume_name if settings.eos_sampling == "volume" else pressure_name
    return [name(point) for point in settings.eos_points] if settings.thermal_expansion else []


def equilibrium_names(settings: FreeEnergy) -> list[str]:
    """The crystals at equilibrium, by temperature; none without thermal expansion."""
    return [equilibrium_name(t) for t in settings.temperatures_K] if settings.thermal_expansion else []


def name_of_key(key: str, settings: FreeEnergy) -> str:
    """The crystal whose force constants ``PhononSampling.force_constants_key`` chooses.

    The default of the setting is the reference crystal, whatever its name and root_key.
    Raises InvalidSettings that names the known keys.
    """
    names = [reference_name(settings), *sampled_names(settings), *equilibrium_names(settings)]
    known = {force_constants_key(settings.root_key, name): name for name in names}
    if key in known:
        return known[key]
    if key == PhononSampling.model_fields["force_constants_key"].default:
        return names[0]
    raise InvalidSettings(
        f"PhononSampling.force_constants_key = {key!r} names no force constants of this run: take one of "
        f"{', '.join(known)}."
    )
