"""The map of all clusters, with molecules in 3D and where each came from."""

from __future__ import annotations

from aiida_mbetrain.datasets import names
from aiida_mbetrain.report.embedding import choose
from aiida_mbetrain.report.html import Markup, element, embedded_json, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.projection import project
from aiida_mbetrain.report.sections.map_data import map_data
from aiida_mbetrain.report.source import Source


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
    data = map_data(source, sets, projection.points)
    body = join(
        *[element("p", note, class_="note-line") for note in notes],
        _controls(),
        element("div", _plot(), _viewer(data["unit"] is not None), _description(), class_="map"),
        element("noscript", element("p", "The map needs JavaScript.")),
    )
    scripts = ("3Dmol-min.js", "map.js")
    return Section("map", "Map of clusters", body, lead=lead, scripts=scripts, data=(embedded_json("map-data", data),))


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
