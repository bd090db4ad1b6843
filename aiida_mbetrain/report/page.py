"""The page: sections between a head and a foot, with styles, scripts and data inside, and nothing outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from aiida_mbetrain import __version__
from aiida_mbetrain.report.html import Markup, element, join

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src 'unsafe-inline'"
"""Content security policy: the browser refuses every request of the page."""
EVALUATION = " 'unsafe-eval'"
"""Added where a script makes functions from text."""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    identifier: anchor.  scripts: names of assets that it needs, in order.  data: elements with embedded data.
    evaluates: True where one of its scripts makes functions from text.
    """

    identifier: str
    title: str
    body: Markup
    lead: str = ""
    scripts: tuple[str, ...] = ()
    data: tuple[Markup, ...] = ()
    evaluates: bool = False


def page(title: str, heading: Markup, subtitle: Markup, sections: Sequence[Section]) -> str:
    """The whole document."""
    scripts = list(dict.fromkeys(["report.js", *(name for section in sections for name in section.scripts)]))
    policy = POLICY + (EVALUATION if any(section.evaluates for section in sections) else "")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"aiida-mbetrain {__version__}"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(asset("report.css"))),
    )
    body = element(
        "body",
        element("a", "Skip to the content", href="#content", class_="skip"),
        _header(heading, subtitle, sections),
        element("main", *[_section(section) for section in sections], id="content"),
        _footer("3Dmol-min.js" in scripts),
        *[data for section in sections for data in section.data],
        *[element("script", Markup(asset(name))) for name in scripts],
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def asset(name: str) -> str:
    """Text of a file shipped with the package."""
    return (files("aiida_mbetrain.report") / "assets" / name).read_text("utf-8")


def _header(heading: Markup, subtitle: Markup, sections: Sequence[Section]) -> Markup:
    links = [element("li", element("a", section.title, href=f"#{section.identifier}")) for section in sections]
    theme = element("button", "Dark", type="button", id="theme", aria_pressed="false", title="Dark or light colours")
    return join(
        element("header", element("div", element("h1", heading), element("p", subtitle), class_="inner")),
        element("nav", element("div", element("ul", *links), theme, class_="inner"), aria_label="Sections"),
    )


def _section(section: Section) -> Markup:
    heading = element("h2", section.title, id=f"{section.identifier}-title")
    lead = element("p", section.lead, class_="lead") if section.lead else None
    return element(
        "section", heading, lead, section.body, id=section.identifier, aria_labelledby=f"{section.identifier}-title"
    )


def _footer(with_viewer: bool) -> Markup:
    licence = element(
        "details",
        element("summary", "3Dmol.js draws the molecules; its licence"),
        element("pre", asset("3Dmol-LICENSE.txt")),
    )
    made = element("p", f"Made by aiida-mbetrain {__version__}. The page holds all it needs and asks for nothing.")
    return element("footer", element("div", made, licence if with_viewer else None, class_="inner"))
