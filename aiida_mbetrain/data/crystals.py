"""Nodes of the crystals of a finished quasi-harmonic calculation, by the names of the crystals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiida_mbetrain.science.thermodynamics import equilibrium_names, reference_name, sampled_names
from aiida_mbetrain.settings import FreeEnergy

Nodes = Mapping[str, Any]
"""Nodes by link label, nested by the namespaces of the ports."""

VOLUMES, EQUILIBRIUM = "volumes", "equilibrium_crystals"
"""Output namespaces of the WorkChain."""


def link_label(name: str) -> str:
    """Link label of a crystal: ``crystal[eos:p_thermal=-0.2000]`` -> ``p_thermal_minus_0_2000``."""
    point = re.sub(r"^\w+\[\w+:|\]$", "", name)
    return re.sub(r"\W", "_", point.replace("-", "minus_"))


def sampled_crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every sampled crystal that was computed, by name, in the order of the settings."""
    return _found(outputs, VOLUMES, sampled_names(settings))


def equilibrium_crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every crystal at its equilibrium volume, by name, in the order of temperature."""
    return _found(outputs, EQUILIBRIUM, equilibrium_names(settings))


def crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every crystal by name, the reference first."""
    found = {reference_name(settings): outputs}
    return found | sampled_crystals(outputs, settings) | equilibrium_crystals(outputs, settings)


def _found(outputs: Nodes, namespace: str, names: list[str]) -> dict[str, Nodes]:
    nodes = outputs[namespace] if namespace in outputs else {}  # noqa: SIM401 - the outputs of a node have no get
    return {name: nodes[link_label(name)] for name in names if link_label(name) in nodes}
