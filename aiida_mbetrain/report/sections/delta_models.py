"""Delta models: errors on held-out frames by group, parity, closest contact, learning curve."""

from __future__ import annotations

from math import ceil, floor, log10

import numpy as np

from aiida_mbetrain.report.delta_models import DeltaModel, Judgement
from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.svg import Plot, figures, number, padded
from aiida_mbetrain.report.tables import facts, table
from aiida_mbetrain.science.configurations import BoolArray, FloatArray, IntArray
from aiida_mbetrain.science.tables import Table

MOST_POINTS = 1500
"""Points of a figure and model; of more, some are drawn by chance."""
COLOURS = {"baseline": "muted", "constant": "muted", "ridge": "orange", "delta": "blue"}
ENERGY, INTERACTION, FORCE = "energy_rmse_meV_per_molecule", "interaction_rmse_kJ_per_mol", "force_rmse_meV_per_A"
COLUMNS = {
    "energy": (ENERGY, ("constant", "ridge", "delta")),
    "interaction": (INTERACTION, ("baseline", "ridge", "delta")),
    "force": (FORCE, ("baseline", "delta")),
}
"""Quantity -> column of the errors, and the models that are told apart by it."""
UNITS = {"energy": "meV per molecule", "interaction": "kJ/mol", "force": "meV/Å"}


def delta_models_section(source: Source) -> Section | None:
    """Delta models that were trained on clusters of the run; None without one."""
    models = () if source.run is None else source.run.delta_models
    if not models:
        return None
    lead = (
        "A delta model learns reference minus baseline. Errors are root mean squares over frames that it was not "
        "trained on, beside those of the baseline, of baseline plus constant, and of a ridge regression on the "
        "features; the frames are finite clusters, which have no stress."
    )
    return Section("delta", "Delta models", join(*[_model(model, source.seed) for model in models]), lead=lead)


def _model(model: DeltaModel, seed: int) -> Markup:
    title = f"{model.level_of_theory}, {model.name}"
    rows = {
        "reference": model.level_of_theory,
        "baseline": model.baseline,
        "sha256": model.sha256,
        "frames": ", ".join(f"{count:,} {name}" for name, count in model.n_frames.items()),
        "epochs": model.n_epochs,
    }
    heading, card = element("h3", title), facts("Training", rows)
    if model.judgement is None:
        advice = element("p", "It was not judged yet: ", element("code", model.command), class_="note-line")
        return element("div", heading, card, advice)
    return element("div", heading, card, _errors(model.judgement, title), _drawn(model.judgement, title, seed))


def _errors(found: Judgement, title: str) -> Markup:
    """Errors by group of frames; groups that are all frames again are left out."""
    groups = _groups(found.errors)
    known = [name for name, (column, _) in COLUMNS.items() if np.isfinite(found.errors[column]).any()]
    columns = [f"{name}, {model}" for name in known for model in COLUMNS[name][1]]
    rows = [
        [
            _readable(group),
            f"{n_frames:,}",
            *[
                _text(_error(found.errors, model, group, COLUMNS[name][0]))
                for name in known
                for model in COLUMNS[name][1]
            ],
        ]
        for group, n_frames in groups.items()
    ]
    unit = element("p", "Errors of " + ", ".join(f"{name} in {UNITS[name]}" for name in known) + ".", class_="hint")
    listing = table([f"{found.subset} set", "frames", *columns], rows, caption=f"Errors of {title} by group of frames")
    return join(listing, unit)


def _groups(errors: Table) -> dict[str, int]:
    """Groups of frames with their sizes, without sections of the file and those that are all frames again."""
    sizes = {str(group): int(n) for group, n in zip(errors["group"], errors["n_frames"], strict=True)}
    shown = {group: n for group, n in sizes.items() if not group.startswith("section=")}
    return {group: n for group, n in shown.items() if group == "all" or n < sizes["all"]}


def _error(errors: Table, model: str, group: str, column: str) -> float:
    """One error; NaN where there is none."""
    rows = np.flatnonzero((errors["model"] == model) & (errors["group"] == group))
    return float(errors[column][rows[0]]) if len(rows) else float("nan")


