"""Thermodynamics: vibrational properties against temperature, F(V), V(T), sublimation."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout import to_force_constants
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source, settings_of
from aiida_mbetrain.report.svg import Plot, figures, number, padded
from aiida_mbetrain.report.tables import table
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.thermodynamics import harmonic_thermodynamics

MOST_ROWS, MOST_COLUMNS = 30, 5
"""Of tables; with few temperatures each has a column instead of a row."""
STEP = 0.12
"""Displacement between two temperatures of F(V), in units of the highest curve."""
AGAINST_T = {
    names.F_VIB_CRYSTAL: ("Vibrational free energy", "F / kJ/mol/cell", "blue"),
    names.S_VIB_CRYSTAL: ("Entropy", "S / J/K/mol/cell", "orange"),
    names.C_V_VIB_CRYSTAL: ("Heat capacity", "C_V / J/K/mol/cell", "green"),
}
EXPANSION = {
    names.V_EOS: ("Equilibrium volume", "V / Å³/cell", "blue"),
    names.B_EOS: ("Bulk modulus", "B / GPa", "orange"),
    names.ALPHA_V_EOS: ("Expansion coefficient", "α / 1/K", "green"),
}


def thermodynamics_section(source: Source) -> Section | None:
    """Tables and curves of every quasi-harmonic section; None without any."""
    parts: list[Markup] = []
    for path, section in source.sections("quasi_harmonic"):
        drawn: list[Markup] = []
        fixed = section.groups.get(names.THERMODYNAMICS_FIXED_VOLUME)
        equilibrium = section.groups.get(names.THERMODYNAMICS_EQUILIBRIUM_VOLUME)
        if names.EOS_INTERPOLATED in section:
            drawn.append(_free_energy_figure(section[names.EOS_INTERPOLATED]))
        if equilibrium is not None:
            drawn += _against_temperature(equilibrium, EXPANSION | AGAINST_T)
        elif fixed is not None:
            drawn += _against_temperature(fixed, AGAINST_T) or _harmonic_curves(section, fixed)
        shown = equilibrium if equilibrium is not None else fixed
        if drawn or shown is not None:
            listing = None if shown is None else _listing(shown)
            parts.append(element("div", element("h3", path), figures(*drawn) if drawn else None, listing))
    if not parts:
        return None
    return Section("thermodynamics", "Thermodynamics", join(*parts), lead="Per primitive cell, from the phonons.")


def _against_temperature(group: Group, wanted: dict[str, tuple[str, str, str]]) -> list[Markup]:
    temperatures = group.array(names.T_COLUMN)
    if len(temperatures) < 2:
        return []
    drawn = []
    for name, (title, label, colour) in wanted.items():
        if name not in group.datasets or not np.isfinite(group.array(name)).any():
            continue
        values = group.array(name)
        finite = values[np.isfinite(values)]
        plot = Plot(
            padded(float(temperatures.min()), float(temperatures.max()), 0.03),
            padded(float(finite.min()), float(finite.max())),
            x_label="T / K",
            y_label=label,
            title=title,
            description=f"{title} from {number(float(temperatures.min()))} to {number(float(temperatures.max()))} K: "
            f"from {number(float(finite[0]))} to {number(float(finite[-1]))}.",
        )
        plot.line(temperatures, values, colour)
        plot.points(temperatures, values, colour)
        drawn.append(plot.figure())
    return drawn


def _harmonic_curves(section: Group, fixed: Group) -> list[Markup]:
    """Curves from the force constants themselves where the file has one temperature; its values are the points."""
    crystals = section.groups.get(names.PHONONS, Group()).groups.values()
    found = [item[names.FORCE_CONSTANTS_GROUP] for item in crystals if names.FORCE_CONSTANTS_GROUP in item]
    if len(found) != 1 or len(fixed.array(names.T_COLUMN)) != 1:
        return []
    temperature = float(fixed.array(names.T_COLUMN)[0])
    temperatures = np.linspace(0.0, max(1.3 * temperature, 100.0), 41)
    mesh = settings_of(section).get("fourier_interpolation_mesh", 150.0)
    curves = harmonic_thermodynamics(to_force_constants(found[0]), temperatures, mesh)
    values = {
        names.F_VIB_CRYSTAL: curves.free_energies,
        names.S_VIB_CRYSTAL: curves.entropies,
        names.C_V_VIB_CRYSTAL: curves.heat_capacities,
    }
    drawn = []
    for name, (title, label, colour) in AGAINST_T.items():
        if name not in fixed.datasets:
            continue
        stored = float(fixed.array(name)[0])
        plot = Plot(
            (0.0, float(temperatures[-1])),
            padded(float(values[name].min()), float(values[name].max())),
            x_label="T / K",
            y_label=label,
            title=title,
            description=f"{title} from 0 to {number(float(temperatures[-1]))} K; {number(stored)} at "
            f"{number(temperature)} K.",
        )
        plot.line(temperatures, values[name], colour, name="from the force constants")
        plot.points([temperature], [stored], colour, radius=4.5)
        drawn.append(plot.figure(f"Point: the file's value, {number(stored)} at {number(temperature)} K."))
    return drawn


def _free_energy_figure(curves: Group) -> Markup:
    """F(V) of every temperature above its own minimum, each displaced by a step from the one before: on a common
    scale no minimum would be seen."""
    temperatures = curves.array(names.T_COLUMN)
    n = len(temperatures)
    sampled_v = np.broadcast_to(curves.array(names.V_SAMPLED), np.shape(curves.array(names.F_SAMPLED)))
    sampled_f, curve_f = curves.array(names.F_SAMPLED), curves.array(names.F_INTERP)
    curve_v = np.broadcast_to(curves.array(names.V_INTERP), curve_f.shape)
    minima_v, minima_f = curves.array(names.V_MIN), curves.array(names.F_MIN)
    lowest = np.where(np.isfinite(minima_f), minima_f, sampled_f.min(axis=1))
    base = lowest + STEP * float(np.max(sampled_f - sampled_f.min(axis=1, keepdims=True))) * np.arange(n)
    heights: FloatArray = sampled_f - base[:, None]
    plot = Plot(
        padded(float(sampled_v.min()), float(sampled_v.max())),
        padded(float(min(heights.min(), np.nanmin(minima_f - base, initial=0.0))), float(heights.max())),
        x_label="V / Å³/cell",
        y_label="F, displaced / kJ/mol/cell",
        title="Free energy against volume",
        description=f"F(V) at {n} temperatures from {number(float(temperatures[0]))} to "
        f"{number(float(temperatures[-1]))} K; minima at "
        + ", ".join(f"{v:.1f} Å³" for v in minima_v if np.isfinite(v)),
        height=250,
    )
    for row in range(n):
        colour = f"ramp{round(7 * row / max(n - 1, 1))}"
        plot.line(curve_v[row], curve_f[row] - base[row], colour)
        plot.points(sampled_v[row], heights[row], colour, radius=2.2)
    plot.line(minima_v, minima_f - base, "ink", style="thin")
    plot.points(minima_v, minima_f - base, "ink", radius=3.4, name="minimum: V(T)")
    return plot.figure("Each temperature displaced by a step, the coldest lowest (dark) and the hottest highest.")


def _listing(group: Group) -> Markup | None:
    temperatures = group.array(names.T_COLUMN)
    wanted = [
        names.V_CRYSTAL, names.RHO_CRYSTAL, names.V_EOS, names.B_EOS, names.E_EL_CRYSTAL, names.F_VIB_CRYSTAL,
        names.ZPE_CRYSTAL, names.S_VIB_CRYSTAL, names.C_V_VIB_CRYSTAL, names.SUBLIMATION["E_lattice_kJ_per_mol"],
        names.SUBLIMATION["H_sub_kJ_per_mol"], names.SUBLIMATION["G_sub_kJ_per_mol"],
    ]  # fmt: skip
    columns = [name for name in wanted if name in group.datasets]
    rows = [
        [number(float(temperatures[row])), *[number(float(group.array(name)[row])) for name in columns]]
        for row in range(min(len(temperatures), MOST_ROWS))
    ]
    if not rows:
        return None
    if len(rows) <= MOST_COLUMNS:
        turned = [list(row) for row in zip(columns, *[row[1:] for row in rows], strict=True)]
        return table(["", *[f"{row[0]} K" for row in rows]], turned, caption="Thermodynamics")
    return table([names.T_COLUMN, *columns], rows, caption="Thermodynamics")
