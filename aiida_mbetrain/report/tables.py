"""Tables and cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiida_mbetrain.report.html import Markup, element


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, caption: str) -> Markup:
    """A table; the first cell of a row is its heading, the caption is read by screen readers."""
    head = element("thead", element("tr", *[element("th", name, scope="col") for name in columns]))
    body = [
        element("tr", element("th", row[0], scope="row"), *[element("td", cell) for cell in row[1:]]) for row in rows
    ]
    listing = element("table", element("caption", caption, class_="hidden"), head, element("tbody", *body))
    return element("div", listing, class_="wide card", tabindex="0", role="region", aria_label=caption)


def facts(title: str, rows: Mapping[str, object]) -> Markup:
    """A card of names and values."""
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in rows.items()]
    return element("div", element("h3", title), element("dl", *pairs), class_="card")


def cards(*parts: object) -> Markup:
    """Cards side by side where there is room."""
    return element("div", *parts, class_="cards")


def bytes_text(count: int) -> str:
    """A size in MB, or in kB where it is small."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"
