"""YAML files of settings: a mapping of plain values, neither too deep nor too large."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.settings.base import JsonObject

DEEPEST = 20
"""Levels of mappings and lists; settings have four."""
LARGEST = 100_000
"""Values in all, those behind aliases counted each time."""


def read_mapping(path: str | Path, what: str, form: str) -> JsonObject:
    """The mapping in a YAML file; empty for an empty file.

    what: name of the file in errors, such as ``--overrides``.  form: what to give instead of anything else.
    Raises UnreadableFile; InvalidSettings for anything but a mapping, and for one that no settings are.
    """
    try:
        values: object = yaml.safe_load(Path(path).read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: of encodings, dates and long integers
        raise UnreadableFile(f"{what} {path} cannot be read: {error}") from error
    except RecursionError:
        raise InvalidSettings(f"{what} {path} is nested too deep: give {form}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InvalidSettings(f"{what} {path} is a {type(values).__name__}: give {form}.")
    require_plain(values, f"{what} {path}", form)
    return values


def require_plain(values: object, what: str, form: str) -> None:
    """Raise InvalidSettings for values that are nested too deep, too many, or under names that are no text."""
    level: list[object] = [values]
    count = 0
    for _ in range(DEEPEST):
        below: list[object] = []
        for value in level:
            if isinstance(value, Mapping):
                wrong = [name for name in value if not isinstance(name, str)]
                if wrong:
                    raise InvalidSettings(f"{what} has the name {wrong[0]!r}, which is no text: give {form}.")
                below += value.values()
            elif isinstance(value, list | tuple | set):
                below += value
            if count + len(below) > LARGEST:
                raise InvalidSettings(f"{what} has more than {LARGEST} values: give {form}.")
        if not below:
            return
        count, level = count + len(below), below
    raise InvalidSettings(f"{what} is nested deeper than {DEEPEST} levels: give {form}.")
