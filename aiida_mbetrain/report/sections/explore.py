"""The viewer of chemiscope with some of the clusters, where that package is installed."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.datasets import names
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.report.embedding import ChosenSet, choose
from aiida_mbetrain.report.html import Markup, element, embedded_json
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.projection import project
from aiida_mbetrain.report.sections.map_data import SOURCES, energies_above_lowest, largest_forces, temperature_of
from aiida_mbetrain.report.source import Source

MOST_EXPLORED = 2000
"""Clusters that the viewer is given."""
PARTS = ("meta", "map", "structure", "info")
"""Elements that the viewer fills."""


def require_chemiscope() -> None:
    """Raise InvalidSettings unless chemiscope is installed."""
    if find_spec("chemiscope") is None:
        raise InvalidSettings("explore takes the viewer of chemiscope: pip install chemiscope.")


def explore_section(source: Source) -> Section | None:
    """The viewer; None where it was not asked for, and without clusters."""
    if not source.explore:
        return None
    sets = [chosen for chosen in choose(source, most_points=MOST_EXPLORED) if chosen.embedded.any()]
    if not sets:
        return None
    total = sum(chosen.structure.integer(names.N_FRAMES) for chosen in sets)
    shown = sum(int(chosen.embedded.sum()) for chosen in sets)
    lead = (
        f"{shown:,} of {total:,} clusters in the viewer of chemiscope, chosen by chance with seed {source.seed}. The "
        "menu of the map chooses what its axes, colours and sizes show."
    )
    fields = {part: element("div", id=f"explore-{part}") for part in PARTS}
    body = element(
        "div",
        element("div", fields["meta"], fields["map"]),
        element("div", fields["structure"], fields["info"]),
        class_="explore",
    )
    data = (embedded_json("explore-data", _viewer_input(source, sets)), element("script", _viewer_script()))
    return Section("explore", "Explore", body, lead=lead, scripts=("explore.js",), data=data, evaluates=True)


def _viewer_script() -> Markup:
    """The script that chemiscope ships for pages; "<!--" in it would begin a comment of the page."""
    path = files("chemiscope") / "sphinx" / "static" / "chemiscope.min.js"
    return Markup(path.read_text("utf-8").replace("<!--", "<\\!--"))


def _viewer_input(source: Source, sets: list[ChosenSet]) -> dict[str, object]:
    """Structures, properties and first view, as chemiscope's own format has them."""
    from chemiscope import create_input, quick_settings

    points, embedded = project(sets, source.seed).points, np.concatenate([chosen.embedded for chosen in sets])
    properties = {
        name: {"target": "structure", "values": values[embedded]} | ({"units": unit} if unit else {})
        for name, (values, unit) in _properties(sets, points).items()
    }
    known = {
        name: one for name, one in properties.items()
        if one["values"].dtype.kind != "f" or np.isfinite(one["values"]).all()
    }  # fmt: skip
    colour = "energy per atom" if "energy per atom" in known else "molecules"
    made: dict[str, object] = create_input(
        [structure for chosen in sets for structure in _structures(chosen)],
        properties=known,
        metadata={"name": source.short_name},
        settings=quick_settings(x="component 1", y="component 2", map_color=colour, symbol="source"),
    )
    return made


def _properties(sets: list[ChosenSet], points: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    """Values of all chosen clusters with their units."""

    def of_sets(values: list[object]) -> np.ndarray:
        return np.repeat(np.array(values), [len(chosen.frames) for chosen in sets])

    return {
        "component 1": (points[:, 0], ""),
        "component 2": (points[:, 1], ""),
        "energy per atom": (np.concatenate(energies_above_lowest(sets)[0]), "meV"),
        "largest force": (np.concatenate([largest_forces(chosen) for chosen in sets]), "eV/Å"),
        "molecules": (of_sets([len(chosen.group.array(names.MOLECULE_INDICES)) for chosen in sets]), ""),
        "temperature": (of_sets([temperature_of(chosen) for chosen in sets]), "K"),
        "source": (of_sets([SOURCES[chosen.kind] for chosen in sets]), ""),
    }


def _structures(chosen: ChosenSet) -> list[dict[str, object]]:
    """Structures with coordinates to 0.001 Å, which the eye cannot tell from more."""
    symbols = [chemical_symbols[number] for number in chosen.numbers]
    made = []
    for block in chosen.blocks(names.POSITIONS, chosen.frames[chosen.embedded]):
        for x, y, z in np.round(block, 3).transpose(0, 2, 1).tolist():
            made.append({"size": len(symbols), "names": symbols, "x": x, "y": y, "z": z})
    return made
