"""The crystals of a finished quasi-harmonic calculation: their nodes by the labels of a dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aiida_mbetrain.science.thermodynamics import equilibrium_labels, reference_label, sampled_labels
from aiida_mbetrain.settings import FreeEnergy

Nodes = Mapping[str, Any]
"""Nodes by link label, nested by the namespaces of the ports."""

VOLUMES, EQUILIBRIUM = "volumes", "equilibrium_crystals"
"""Output namespaces of the WorkChain."""


def link_label(label: str) -> str:
    """Link label of a crystal: ``crystal[eos:p_thermal=-0.2000]`` -> ``p_thermal_minus_0_2000``."""
    name = re.sub(r"^\w+\[\w+:|\]$", "", label)
    return re.sub(r"\W", "_", name.replace("-", "minus_"))


def sampled_crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every sampled crystal that was computed, by label, in the order of the settings."""
    return _found(outputs, VOLUMES, sampled_labels(settings))


def equilibrium_crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every crystal at its equilibrium volume, by label and temperature."""
    return _found(outputs, EQUILIBRIUM, equilibrium_labels(settings))


def crystals(outputs: Nodes, settings: FreeEnergy) -> dict[str, Nodes]:
    """Nodes of every crystal by label, the reference first."""
    found = {reference_label(settings): outputs}
    return found | sampled_crystals(outputs, settings) | equilibrium_crystals(outputs, settings)


def _found(outputs: Nodes, namespace: str, labels: list[str]) -> dict[str, Nodes]:
    nodes = outputs[namespace] if namespace in outputs else {}  # noqa: SIM401 - the outputs of a node have no get
    return {label: nodes[link_label(label)] for label in labels if link_label(label) in nodes}
