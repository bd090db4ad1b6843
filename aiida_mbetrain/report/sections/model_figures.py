"""Figures of a trained model: parity, errors by closest contact and by group of frames, learning curves."""

from __future__ import annotations

from math import ceil, floor, log10

import numpy as np

from aiida_mbetrain.report.html import Markup
from aiida_mbetrain.report.svg import Plot, figures, number, padded
from aiida_mbetrain.report.trained_models import COLUMNS, OWN, UNITS, Judgement, readable
from aiida_mbetrain.science.configurations import BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.tables import Table

MOST_POINTS = 1500
"""Points of a figure and model; of more, some are drawn by chance."""
COLOURS = {"baseline": "muted", "constant": "muted", "ridge": "orange"} | dict.fromkeys(OWN, "blue")


def error_text(value: float) -> str:
    """Four digits; nothing for NaN."""
    return f"{value:.4g}" if np.isfinite(value) else ""


def model_figures(found: Judgement, title: str, seed: int) -> Markup:
    """Parity, errors by closest contact and by group, learning curves; of forces where the reference has some."""
    drawn = [
        _energies(found, title, seed),
        _forces(found, title, seed),
        _energy_contacts(found, title, seed),
        _force_contacts(found, title, seed),
        *[_by_group(found, title, name) for name in ("energy", "force")],
        *[_learning_curve(found, title, name) for name in ("energy", "force")],
    ]
    return figures(*[figure for figure in drawn if figure is not None])


def _energies(found: Judgement, title: str, seed: int) -> Markup:
    """Energies per molecule without the mean of each size, model against reference."""
    sizes, reference = found.predictions["n_molecules"], _per_molecule(found.predictions, "reference")
    middle = np.zeros(len(reference))
    for size in np.unique(sizes):
        middle[sizes == size] = reference[sizes == size].mean()
    models = found.models("energy")
    values = {name: _per_molecule(found.predictions, name) - middle for name in models}
    return _parity(
        reference - middle,
        values,
        seed,
        title="Energy parity",
        labels=("reference / meV per molecule", "model / meV per molecule"),
        description=f"Energies per molecule of {title}, less the mean of each size, against the reference. "
        + _said(found, "energy"),
        what="frames",
    )


def _per_molecule(predictions: Table, name: str) -> FloatArray:
    """Energies, (F,), meV per molecule."""
    values: FloatArray = 1000.0 * predictions[f"{name}_eV"] / predictions["n_molecules"]
    return values


def _forces(found: Judgement, title: str, seed: int) -> Markup | None:
    """Components of forces, model against reference; None where the reference has none."""
    if len(found.forces["frame"]) == 0:
        return None
    return _parity(
        found.forces["reference_eV_per_A"],
        {name: found.forces[f"{name}_eV_per_A"] for name in found.models("force")},
        seed,
        title="Force parity",
        labels=("reference / eV/Å", "model / eV/Å"),
        description=f"Components of the forces of {title} against the reference. " + _said(found, "force"),
        what="components",
    )


def _said(found: Judgement, name: str) -> str:
    """Errors of all frames in words."""
    known = {model: found.error(name, model) for model in found.models(name)}
    said = ", ".join(f"{model} {value:.4g} {UNITS[name]}" for model, value in known.items() if np.isfinite(value))
    return f"Root mean square errors: {said}."


def _parity(
    reference: FloatArray,
    models: dict[str, FloatArray],
    seed: int,
    *,
    title: str,
    labels: tuple[str, str],
    description: str,
    what: str,
) -> Markup:
    rows, caption = _chosen(len(reference), seed, what)
    everything = np.concatenate([reference, *models.values()])
    ends = padded(float(everything.min()), float(everything.max()))
    plot = Plot(ends, ends, x_label=labels[0], y_label=labels[1], title=title, description=description, height=320)
    plot.line(ends, ends, "ink", style="thin")
    for name, values in models.items():
        plot.points(reference[rows], values[rows], COLOURS[name], radius=_radius(len(rows)), name=name)
    return plot.figure(caption)


def _radius(count: int) -> float:
    """Smaller points where there are many."""
    return 3.0 if count < 200 else 2.0


def _chosen(count: int, seed: int, what: str) -> tuple[IntArray, str | None]:
    """Rows that are drawn, and a note where they are not all."""
    if count <= MOST_POINTS:
        return np.arange(count), None
    rows = np.sort(np.random.default_rng(seed).choice(count, MOST_POINTS, replace=False))
    return rows, f"{MOST_POINTS:,} of {count:,} {what}, chosen by chance with seed {seed}."


def _energy_contacts(found: Judgement, title: str, seed: int) -> Markup | None:
    """Errors of energies against closest contacts."""
    reference = _per_molecule(found.predictions, "reference")
    models = found.models("energy")
    errors = {name: _per_molecule(found.predictions, name) - reference for name in models}
    return _contacts(found, errors, "energy", title, seed)


