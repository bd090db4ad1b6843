"""Phonons: bands with the sampled window, density of states, sampled modes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout import to_band_structure, to_force_constants
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source, StatedSettings, settings_of
from aiida_mbetrain.report.svg import Plot, figures, number
from aiida_mbetrain.report.tables import table
from aiida_mbetrain.science.phonons import SMEARING_THZ, BandStructure, ForceConstants, density_of_states

ROUNDING = 0.01
"""Translations at Γ are zero to this many THz."""
ZOOM_FROM, ZOOM_TO = 2.5, 1.4
"""Bands that reach above 2.5 times the window have a figure of their own that ends at 1.4 times the window."""
MOST_ROWS = 40
"""Sampled modes in the table."""

Window = tuple[float, float | None]


def phonons_section(source: Source) -> Section | None:
    """Bands and densities of states of every crystal, and the sampled modes; None without any."""
    windows = _windows(source)
    parts: list[Markup] = []
    for path, section in source.sections("quasi_harmonic"):
        for label, item in section.groups.get(names.PHONONS, Group()).groups.items():
            place = f"{path}/{names.PHONONS}/{label}/{names.FORCE_CONSTANTS_GROUP}"
            parts += _crystal(label, item, windows.get(place), settings_of(section))
    for path, section in source.sections("phonon_sampling"):
        parts.append(_sampled(path, section))
    if not parts:
        return None
    return Section("phonons", "Phonons", join(*parts))


def _windows(source: Source) -> dict[str, Window]:
    """Sampled frequency windows by path of the force constants."""
    found: dict[str, Window] = {}
    for _, section in source.sections("phonon_sampling"):
        key = section.attributes.get(names.FORCE_CONSTANTS_KEY)
        chosen: StatedSettings = settings_of(section).get("phonon_filter", {})
        if key is not None and chosen and chosen.get("selected_modes") is None:
            found[str(key)] = (float(chosen["freq_min_THz"]), chosen["freq_max_THz"])
    return found


def _crystal(label: str, item: Group, window: Window | None, settings: StatedSettings) -> list[Markup]:
    drawn: list[Markup | None] = []
    if names.BRILLOUIN_ZONE_PATH in item:
        drawn += _band_figures(to_band_structure(item[names.BRILLOUIN_ZONE_PATH]), window)
    rows: list[list[object]] = []
    if names.FORCE_CONSTANTS_GROUP in item:
        constants = to_force_constants(item[names.FORCE_CONSTANTS_GROUP])
        mesh = settings.get("fourier_interpolation_mesh", 150.0)
        drawn.append(_density_figure(constants, mesh))
        rows = [
            ["space group", constants.space_group],
            ["supercell", f"{constants.supercell.n_atoms} atoms, {constants.n_displacements} displacements"],
            ["point group", f"{constants.kept_operations.sum()} of {len(constants.kept_operations)} operations kept"],
            ["lowest optical frequency at Γ", f"{constants.min_frequency_gamma_THz:.3f} THz"],
            ["violation of the acoustic sum rule", f"{constants.acoustic_sum_rule_violation:.1e} eV/Å²"],
            ["asymmetry", f"{constants.permutation_asymmetry:.1e} eV/Å²"],
        ]
    facts = table(["force constants", ""], rows, caption=f"Force constants of {label}") if rows else None
    return [element("div", element("h3", label), figures(*drawn), facts)]


def _band_figures(bands: BandStructure, window: Window | None) -> list[Markup]:
    low = min(float(part.min()) for part in bands.frequencies_THz)
    top = 1.04 * max(float(part.max()) for part in bands.frequencies_THz)
    bottom = -max(-1.3 * low, 0.08 * top) if low < -ROUNDING else 0.0
    shown = None if window is None else (window[0], top if window[1] is None else float(window[1]))
    if shown is None or top < ZOOM_FROM * shown[1]:
        return [_band_figure(bands, (bottom, top), shown, "Phonon bands")]
    near = (-max(-1.3 * low, 0.08 * shown[1]) if low < -ROUNDING else 0.0, ZOOM_TO * shown[1])
    return [
        _band_figure(bands, near, shown, "Phonon bands, sampled window"),
        _band_figure(bands, (bottom, top), shown, "Phonon bands, all"),
    ]


def _band_figure(
    bands: BandStructure, limits: tuple[float, float], window: tuple[float, float] | None, title: str
) -> Markup:
    ticks = path_ticks(bands)
    lowest = min(float(part.min()) for part in bands.frequencies_THz)
    plot = Plot(
        (ticks[0][0], ticks[-1][0]),
        limits,
        x_label="wave vector",
        y_label="frequency / THz",
        title=title,
        description=f"{bands.frequencies_THz[0].shape[1]} bands along {' '.join(name for _, name in ticks)}, lowest "
        f"frequency {number(lowest)} THz."
        + ("" if window is None else f" Modes from {window[0]:g} to {window[1]:.4g} THz are sampled."),
        x_ticks=ticks,
        height=330,
        grid=False,
    )
    if limits[0] < 0:
        plot.span_y(limits[0], 0.0, "red", "imaginary")
    if window is not None:
        plot.span_y(*window, "green", "sampled")
    for at, _ in ticks[1:-1]:
        plot.rule_x(at, "muted")
    plot.rule_y(0.0, "muted", style="thin")
    for distances, frequencies in zip(bands.distances, bands.frequencies_THz, strict=True):
        for band in frequencies.T:
            if limits[0] <= band.max() and band.min() <= limits[1]:
                plot.line(distances, band, "blue", style="thin")
                if band.min() < -ROUNDING:
                    plot.line(distances, np.where(band < 0, band, np.nan), "red")
    return plot.figure()


def path_ticks(bands: BandStructure) -> list[tuple[float, str]]:
    """Positions and names of the special points; where the path jumps, both names: ``X|Y``."""
    labels = iter(bands.labels)
    ticks: list[tuple[float, str]] = []
    connected = False
    for distances, connects in zip(bands.distances, bands.path_connections, strict=True):
        if not connected:
            first = plain_label(next(labels))
            if ticks:
                ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]}|{first}")
            else:
                ticks.append((float(distances[0]), first))
        ticks.append((float(distances[-1]), plain_label(next(labels))))
        connected = bool(connects)
    return ticks


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def plain_label(label: str) -> str:
    """Name of a special point without TeX: Γ, X₁."""
    name = label.replace("$", "").replace("\\mathrm", "").replace("{", "").replace("}", "")
    for greek, letter in (("\\Gamma", "Γ"), ("GAMMA", "Γ"), ("\\Sigma", "Σ"), ("\\Delta", "Δ"), ("\\Lambda", "Λ")):
        name = name.replace(greek, letter)
    stem, _, subscript = name.partition("_")
    return stem + subscript.translate(SUBSCRIPTS)


def _density_figure(constants: ForceConstants, mesh: float | Sequence[int] | str) -> Markup | None:
    found = density_of_states(constants, mesh, n_points=901, smearing_THz=SMEARING_THZ)
    if not found.densities.any():
        return None
    low = found.lowest_THz
    high, peak = float(found.frequencies_THz.max()), float(found.densities.max())
    plot = Plot(
        (1.1 * low, high),
        (0.0, 1.05 * peak),
        x_label="frequency / THz",
        y_label="states / (THz cell)",
        title="Density of states",
        description=f"Phonon density of states from {number(low)} to {number(high)} THz.",
        height=330,
    )
    if low < 0:
        plot.span_x(1.1 * low, 0.0, "red", "imaginary")
    plot.area(found.frequencies_THz, 0.0, found.densities, "blue")
    plot.line(found.frequencies_THz, found.densities, "blue", style="thin")
    return plot.figure(f"On the mesh of the thermodynamics, smeared by {SMEARING_THZ:g} THz.")


def _sampled(path: str, section: Group) -> Markup:
    modes, facts = section[names.MODES], section.attributes
    frequencies, sigmas = modes.array(names.FREQUENCY), modes.array(names.SIGMA)
    q_points, indices = modes.array(names.Q_POINTS), modes.array(names.MODE_INDICES)
    amplitudes = modes.array(names.AMPLITUDES)
    rows = [
        [
            str(indices[i]),
            "(" + ", ".join(f"{x:.3g}" for x in q_points[i]) + ")",
            f"{frequencies[i]:.3f}",
            f"{sigmas[i]:.4f}",
            f"{amplitudes[:, i].min():.2f} … {amplitudes[:, i].max():.2f}" if len(amplitudes) else "",
        ]
        for i in range(min(len(frequencies), MOST_ROWS))
    ]
    more = len(frequencies) - len(rows)
    summary = (
        f"{len(frequencies)} modes at {facts[names.TEMPERATURE]:g} K, {facts[names.STATISTICS]} amplitudes, "
        f"{'all modes at once' if modes.attributes[names.SUPERPOSED] else 'one mode at a time'}."
    )
    columns = ["mode", "q-point", "frequency / THz", "σ / Å√u", "amplitudes / σ"]
    listing = table(columns, rows, caption="Sampled modes")
    rest = element("p", f"… and {more} more in the file.") if more > 0 else None
    return element("div", element("h3", path), element("p", summary), listing, rest)
