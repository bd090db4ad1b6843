"""Provenance: a drawing of the run, its calls and times, settings and versions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.inspection import flat
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.run_drawing import Box, drawing
from aiida_mbetrain.report.run_facts import Call, RunFacts
from aiida_mbetrain.report.source import Source, settings_of
from aiida_mbetrain.report.svg import framed
from aiida_mbetrain.report.tables import bytes_text, cards, facts, table

VERSIONS = ("aiida_mbetrain", "python", "potential_mace_version", "potential_torch_version", "potential_e3nn_version")
IDENTITIES = {
    names.CONTENT_SHA256: "content_sha256",
    names.SCHEMA_VERSION: "schema version",
}


def provenance_section(source: Source) -> Section:
    """Drawing, identity, versions, settings; with a profile also calls, time by stage and disk."""
    boxes = run_boxes(source)
    figure = framed("The run", drawing(boxes)) if boxes else None
    run = source.run
    parts = [
        element("div", figure, _identity(source), class_="beside"),
        None if run is None else processes(run),
        *_settings(source),
    ]
    return Section("provenance", "Provenance", join(*parts), lead="From the crystal and the model to the file.")


def run_boxes(source: Source) -> list[Box]:
    """Steps of the run that the dataset shows, with the arrows between them."""
    crystal = source.root.provenance.get("crystal_formula") or "crystal"
    model = source.stated("potential_name") or "model"
    sha256 = str(source.stated("model_sha256") or "")
    crystal_uuid = str(source.root.provenance.get("crystal_uuid") or "")
    boxes = [
        Box("crystal", 0, 0, str(crystal), "crystal", crystal_uuid),
        Box("model", 0, 1, str(model), "model", sha256),
    ]
    md = list(source.sections("md_sampling"))
    qh = list(source.sections("quasi_harmonic"))
    phonons = list(source.sections("phonon_sampling"))
    ends: list[str] = []
    if md:
        section = md[0][1]
        trajectory = section[names.TRAJECTORY]
        conditions = f"{trajectory.attributes[names.TARGET_TEMPERATURE]:g} K" if len(md) == 1 else f"{len(md)} runs"
        frames = sum(_count(one[names.TRAJECTORY]) for _, one in md)
        detail = f"{trajectory.attributes[names.ENSEMBLE]}, {conditions}, {frames} frames"
        boxes.append(Box("md", 1, 0, "molecular dynamics", detail, _uuid(trajectory), ("crystal", "model")))
        ends.append(_clusters(boxes, [section for _, section in md], "md", 3, 0))
    if qh:
        section = qh[0][1]
        structures = section.groups.get(names.STRUCTURES, Group()).groups
        relaxed = next(iter(structures.values()), None)
        before: tuple[str, ...] = ("crystal", "model")
        if relaxed is not None:
            detail = f"{len(structures)} crystal{'s' if len(structures) != 1 else ''}"
            boxes.append(Box("relaxation", 1, 1, "relaxation", detail, _uuid(relaxed), before))
            before = ("relaxation",)
        constants = [item[names.FORCE_CONSTANTS_GROUP]
                     for item in section.groups.get(names.PHONONS, Group()).groups.values()
                     if names.FORCE_CONSTANTS_GROUP in item]  # fmt: skip
        if constants:
            count = sum(one.integer(names.N_DISPLACEMENTS) for one in constants)
            boxes.append(
                Box("constants", 2, 1, "force constants", f"{count} displacements", _uuid(constants[0]), before)
            )
    if phonons:
        section = phonons[0][1]
        detail = f"{sum(len(one[names.MODES].array(names.FREQUENCY)) for _, one in phonons)} modes"
        earlier = [box.name for box in boxes if box.name in ("constants", "relaxation")]
        after = tuple(earlier[-1:]) or ("crystal", "model")
        boxes.append(Box("phonons", 3, 1, "phonon sampling", detail, _uuid(section[names.MODES]), after))
        ends.append(_clusters(boxes, [section for _, section in phonons], "phonons", 4, 1))
    elif qh:
        ends.append(boxes[-1].name)
    if ends:
        row = max(box.row for box in boxes) + 1
        digest = str(source.root.attributes.get(names.CONTENT_SHA256, ""))
        boxes.append(Box("file", row, None, source.short_name, "dataset", digest, tuple(ends)))
    return boxes if ends else []


def _clusters(boxes: list[Box], sections: list[Group], source: str, row: int, column: int) -> str:
    """Add the box of labelled clusters; gives the name of the last box of the branch."""
    sets = [
        item for section in sections for item in section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups.values()
    ]
    if not sets:
        return source
    count = sum(_count(item[names.CLUSTER_OF_MOLECULES]) for item in sets)
    name = f"clusters-{source}"
    detail = f"{count:,} in {len(sets)} sets, labelled"
    boxes.append(Box(name, row, column, "clusters", detail, _uuid(sets[0]), (source,)))
    return name


def _count(structure: Group) -> int:
    return structure.integer(names.N_FRAMES)


def _uuid(group: Group) -> str:
    return str(group.provenance.get("process_uuid", ""))


def _identity(source: Source) -> Markup:
    root = source.root
    rows: dict[str, object] = {
        title: root.attributes[name] for name, title in IDENTITIES.items() if name in root.attributes
    }
    rows |= {name.replace("_", " "): value for name, value in root.provenance.items() if not isinstance(value, list)}
    if source.file_bytes is not None:
        rows["file size"] = bytes_text(source.file_bytes)
    versions = {name.removeprefix("potential_").replace("_version", ""): source.stated(name) for name in VERSIONS}
    known = {name: value for name, value in versions.items() if value is not None}
    return cards(facts("Identity", rows), facts("Versions", known) if known else None)


def processes(run: RunFacts) -> Markup:
    """Time by stage, disk, and the tree of calls."""
    total = sum(run.stage_seconds.values())
    rows = [[name, f"{seconds:.1f}", f"{seconds / total:.0%}"] for name, seconds in run.stage_seconds.items()]
    times = table(["stage", "seconds", "share"], rows, caption="Time by stage") if rows else None
    disk = None if run.repository_bytes is None else element(
        "p", f"Files and arrays of the run in the profile: {bytes_text(run.repository_bytes)}."
    )  # fmt: skip
    calls = element("ul", _call(run.call), class_="calls")
    return element(
        "div",
        element("div", element("h3", "Time by stage"), times, disk, class_="card") if rows or disk else None,
        element("div", element("h3", "Processes"), calls, class_="card"),
        class_="cards",
    )


def _call(call: Call) -> Markup:
    seconds = "" if call.seconds is None else f", {call.seconds:.1f} s"
    state = element("span", call.state, class_="state bad" if call.failed else "state good")
    below = element("ul", *[_call(child) for child in call.calls]) if call.calls else None
    return element("li", call.label, f" <{call.pk}> ", state, seconds, below)


def _settings(source: Source) -> Iterator[Markup]:
    for kind in ("md_sampling", "quasi_harmonic", "phonon_sampling"):
        for path, section in source.sections(kind):
            settings: Mapping[str, object] = settings_of(section)
            if settings:
                rows = [[name, json.dumps(value, ensure_ascii=False)] for name, value in flat(settings).items()]
                listing = table(["setting", "value"], rows, caption=f"Settings of {path}")
                yield element("details", element("summary", f"Settings of {path}"), listing)