def _force_contacts(found: Judgement, title: str, seed: int) -> Markup | None:
    """Root mean square errors of the forces of a frame against closest contacts; None without forces."""
    frames, n_frames = found.forces["frame"], len(found.predictions["uid"])
    if len(frames) == 0:
        return None
    counts = np.bincount(frames, minlength=n_frames).astype(np.float64)
    counts[counts == 0] = np.nan
    errors = {}
    for name in found.models("force"):
        wrong = 1000.0 * (found.forces[f"{name}_eV_per_A"] - found.forces["reference_eV_per_A"])
        errors[name] = np.sqrt(np.bincount(frames, weights=wrong**2, minlength=n_frames) / counts)
    return _contacts(found, errors, "force", title, seed)


def _contacts(found: Judgement, errors: dict[str, FloatArray], name: str, title: str, seed: int) -> Markup | None:
    """Errors against the shortest distance between two molecules; None without clusters of two."""
    contacts = found.predictions["closest_contact_A"]
    between = np.flatnonzero(np.isfinite(contacts) & np.isfinite(errors[found.trained]))
    if len(between) == 0:
        return None
    rows, caption = _chosen(len(between), seed, "frames")
    values = np.concatenate([error[between] for error in errors.values()])
    said = {
        readable(group): found.error(name, found.trained, group)
        for group in found.groups
        if group.startswith("contact=")
    }
    plot = Plot(
        padded(float(contacts[between].min()), float(contacts[between].max())),
        padded(min(0.0, float(values.min())), max(0.0, float(values.max()))),
        x_label="closest contact / Å",
        y_label=f"{name} error / {UNITS[name]}",
        title=f"{name.capitalize()} errors by closest contact",
        description=f"Errors of {title} against the shortest distance between atoms of two molecules. "
        + "; ".join(f"{group}: {value:.4g} {UNITS[name]}" for group, value in said.items()),
        height=320,
    )
    plot.rule_y(0.0, "ink", style="thin")
    radius = _radius(len(rows))
    for model, error in errors.items():
        plot.points(contacts[between[rows]], error[between[rows]], COLOURS[model], radius=radius, name=model)
    return plot.figure(caption)


def _by_group(found: Judgement, title: str, name: str) -> Markup | None:
    """Errors of each group of frames on a line of its own; None where nothing is known."""
    groups = list(found.groups)
    values = {model: np.array([found.error(name, model, group) for group in groups]) for model in found.models(name)}
    values = {model: errors for model, errors in values.items() if np.isfinite(errors).any()}
    if not values:
        return None
    largest = max(float(np.nanmax(errors)) for errors in values.values())
    plot = Plot(
        (0.0, 1.06 * max(largest, 1e-9)),
        (0.0, float(len(groups))),
        x_label=f"{name} error / {UNITS[name]}",
        y_label="frames",
        title=f"{name.capitalize()} errors by group",
        description=f"Errors of {title} by group of frames: "
        + "; ".join(
            f"{readable(group)}, "
            + ", ".join(f"{model} {error_text(float(errors[row]))}" for model, errors in values.items())
            for row, group in enumerate(groups)
        ),
        height=90 + 30 * len(groups),
        y_ticks=[],
    )
    lines = len(groups) - 0.72 - np.arange(len(groups))
    for line, group in zip(lines, groups, strict=True):
        plot.rule_y(line, "muted", style="faint")
        plot.text(0.008 * largest, line + 0.22, readable(group))
    for model, errors in values.items():
        plot.points(errors, lines, COLOURS[model], radius=4.0, name=model)
    return plot.figure()


def _learning_curve(found: Judgement, title: str, name: str) -> Markup | None:
    """Errors against the number of training frames, both logarithmic; None where no model has two numbers."""
    column, curve = COLUMNS[name][0], found.learning_curve
    lines = {
        model: chosen
        for model in found.models(name)
        if model != "baseline" and (chosen := _known(curve, model, column)).any()
    }
    if not any(np.count_nonzero(chosen) > 1 for chosen in lines.values()):
        return None
    x, y = np.log10(curve["n_frames"].astype(np.float64)), np.log10(np.maximum(curve[column], 1e-12))
    drawn = np.logical_or.reduce(list(lines.values()))
    ranges = [(float(values[drawn].min()) - 0.15, float(values[drawn].max()) + 0.15) for values in (x, y)]
    plot = Plot(
        *ranges,
        x_label="training frames",
        y_label=f"{name} error / {UNITS[name]}",
        title=f"Learning curve, {name}",
        description=f"Errors of {title} against the number of training frames: "
        + "; ".join(
            f"{model}, "
            + ", ".join(f"{curve[column][row]:.4g} of {curve['n_frames'][row]}" for row in np.flatnonzero(chosen))
            for model, chosen in lines.items()
        ),
        height=320,
        x_ticks=_ticks(*ranges[0]),
        y_ticks=_ticks(*ranges[1]),
    )
    for model, chosen in lines.items():
        plot.line(x[chosen], y[chosen], COLOURS[model])
        plot.points(x[chosen], y[chosen], COLOURS[model], name=model)
    return plot.figure()


def _known(curve: Table, model: str, column: str) -> BoolArray:
    known: BoolArray = (curve["model"] == model) & np.isfinite(curve[column])
    return known


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks at 1, 2 and 5 times powers of ten, or at powers alone over many decades, at logarithms to base ten."""
    factors = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
    found = [log10(factor) + power for power in range(floor(low), ceil(high) + 1) for factor in factors]
    return [(at, number(10**at)) for at in found if low <= at <= high]