def _text(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else ""


def _readable(group: str) -> str:
    """``2 molecules`` instead of ``size=2``."""
    name, _, value = group.partition("=")
    forms = {
        "all": "all",
        "size": f"{value} molecule{'' if value == '1' else 's'}",
        "source": {"md": "dynamics"}.get(value, value),
        "temperature": f"{value} K",
        "contact": f"contact {value} Å".replace(">=", "≥ ").replace("<", "< ").replace("-", "–"),
    }
    return forms.get(name, value)


def _drawn(found: Judgement, title: str, seed: int) -> Markup:
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
    models = [name for name in COLUMNS["energy"][1] if f"{name}_eV" in found.predictions.columns]
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
        {name: found.forces[f"{name}_eV_per_A"] for name in COLUMNS["force"][1]},
        seed,
        title="Force parity",
        labels=("reference / eV/Å", "model / eV/Å"),
        description=f"Components of the forces of {title} against the reference. " + _said(found, "force"),
        what="components",
    )


def _said(found: Judgement, name: str) -> str:
    """Errors of all frames in words."""
    column, models = COLUMNS[name]
    known = {model: _error(found.errors, model, "all", column) for model in models}
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
        plot.points(reference[rows], values[rows], COLOURS[name], radius=2.0, name=name)
    return plot.figure(caption)


def _chosen(count: int, seed: int, what: str) -> tuple[IntArray, str | None]:
    """Rows that are drawn, and a note where they are not all."""
    if count <= MOST_POINTS:
        return np.arange(count), None
    rows = np.sort(np.random.default_rng(seed).choice(count, MOST_POINTS, replace=False))
    return rows, f"{MOST_POINTS:,} of {count:,} {what}, chosen by chance with seed {seed}."


def _energy_contacts(found: Judgement, title: str, seed: int) -> Markup | None:
    """Errors of energies against closest contacts."""
    reference = _per_molecule(found.predictions, "reference")
    models = [name for name in COLUMNS["energy"][1] if f"{name}_eV" in found.predictions.columns]
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
    for name in COLUMNS["force"][1]:
        wrong = 1000.0 * (found.forces[f"{name}_eV_per_A"] - found.forces["reference_eV_per_A"])
        errors[name] = np.sqrt(np.bincount(frames, weights=wrong**2, minlength=n_frames) / counts)
    return _contacts(found, errors, "force", title, seed)


def _contacts(found: Judgement, errors: dict[str, FloatArray], name: str, title: str, seed: int) -> Markup | None:
    """Errors against the shortest distance between two molecules; None without clusters of two."""
    contacts = found.predictions["closest_contact_A"]
    between = np.flatnonzero(np.isfinite(contacts) & np.isfinite(errors["delta"]))
    if len(between) == 0:
        return None
    rows, caption = _chosen(len(between), seed, "frames")
    values = np.concatenate([error[between] for error in errors.values()])
    said = {
        _readable(group): _error(found.errors, "delta", group, COLUMNS[name][0])
        for group in _groups(found.errors)
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
    for model, error in errors.items():
        plot.points(contacts[between[rows]], error[between[rows]], COLOURS[model], radius=2.0, name=model)
    return plot.figure(caption)


def _by_group(found: Judgement, title: str, name: str) -> Markup | None:
    """Errors of each group of frames on a line of its own; None where nothing is known."""
    column, models = COLUMNS[name]
    groups = list(_groups(found.errors))
    values = {model: np.array([_error(found.errors, model, group, column) for group in groups]) for model in models}
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
            f"{_readable(group)}, "
            + ", ".join(f"{model} {_text(float(errors[row]))}" for model, errors in values.items())
            for row, group in enumerate(groups)
        ),
        height=90 + 30 * len(groups),
        y_ticks=[],
    )
    lines = len(groups) - 0.72 - np.arange(len(groups))
    for line, group in zip(lines, groups, strict=True):
        plot.rule_y(line, "muted", style="faint")
        plot.text(0.008 * largest, line + 0.22, _readable(group))
    for model, errors in values.items():
        plot.points(errors, lines, COLOURS[model], radius=4.0, name=model)
    return plot.figure()


def _learning_curve(found: Judgement, title: str, name: str) -> Markup | None:
    """Errors against the number of training frames, both logarithmic; None where no model has two numbers."""
    column, models = COLUMNS[name]
    curve = found.learning_curve
    lines = {
        model: chosen for model in models if model != "baseline" and (chosen := _known(curve, model, column)).any()
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
