"""Crystals and models of a campaign, from files and from a profile."""

from __future__ import annotations

from pathlib import Path
from typing import TypeGuard

from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.settings import CampaignSettings
from aiida_mbetrain.campaigns.sources import Crystal, Model, crystals_of_files, model_of_file, refuse_doubles
from aiida_mbetrain.settings import NamedCalculator


def needs_profile(settings: CampaignSettings, folder: Path) -> bool:
    """True where the file names nodes."""
    by_node = any(entry.files is None for entry in settings.crystals)
    return by_node or any(names_node(source, folder) for source in settings.models.values())


def names_node(source: NamedCalculator | int | str, folder: Path) -> TypeGuard[int | str]:
    """True for a model that is a pk or uuid."""
    return isinstance(source, int) or (isinstance(source, str) and _is_uuid(source) and not (folder / source).exists())


def _is_uuid(text: str) -> bool:
    return len(text) >= 8 and set(text.lower()) <= set("0123456789abcdef-")


def read_sources(settings: CampaignSettings, folder: Path) -> tuple[list[Crystal], list[Model]]:
    """The crystals and models of a campaign whose file lies in ``folder``.

    Only entries that name nodes need a loaded profile.  Raises InvalidCampaign with all refusals.
    """
    refusals = Refusals()
    crystals: list[Crystal] = []
    for entry in settings.crystals:
        if entry.files is not None:
            crystals += crystals_of_files(entry, folder, refusals)
        else:
            from aiida_mbetrain.campaigns.nodes import crystals_of_nodes

            crystals += crystals_of_nodes(entry, refusals)
    refuse_doubles(crystals, refusals)
    models: list[Model] = []
    for name, source in settings.models.items():
        with refusals.about(name):
            if names_node(source, folder):
                from aiida_mbetrain.campaigns.nodes import model_of_node

                models.append(model_of_node(name, source))
            else:
                assert not isinstance(source, int)
                models.append(model_of_file(name, source, folder))
    refusals.raise_if_any()
    return crystals, models
