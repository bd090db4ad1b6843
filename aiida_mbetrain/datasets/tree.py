"""A dataset file as a tree of groups in memory, made by the layout and by the reader of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.arrays import StoredArray, array_sha256, canonical
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import AnyArray

__all__ = [
    "Attribute",
    "Group",
    "Provenance",
    "array_digests",
    "content_sha256",
    "forget_inherited",
    "plain",
    "stated_provenance",
]

Attribute = str | int | float | bool | list[str]
"""Value of an attribute of a group."""
Provenance = Mapping[str, Attribute | None]
"""Attributes that say where a group comes from; None is left out."""


MADE_WITH = {
    names.TIME_SERIES: names.TRAJECTORY,
    f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}": names.TRAJECTORY,
}
"""Groups of a section made by the process of another group than the one around them."""

OF_THE_NODE = ("node_uuid", "node_type")
"""Provenance of a single node, which the groups made with it do not inherit."""


Facts = Mapping[str, Any]
"""Attributes of a group, read where the layout knows their types."""


@dataclass
class Group:
    """One group: attributes, provenance attributes, arrays and sub-groups under their names in the file.

    Arrays are int64, float64, bool, or objects (strings); a group read from a file holds ``StoredArray``, which
    are loaded by ``array(name)`` and compared with their digests.
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    datasets: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    provenance: dict[str, Attribute] = field(default_factory=dict)

    def __contains__(self, path: str) -> bool:
        return self._find(path) is not None

    def __getitem__(self, path: str) -> Group:
        found = self._find(path)
        if found is None:
            raise KeyError(f"no group {path!r}")
        return found

    def _find(self, path: str) -> Group | None:
        group: Group | None = self
        for part in filter(None, path.split("/")):
            group = None if group is None else group.groups.get(part)
        return group

    def integer(self, name: str) -> int:
        """Attribute as an integer.  Raise TypeError if it is a text or a list."""
        value = self.attributes[name]
        if isinstance(value, str | list):
            raise TypeError(f"The attribute {name} is {value!r}, not a number.")
        return int(value)

    def array(self, name: str) -> AnyArray:
        """A dataset as int64, float64, bool or an array of strings; a large one of a file is mapped, and read-only."""
        source = self.datasets[name]
        return source.canonical() if isinstance(source, StoredArray) else canonical(source)

    def put(self, path: str, group: Group) -> None:
        """Place a group at a path, making those between; raises InvalidSettings if the path is taken."""
        *parents, last = _parts(path)
        here = self
        for part in parents:
            here = here.groups.setdefault(part, Group())
        taken = here.groups.get(last)
        if taken is not None and (taken.attributes or taken.datasets or set(taken.groups) & set(group.groups)):
            raise InvalidSettings(
                f"Two parts of the dataset would be written to {path}: give them different root_keys."
            )
        if taken is not None:
            group.groups = taken.groups | group.groups
        here.groups[last] = group

    def annotate(self, provenance: Mapping[str, Provenance]) -> None:
        """Attach provenance to sub-groups by relative path ("" is this group); values of None are left out.

        Raises InvalidSettings if there is no such group.
        """
        for path, values in provenance.items():
            if path not in self:
                raise InvalidSettings(f"Provenance is given for {path!r}, but the dataset has no such group.")
            self[path].provenance |= {key: plain(value) for key, value in values.items() if value is not None}

    def collect_provenance(self) -> dict[str, dict[str, Attribute]]:
        """The inverse of :meth:`annotate`."""
        return {path: dict(group.provenance) for path, group in self.walk() if group.provenance}

    def walk(self, path: str = "") -> Iterator[tuple[str, Group]]:
        """This group and all below with their paths, sorted at every level."""
        yield path, self
        for name in sorted(self.groups):
            yield from self.groups[name].walk(f"{path}/{name}" if path else name)


def stated_provenance(root: Group) -> dict[str, dict[str, Attribute]]:
    """Provenance of every group as written to a file: its own or, within a section, the inherited one.

    A group without its own provenance inherits that of the group around it, or of the one it was made with.
    """
    return {path: stated for path, (_, stated) in _inheritance(root).items()}


def forget_inherited(root: Group) -> None:
    """Remove from a tree that was read the provenance that :func:`stated_provenance` adds."""
    for path, (inherited, _) in _inheritance(root).items():
        if root[path].provenance == inherited:
            root[path].provenance = {}


def _inheritance(root: Group) -> dict[str, tuple[dict[str, Attribute], dict[str, Attribute]]]:
    """Inherited and own provenance of every group, by path."""
    found: dict[str, tuple[dict[str, Attribute], dict[str, Attribute]]] = {}
    section_of: dict[str, str] = {}
    for path, group in root.walk():
        parent = path.rpartition("/")[0]
        inherited: dict[str, Attribute] = {}
        if names.SECTION in group.attributes:
            section_of[path] = path
        elif parent in section_of:
            section = section_of[path] = section_of[parent]
            partner = MADE_WITH.get(path.removeprefix(f"{section}/"), "")
            made_with = root[section][partner].provenance if partner and partner in root[section] else {}
            inherited = {name: value for name, value in made_with.items() if name not in OF_THE_NODE}
            inherited = inherited or dict(found[parent][1])
        found[path] = inherited, group.provenance or inherited
    return found


def _parts(path: str) -> list[str]:
    parts = path.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidSettings(f"root_key = {path!r} is not a path inside the dataset: give names separated by '/'.")
    return parts


def plain(value: object) -> Attribute:
    """An attribute as a Python type, from types of numpy and HDF5; raises TypeError for other types."""
    if isinstance(value, np.ndarray | list | tuple):
        return [item.decode() if isinstance(item, bytes) else str(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | int | float):
        raise TypeError(f"An attribute is a string, a number or a list of strings, not {value!r}.")
    return value


def array_digests(root: Group) -> dict[tuple[str, str], str]:
    """sha256 of every array with its kind and shape, by (path of the group, name).

    Arrays of a file are read and compared with the digests that it states; raises UnreadableFile.
    """
    return {
        (path, name): source.digest() if isinstance(source, StoredArray) else array_sha256(source)
        for path, group in root.walk()
        for name, source in sorted(group.datasets.items())
    }


def content_sha256(root: Group, arrays: Mapping[tuple[str, str], str]) -> str:
    """Digest over all arrays (``array_digests``) and all attributes that are not provenance, with their paths.

    Equal for two files with the same numbers, whatever processes made them.
    """
    digest = hashlib.sha256()
    for path, group in root.walk():
        attributes = {key: value for key, value in group.attributes.items() if key != names.CONTENT_SHA256}
        datasets = {name: arrays[path, name] for name in group.datasets}
        digest.update(json.dumps([path, attributes, datasets], sort_keys=True).encode())
    return digest.hexdigest()
