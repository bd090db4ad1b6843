"""Verdicts, a line each."""

from __future__ import annotations

from aiida_mbetrain.datasets.inspection import Verdict, verdicts_of_tree
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source


def verdicts_section(source: Source) -> Section:
    """The verdicts of every section of the dataset, and first of all a run that failed."""
    found = verdicts_of_tree(source.root)
    if source.run is not None and source.run.call.failed:
        call = source.run.call
        found.insert(
            0,
            Verdict(
                name="Run",
                passed=False,
                value=f"{call.label}<{call.pk}> {call.state}: {source.run.failure}",
                advice="The page shows what was finished before.",
                section="The run",
            ),
        )
    open_points = sum(not verdict.passed for verdict in found)
    lead = "All checks passed." if not open_points else (
        f"{len(found) - open_points} of {len(found)} checks passed; "
        f"{open_points} {'asks' if open_points == 1 else 'ask'} for attention."
    )  # fmt: skip
    if not found:
        lead = "The file holds nothing that could be checked."
    # several sections of one kind are told apart by their path
    groups: dict[str, list[Verdict]] = {}
    for verdict in found:
        groups.setdefault(verdict.section, []).append(verdict)
    body = join(*[_group(path, group) for path, group in groups.items()])
    return Section("verdicts", "Verdicts", body, lead=lead)


def _group(path: str, group: list[Verdict]) -> Markup:
    title = element("h3", path or "Sources compared")
    return element("div", title, element("ul", *[_line(verdict) for verdict in group], class_="verdicts"))


def _line(verdict: Verdict) -> Markup:
    mark = element("span", "passed" if verdict.passed else "attention", class_="badge")
    advice = None if verdict.passed else element("p", verdict.advice, class_="advice")
    text = element("div", element("b", verdict.name), " ", element("span", verdict.value), advice)
    return element("li", mark, text, class_="good" if verdict.passed else "bad")
