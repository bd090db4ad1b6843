"""The map of all clusters, with molecules in 3D and where each came from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.report.embedding import ChosenSet, bonds_of_cluster, choose, packed, quantised
from aiida_mbetrain.report.html import Markup, element, embedded_json, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.projection import project
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecules import detect_molecules

MOST_CRYSTAL_ATOMS = 4000
"""Larger supercells are not drawn around a cluster."""
SOURCES = {"md_sampling": "dynamics", "phonon_sampling": "phonons"}
SAID = ("process_label", "process_uuid", "node_uuid", "potential_name", "model_sha256", "aiida_mbetrain")
"""Provenance of a cluster set that is shown beside a cluster."""
UNITS = {names.TIME: "time / fs", names.FREQUENCY: "frequency / THz", "amplitude (sigma)": "amplitude / σ"}


def map_section(source: Source) -> Section | None:
    """The map; None without clusters."""
    sets = [chosen for chosen in choose(source) if len(chosen.frames)]
    if not sets:
        return None
    projection = project(sets, source.seed)
    total = sum(chosen.structure.integer(names.N_FRAMES) for chosen in sets)
    shown = sum(len(chosen.frames) for chosen in sets)
    embedded = sum(int(chosen.embedded.sum()) for chosen in sets)
    axes = "mean feature vectors of the model" if projection.of_features else "interatomic distances"
    lead = (
        f"Every point is a cluster; near points have similar molecules in them. Axes: principal components of {axes}, "
        f"{projection.variances[0]:.0%} and {projection.variances[1]:.0%} of the variance."
    )
    notes = []
    if not projection.of_features:
        notes.append("The file has no feature vectors for all clusters: the map is one of geometry.")
    if shown < total:
        notes.append(
            f"Of {total:,} clusters {shown:,} are shown, the same number of every set as far as it has them, chosen "
            f"by chance with seed {source.seed}."
        )
    if embedded < shown:
        notes.append(
            f"{embedded:,} of them, chosen likewise, carry their coordinates; the others show where they come from."
        )
    data = _data(source, sets, projection.points)
    body = join(
        *[element("p", note, class_="note-line") for note in notes],
        _controls(),
        element("div", _plot(), _viewer(data["unit"] is not None), _description(), class_="map"),
        element("noscript", element("p", "The map needs JavaScript.")),
    )
    scripts = ("3Dmol-min.js", "map.js")
    return Section("map", "Map of clusters", body, lead=lead, scripts=scripts, data=(embedded_json("map-data", data),))


def _data(source: Source, sets: list[ChosenSet], points: FloatArray) -> dict[str, object]:
    """Everything that map.js reads."""
    energies, bases = _energies(sets)
    described, coordinates, offsets = [], [], []
    first = atoms_before = 0
    sections = list(dict.fromkeys(chosen.section_path for chosen in sets))
    for chosen, base in zip(sets, bases, strict=True):
        n_atoms = len(chosen.numbers)
        blocks = list(chosen.blocks(names.POSITIONS, chosen.frames[chosen.embedded]))
        positions = np.concatenate(blocks) if blocks else np.empty((0, n_atoms, 3))
        steps, quantum = quantised(positions)
        coordinates.append(steps.ravel())
        offset = np.full(len(chosen.frames), -1)
        offset[chosen.embedded] = atoms_before + n_atoms * np.arange(len(positions))
        offsets.append(offset)
        atoms_before += n_atoms * len(positions)
        described.append(
            _set_facts(chosen) | {"first": first, "quantum": quantum, "base": base,
                                  "section": sections.index(chosen.section_path)}
        )  # fmt: skip
        first += len(chosen.frames)
    by_path = {chosen.section_path: chosen.section for chosen in sets}
    return {
        "file": source.file_name,
        "sets": described,
        "sections": [_crystal(path, by_path[path]) for path in sections],
        "x": packed(points[:, 0], "f4"),
        "y": packed(points[:, 1], "f4"),
        "energy": packed(np.concatenate(energies), "f4"),
        "force": packed(np.concatenate([_largest_forces(chosen) for chosen in sets]), "f4"),
        "row": packed(np.concatenate([chosen.frames for chosen in sets]), "i4"),
        "offset": packed(np.concatenate(offsets), "i4"),
        "coordinates": packed(np.concatenate(coordinates), "i2"),
        "unit": _unit_cell(source),
        "symbols": list(chemical_symbols),
    }


def _energies(sets: list[ChosenSet]) -> tuple[list[FloatArray], list[float]]:
    """Energies per atom above the lowest of the same composition, meV; and that lowest one, eV.  nan: not labelled."""
    found, kinds = [], []
    for chosen in sets:
        stored = chosen.structure.datasets.get(names.E_POT)
        count = len(chosen.frames)
        found.append(np.full(count, np.nan) if stored is None else chosen.structure.array(names.E_POT)[chosen.frames])
        elements, counts = np.unique(chosen.numbers, return_counts=True)
        kinds.append((tuple(elements), tuple(counts // np.gcd.reduce(counts))))
    lowest = {
        kind: min((float(values.min()) for values, other in zip(found, kinds, strict=True)
                   if other == kind and len(values)), default=np.nan)
        for kind in set(kinds)
    }  # fmt: skip
    relative = [1000.0 * (values - lowest[kind]) for values, kind in zip(found, kinds, strict=True)]
    return relative, [lowest[kind] if np.isfinite(lowest[kind]) else 0.0 for kind in kinds]


def _largest_forces(chosen: ChosenSet) -> FloatArray:
    """Largest force on an atom of each chosen frame, eV/Å; nan where there are no forces."""
    if names.FORCES not in chosen.structure.datasets:
        return np.full(len(chosen.frames), np.nan)
    return np.concatenate([np.linalg.norm(block, axis=-1).max(axis=1) for block in chosen.blocks(names.FORCES)])


def _set_facts(chosen: ChosenSet) -> dict[str, object]:
    attributes = chosen.group.attributes
    molecules = chosen.group.array(names.MOLECULE_INDICES)
    crystal = chosen.section.groups.get(names.MOLECULAR_CRYSTAL)
    bonds = np.empty((0, 2)) if crystal is None else bonds_of_cluster(crystal, molecules)
    return {
        "path": chosen.path,
        "key": chosen.key,
        "source": SOURCES[chosen.kind],
        "temperature": _temperature(chosen),
        "size": len(molecules),
        "orbit": attributes.get(names.ORBIT),
        "multiplicity": attributes.get(names.MULTIPLICITY),
        "repeated": attributes[names.N_REPEATED_MOLECULES],
        "molecules": molecules.tolist(),
        "translations": chosen.group.array(names.LATTICE_TRANSLATIONS).tolist(),
        "numbers": packed(chosen.numbers, "u1"),
        "bonds": packed(bonds, "u2"),
        "central": _atoms_of_first(crystal, molecules),
        "count": len(chosen.frames),
        "origin": _origin(chosen),
        "said": _said(chosen),
    }


def _temperature(chosen: ChosenSet) -> object:
    if chosen.kind == "md_sampling":
        return chosen.section[names.TRAJECTORY].attributes[names.TARGET_TEMPERATURE]
    return chosen.section.attributes[names.TEMPERATURE]


def _atoms_of_first(crystal: Group | None, molecules: np.ndarray) -> int:
    return 0 if crystal is None else int((crystal.array(names.INDEX_MAP)[molecules[0]] >= 0).sum())


def _origin(chosen: ChosenSet) -> list[dict[str, object]]:
    """Columns about the chosen frames: name, values, width."""
    if names.ORIGIN not in chosen.structure:
        return []
    origin = chosen.structure[names.ORIGIN]
    columns: list[dict[str, object]] = []
    for name in sorted(origin.datasets):
        values = origin.array(name)[chosen.frames]
        column: dict[str, object] = {"name": UNITS.get(name, name.replace("_", " ")), "flag": values.dtype.kind == "b"}
        width = int(np.prod(values.shape[1:], dtype=int))
        if values.dtype.kind in "ib":
            columns.append(column | {"width": width, "values": packed(values, "i4")})
        elif values.dtype.kind == "f":
            columns.append(column | {"width": width, "values": packed(values, "f4")})
        else:
            columns.append(column | {"width": 1, "texts": [str(value) for value in values.tolist()]})
    return columns


def _said(chosen: ChosenSet) -> Mapping[str, object]:
    """Provenance of the set, or of the nearest group around it that has some."""
    for group in (chosen.structure, chosen.group, chosen.section):
        if group.provenance:
            return {name: str(group.provenance[name]) for name in SAID if name in group.provenance}
    return {}


def _crystal(path: str, section: Group) -> dict[str, object]:
    """The reference crystal around the clusters of a section, molecules whole; only its path where it is too large."""
    if names.MOLECULAR_CRYSTAL not in section:
        return {"path": path}
    crystal = section[names.MOLECULAR_CRYSTAL]
    reference = crystal[names.REFERENCE]
    numbers = reference.array(names.ATOMIC_NUMBERS)
    if len(numbers) > MOST_CRYSTAL_ATOMS:
        return {"path": path}
    steps, quantum = quantised(reference.array(names.POSITIONS).reshape(-1, 3))
    index_map = crystal.array(names.INDEX_MAP)
    molecule = np.zeros(len(numbers), dtype=np.int64)
    for i, atoms in enumerate(index_map):
        molecule[atoms[atoms >= 0]] = i
    return {
        "path": path,
        "cell": reference.array(names.CELL_VECTORS).reshape(3, 3).tolist(),
        "numbers": packed(numbers, "u1"),
        "positions": packed(steps, "i2"),
        "quantum": quantum,
        "bonds": packed(crystal.array(names.BONDS), "u2"),
        "molecule": packed(molecule, "u2"),
    }


def _unit_cell(source: Source) -> dict[str, object] | None:
    """The first relaxed crystal, molecules whole; None where there is none, or where it has no whole molecules."""
    for _, section in source.sections("quasi_harmonic"):
        for group in section.groups.get(names.STRUCTURES, Group()).groups.values():
            positions = group.array(names.POSITIONS).reshape(1, -1, 3)
            cell = group.array(names.CELL_VECTORS).reshape(-1, 3, 3)[:1]
            structure = Configurations(group.array(names.ATOMIC_NUMBERS), positions, cells=cell)
            try:
                crystal = detect_molecules(structure, assert_identical_composition=False)
            except MbetrainError:
                return None
            steps, quantum = quantised(crystal.positions)
            return {
                "cell": crystal.cell.tolist(),
                "numbers": packed(crystal.numbers, "u1"),
                "positions": packed(steps, "i2"),
                "quantum": quantum,
                "bonds": packed(crystal.bonds, "u2"),
                "molecule": packed(crystal.molecule_of_atom, "u2"),
            }
    return None


def _controls() -> Markup:
    colours = ("energy", "largest force", "source", "size", "orbit", "temperature")
    return element(
        "form",
        _labelled("Colour", element("select", *[element("option", name) for name in colours], id="map-colour")),
        element("fieldset", element("legend", "Source"), id="map-sources"),
        element("fieldset", element("legend", "Size"), id="map-sizes"),
        _labelled("Orbit", element("select", element("option", "all", value=""), id="map-orbit")),
        element("output", id="map-count", aria_live="polite"),
        id="map-controls",
        class_="controls",
    )


def _labelled(text: str, control: Markup) -> Markup:
    return element("label", element("span", text), control)


def _plot() -> Markup:
    help_text = "Click a point, or use the arrow keys: left and right within a cluster set, up and down between sets."
    canvas = element(
        "canvas",
        "A map of clusters; the chosen one is described beside it.",
        id="map-canvas",
        tabindex="0",
        role="application",
        aria_label="Map of clusters. " + help_text,
        aria_describedby="map-description",
    )
    return element(
        "div",
        element("div", canvas, class_="plot"),
        element("div", id="map-legend", class_="map-legend"),
        element("p", help_text, class_="hint"),
        class_="map-left",
    )


def _viewer(with_unit_cell: bool) -> Markup:
    modes = [("cluster", "cluster"), ("crystal", "in its crystal"), ("cell", "supercell")]
    modes += [("unit", "unit cell")] if with_unit_cell else []
    shown = element("select", *[element("option", text, value=value) for value, text in modes], id="viewer-mode")
    slider = element("input", type="range", id="viewer-frame", min="0", max="0", value="0", step="1")
    return element(
        "div",
        element("div", id="viewer", role="img", tabindex="0", aria_label="Molecules of the chosen cluster"),
        element(
            "div",
            _labelled("Show", shown),
            _labelled("Frame", slider),
            element("button", "Play", type="button", id="viewer-play", aria_pressed="false"),
            element("button", "Reset view", type="button", id="viewer-reset"),
            class_="controls",
        ),
        element(
            "p", "Drag to turn, Ctrl and wheel to zoom; with the keyboard arrow keys, + and \u2212.", class_="hint"
        ),
        class_="map-right",
    )


def _description() -> Markup:
    button = element("button", "Copy", type="button", id="map-copy")
    return element(
        "div",
        element("h3", "The chosen cluster"),
        element("div", id="map-description", aria_live="polite"),
        element("div", element("code", id="map-trace"), button, class_="command"),
        class_="map-below card",
    )
