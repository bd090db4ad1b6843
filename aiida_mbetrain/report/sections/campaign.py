"""A campaign: the table of crystals and conditions, and volume, density and lattice energy against temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.datasets.inspection import Verdict
from aiida_mbetrain.report.campaign import Member, Results
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.svg import Plot, figures, number, padded
from aiida_mbetrain.report.tables import table

QUANTITIES = {
    "volume_A3": ("Volume of a molecule", "V / Å³"),
    "density_g_per_cm3": ("Density", "ρ / g/cm³"),
    "lattice_energy_kJ_per_mol": ("Lattice energy", "E / kJ/mol"),
}
COLOURS = ("blue", "orange", "green", "purple", "red", "ink")


@dataclass(frozen=True)
class Row:
    """A member with its numbers and verdicts.

    link: to its own page, relative to this one; None without one.
    """

    member: Member
    results: Results
    verdicts: Sequence[Verdict]
    link: str | None


def campaign_section(rows: Sequence[Row]) -> Section:
    """All members: a table by crystal and condition, and figures by crystal."""
    finished = sum(row.member.state == "finished" for row in rows)
    lead = f"{finished} of {len(rows)} members are finished. Volumes and densities are means of the kept dynamics."
    by_crystal: dict[str, list[Row]] = {}
    for row in rows:
        by_crystal.setdefault(f"{row.member.crystal}, {row.member.model}", []).append(row)
    drawn = [_crystal(name, group) for name, group in by_crystal.items()]
    return Section("campaign", "Crystals and conditions", join(_table(by_crystal), *drawn), lead=lead)


def unfinished_section(rows: Sequence[Row]) -> Section | None:
    """Members that are not finished, with the reason."""
    left = [[_name(row.member), row.member.state, row.member.reason] for row in rows if row.member.state != "finished"]
    if not left:
        return None
    listing = table(["member", "state", "reason"], left, caption="Not finished")
    return Section("unfinished", "Not finished", element("div", listing, class_="prose"))


def attention_section(rows: Sequence[Row]) -> Section:
    """Checks that did not pass, each with the members it is about."""
    failed: dict[str, list[str]] = {}
    advice: dict[str, str] = {}
    for row in rows:
        for verdict in row.verdicts:
            if not verdict.passed:
                failed.setdefault(verdict.name, []).append(_name(row.member))
                advice.setdefault(verdict.name, verdict.advice)
    if not failed:
        return Section("verdicts", "Verdicts", Markup(""), lead="All checks of all members passed.")
    listing = table(
        ["check", "members", "what to do"],
        [[name, _listed(list(dict.fromkeys(where)), len(rows)), advice[name]] for name, where in failed.items()],
        caption="Checks that did not pass",
    )
    lead = "Checks that did not pass; the pages of the members say more."
    return Section("verdicts", "Verdicts", element("div", listing, class_="prose"), lead=lead)


def _listed(names: Sequence[str], n_members: int) -> str:
    return f"all {n_members}" if len(names) == n_members > 1 else f"{len(names)}: {'; '.join(names)}"


def _name(member: Member) -> str:
    return f"{member.crystal}, {member.model}, {member.condition}"


def _table(by_crystal: Mapping[str, Sequence[Row]]) -> Markup:
    """Crystals and models down, conditions across."""
    conditions = list(dict.fromkeys(row.member.condition for rows in by_crystal.values() for row in rows))
    lines = []
    for name, rows in by_crystal.items():
        cells = {row.member.condition: _cell(row) for row in rows}
        lines.append([name, *[cells.get(condition, "") for condition in conditions]])
    return table(["crystal, model", *conditions], lines, caption="Members by crystal and condition")


def _cell(row: Row) -> Markup:
    """State or verdicts, and the numbers."""
    checks = f"{sum(verdict.passed for verdict in row.verdicts)} of {len(row.verdicts)} checks passed"
    good = row.member.state == "finished" and all(verdict.passed for verdict in row.verdicts)
    text = checks if row.member.state == "finished" else row.member.state
    shown = element("a", text, href=row.link) if row.link is not None else text
    values = {
        "V": (row.results.volume_A3, "Å³"),
        "ρ": (row.results.density_g_per_cm3, "g/cm³"),
        "E": (row.results.lattice_energy_kJ_per_mol, "kJ/mol"),
    }
    lines = [
        join(element("br"), f"{symbol} {number(round(value, 4))} {unit}")
        for symbol, (value, unit) in values.items()
        if value is not None
    ]
    return join(element("span", shown, class_=f"state {'good' if good else 'bad'}"), *lines)


def _crystal(name: str, rows: Sequence[Row]) -> Markup | None:
    """Small figures of one crystal and model against temperature, a curve for each pressure."""
    drawn = [_figure(name, rows, quantity) for quantity in QUANTITIES]
    if not any(drawn):
        return None
    return element("div", element("h3", name), figures(*[figure for figure in drawn if figure is not None]))


def _figure(name: str, rows: Sequence[Row], quantity: str) -> Markup | None:
    known = [
        (row.member.pressure_GPa, row.member.temperature_K, value)
        for row in rows
        if (value := getattr(row.results, quantity)) is not None
    ]
    if not known:
        return None
    title, label = QUANTITIES[quantity]
    temperatures, values = np.array([item[1] for item in known]), np.array([item[2] for item in known])
    said = "; ".join(f"{number(value)} at {number(at)} K, {number(p)} GPa" for p, at, value in known)
    low, high = float(temperatures.min()), float(temperatures.max())
    plot = Plot(
        padded(low, high, 0.05) if low < high else (low - 15.0, high + 15.0),
        padded(float(values.min()), float(values.max())),
        x_label="T / K",
        y_label=label,
        title=title,
        description=f"{title} of {name}: {said}.",
    )
    for index, pressure in enumerate(dict.fromkeys(item[0] for item in known)):
        line = sorted((at, value) for p, at, value in known if p == pressure)
        colour = COLOURS[index % len(COLOURS)]
        x, y = [at for at, _ in line], [value for _, value in line]
        plot.line(x, y, colour)
        plot.points(x, y, colour, name=f"{number(pressure)} GPa")
    return plot.figure()
