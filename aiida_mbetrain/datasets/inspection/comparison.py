"""Comparison of runs and dataset files by the facts they record.  Needs no profile and no AiiDA."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import opened
from aiida_mbetrain.datasets.inspection.queries import Row, sections_of
from aiida_mbetrain.datasets.tree import Group, array_digests
from aiida_mbetrain.settings import MDSampling


@dataclass(frozen=True)
class SectionFacts:
    """One section of a file, or the stage that makes it.

    kind: ``md_sampling``, ``quasi_harmonic`` or ``phonon_sampling``.  settings: flat, by dotted name; None where they
    are not recorded.  own: facts that only sources of the same kind record.
    """

    kind: str
    settings: Row | None
    own: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Recorded facts about a run or a file.

    shared: facts that runs and files both record, if this one has them.
    own: facts that only sources of the same kind (runs or files) record.
    sections: by their path in the file.
    """

    source: Literal["run", "file"]
    shared: Row
    own: Row
    sections: Mapping[str, SectionFacts]


def flat(values: Mapping[str, object], prefix: str = "") -> Row:
    """Nested settings with dotted names."""
    found: Row = {}
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else name
        found |= flat(value, key) if isinstance(value, Mapping) else {key: value}
    return found


def section_path(kind: str, settings: Mapping[str, object]) -> str:
    """Path in the file of a stage with these settings.  Raises InvalidSettings."""
    if kind != "md_sampling":
        return str(settings["root_key"])
    wanted = MDSampling(**settings)
    pressure = wanted.pressure_GPa if wanted.md_crystal.ensemble == "NPT" else None
    return f"{wanted.root_key}/{names.md_crystal_name(wanted.temperature_K, pressure)}"


def file_facts(path: str | Path) -> Facts:
    """Facts about a file, whose content is first compared with its digest.  Raises UnreadableFile."""
    with opened(path) as root:
        array_digests(root)
        said = root.provenance
        shared: Row = {"content_sha256": root.attributes[names.CONTENT_SHA256]}
        renamed = {"structure": said.get("crystal_formula"), "structure_uuid": said.get("crystal_uuid")}
        if said:
            sha256 = said.get("model_sha256")
            uuid = said.get("model_uuid") if sha256 is None else None
            shared |= {"model_sha256": sha256, "model_uuid": uuid, **renamed}
        told = {"crystal_formula", "crystal_uuid", "model_uuid", "settings_uuid", *shared}
        own = {name: value for name, value in said.items() if name not in told} | _made_with(root)
        return Facts("file", shared, own, {where: _section_facts(section) for where, section in sections_of(root)})


def _section_facts(section: Group) -> SectionFacts:
    settings = section.provenance.get("settings")
    own = {
        f"{name}: n_frames": group.attributes[names.N_FRAMES]
        for name, group in section.walk()
        if group.attributes.get(names.DATACLASS) == "Structure"
    }
    known = None if settings is None else flat(json.loads(str(settings)))
    return SectionFacts(str(section.attributes[names.SECTION]), known, own)


def _made_with(root: Group) -> Row:
    """Python and potential of the jobs; several are joined."""
    seen: dict[str, set[str]] = {}
    for _, group in root.walk():
        for name, value in group.provenance.items():
            if name == "python" or name.startswith("potential_"):
                seen.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(values)) for name, values in seen.items()}


def differences(first: Facts, second: Facts) -> list[Row]:
    """One row per fact that differs, sorted by name: ``fact``, ``first``, ``second``.

    A run and a file are compared by the facts that both record.  A section that one of them lacks is a row
    ``section PATH`` with its kind on the side that has it.
    """
    alike = first.source == second.source
    sides = [facts.shared | facts.own if alike else dict(facts.shared) for facts in (first, second)]
    if not alike:
        told = sides[0].keys() & sides[1].keys()
        sides = [{name: side[name] for name in told} for side in sides]
    rows = _rows(sides[0], sides[1])
    for paths, label in _pairs(first.sections, second.sections):
        one, other = (facts.sections.get(path) for facts, path in zip((first, second), paths, strict=True))
        if one is None or other is None:
            rows.append({"fact": f"section {label}", "first": one and one.kind, "second": other and other.kind})
            continue
        if paths[0] != paths[1]:
            rows.append({"fact": f"{label}: section", "first": paths[0], "second": paths[1]})
        if one.settings is not None and other.settings is not None:
            rows += _rows(one.settings, other.settings, f"{label}.")
        if alike:
            rows += _rows(one.own, other.own, f"{label}/")
    return sorted(rows, key=lambda row: str(row["fact"]))


def _rows(first: Row, second: Row, prefix: str = "") -> list[Row]:
    missing = object()
    return [
        {"fact": f"{prefix}{name}", "first": first.get(name), "second": second.get(name)}
        for name in first.keys() | second.keys()
        if first.get(name, missing) != second.get(name, missing)
    ]


def _pairs(
    first: Mapping[str, SectionFacts], second: Mapping[str, SectionFacts]
) -> Iterator[tuple[tuple[str, str], str]]:
    """Paths of sections to compare, "" without a partner, and the name of the pair.

    Partners have the same path, or are the only ones of their kind without such a partner.  A pair is called by its
    kind where no other section is of this kind, else by its path.
    """
    for kind in sorted({facts.kind for side in (first, second) for facts in side.values()}):
        left, right = ({path for path, facts in side.items() if facts.kind == kind} for side in (first, second))
        lone = len(left - right) == len(right - left) == 1
        pairs = [(path, path) for path in left & right]
        if lone:
            pairs += list(zip(left - right, right - left, strict=True))
        else:
            pairs += [(path, "") for path in left - right] + [("", path) for path in right - left]
        for pair in sorted(pairs):
            only = len(left) == len(right) == 1
            yield pair, kind if only else pair[0] or pair[1]
