"""Names of the crystals of a quasi-harmonic calculation, known from its settings alone."""

from __future__ import annotations

from aiida_mbetrain.datasets.names import force_constants_key
from aiida_mbetrain.science.errors import InvalidSettings
from aiida_mbetrain.science.relaxation import LABELS
from aiida_mbetrain.science.thermal_expansion import equilibrium_label, pressure_label, volume_label
from aiida_mbetrain.settings import FreeEnergy, PhononSampling


def reference_label(settings: FreeEnergy) -> str:
    """The relaxed input structure."""
    return LABELS[settings.relax_input_cell]


def sampled_labels(settings: FreeEnergy) -> list[str]:
    """The sampled crystals in the order of ``eos_points``; none without thermal expansion."""
    label = volume_label if settings.eos_sampling == "volume" else pressure_label
    return [label(point) for point in settings.eos_points] if settings.thermal_expansion else []


def equilibrium_labels(settings: FreeEnergy) -> list[str]:
    """The crystals at equilibrium, by temperature; none without thermal expansion."""
    return [equilibrium_label(t) for t in settings.temperatures_K] if settings.thermal_expansion else []


def label_of_key(key: str, settings: FreeEnergy) -> str:
    """The crystal whose force constants ``PhononSampling.force_constants_key`` chooses.

    The default of the setting is the reference crystal, whatever its label and root_key.
    Raises InvalidSettings that names the known keys.
    """
    labels = [reference_label(settings), *sampled_labels(settings), *equilibrium_labels(settings)]
    known = {force_constants_key(settings.root_key, label): label for label in labels}
    if key in known:
        return known[key]
    if key == PhononSampling.model_fields["force_constants_key"].default:
        return labels[0]
    raise InvalidSettings(
        f"PhononSampling.force_constants_key = {key!r} names no force constants of this run: take one of "
        f"{', '.join(known)}."
    )
