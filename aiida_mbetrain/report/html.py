"""HTML and SVG elements as text, with everything that is not an element escaped."""

from __future__ import annotations

import html
import json
import re

VOID = {"br", "hr", "img", "input", "link", "meta"}


class Markup(str):
    """Text that is markup already; any other string is escaped before it enters a page."""


def escaped(content: object) -> Markup:
    """Text for a page: markup as it is, anything else with ``& < > " '`` escaped."""
    return content if isinstance(content, Markup) else Markup(html.escape(str(content), quote=True))


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """One element.

    children: markup, or text to escape; None is left out.
    attributes: underscores stand for hyphens and one at the end is dropped (``class_``); True gives the bare name,
        None and False leave it out.
    """
    inside = "".join(escaped(child) for child in children if child is not None)
    opening = f"<{tag}{_attributes(attributes)}>"
    return Markup(opening if tag in VOID else f"{opening}{inside}</{tag}>")


def join(*parts: object) -> Markup:
    """Several pieces one after another; None is left out."""
    return Markup("".join(escaped(part) for part in parts if part is not None))


def embedded_json(identifier: str, data: object) -> Markup:
    """Data for the scripts of a page: no text in it can end the element or begin markup."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{escaped(identifier)}">{text}</script>')


def formula(text: str) -> Markup:
    """A chemical formula with its numbers as subscripts."""
    parts = re.split(r"(\d+)", text)
    return join(*[element("sub", part) if part.isdigit() else part for part in parts])


def _attributes(attributes: dict[str, object]) -> str:
    written = []
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{html.escape(str(value), quote=True)}"')
    return "".join(written)
