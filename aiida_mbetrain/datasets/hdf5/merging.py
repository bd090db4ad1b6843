"""Union of two datasets, whose common groups must be equal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Attribute, Group
from aiida_mbetrain.errors import InvalidSettings

OF_THE_METHOD = (names.LEVEL_OF_THEORY, names.METHOD_HASH, names.N_FRAMES, names.N_ATOMS)
"""Attributes of labels of a reference method that do not change when labels are added."""
ROUNDING_eV = 1e-9
"""Difference of two energies per atom that are sums of the same numbers."""

Digests = Mapping[tuple[str, str], str]


def merge(old: Group, new: Group, old_digests: Digests, new_digests: Digests, path: str = "") -> Group:
    """Groups of both trees; groups in both keep the provenance of the old one.

    digests: of the arrays of either tree (``array_digests``).
    Raises InvalidSettings for a group that is in both with other attributes or arrays.
    """
    if _has_content(old) and _has_content(new):
        _require_equal(old, new, old_digests, new_digests, path)
    merged = Group(
        attributes=old.attributes | new.attributes,
        datasets=new.datasets | old.datasets,
        provenance=_united(old, new) if path == "" else new.provenance | old.provenance,
    )
    for name in sorted(old.groups | new.groups):
        where = f"{path}/{name}" if path else name
        first, second = old.groups.get(name), new.groups.get(name)
        if first is None or second is None:
            merged.groups[name] = new.groups[name] if first is None else first
        else:
            merged.groups[name] = merge(first, second, old_digests, new_digests, where)
    return merged


def settle_references(old: Group, new: Group) -> None:
    """Remove labels of reference methods that are in both trees from the one that has fewer of them.

    Labels grow: what had failed, or was not asked for, is calculated later.  Groups of the same method whose common
    labels differ stay in both, for ``merge`` to refuse.
    """
    for name in old.groups.keys() & new.groups.keys():
        first, second = old.groups[name], new.groups[name]
        if name != names.REFERENCE_LABELS:
            settle_references(first, second)
            continue
        for method in first.groups.keys() & second.groups.keys():
            if _extends(first.groups[method], second.groups[method]):
                del second.groups[method]
            elif _extends(second.groups[method], first.groups[method]):
                del first.groups[method]


def _extends(group: Group, other: Group) -> bool:
    """True if a group has all labels of another, of the same method and frames, and perhaps more."""
    if any(group.attributes.get(name) != other.attributes.get(name) for name in OF_THE_METHOD):
        return False
    if group.datasets.keys() - {names.FORCES} != other.datasets.keys() - {names.FORCES}:
        return False
    energies, others = group.array(names.E_POT), other.array(names.E_POT)
    # the order of a sum of fragments depends on the sets that were composed together
    return bool(np.all(np.isnan(others) | (np.abs(energies - others) <= ROUNDING_eV)))


def _has_content(group: Group) -> bool:
    return bool(group.attributes or group.datasets)


def _require_equal(old: Group, new: Group, old_digests: Digests, new_digests: Digests, path: str) -> None:
    attributes = _differing(_kept(old.attributes), _kept(new.attributes))
    arrays = _differing(
        {name: old_digests[path, name] for name in old.datasets},
        {name: new_digests[path, name] for name in new.datasets},
    )
    if attributes or arrays:
        raise InvalidSettings(
            f"{path or 'The file'} is there already with other data ({', '.join(attributes + arrays)} differ): nothing "
            "was written. Give another root_key, another file, or leave out --append to replace the file."
        )


def _kept(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {name: value for name, value in attributes.items() if name != names.CONTENT_SHA256}


def _differing(old: Mapping[str, Attribute], new: Mapping[str, Attribute]) -> list[str]:
    missing = object()
    return sorted(name for name in old.keys() | new.keys() if old.get(name, missing) != new.get(name, missing))


def _united(old: Group, new: Group) -> dict[str, Attribute]:
    """Provenance of the file as a whole; where the two differ, all values, sorted, in any order of merging."""
    united: dict[str, Attribute] = {}
    for name in old.provenance.keys() | new.provenance.keys():
        values = {v for group in (old, new) if name in group.provenance for v in _values(group.provenance[name])}
        first = old.provenance.get(name, new.provenance.get(name))
        united[name] = first if len(values) == 1 and first is not None else sorted(values)
    return united


def _values(value: Attribute) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
