"""Trained models: training, errors on held-out frames by group, and figures."""

from __future__ import annotations

from aiida_mbetrain.report.html import Markup, element, join
from aiida_mbetrain.report.page import Section
from aiida_mbetrain.report.sections.model_figures import error_text, model_figures
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.tables import facts, table
from aiida_mbetrain.report.trained_models import UNITS, Judgement, TrainedModel, readable


def trained_models_section(source: Source) -> Section | None:
    """Models that were trained on clusters of the source; None without one."""
    if not source.trained_models:
        return None
    lead = (
        "A delta model learns reference minus baseline, a fine-tuned or multihead one the reference itself. "
        "Errors are root mean squares over frames that it was not "
        "trained on, beside those of the baseline, of baseline plus constant, and of a ridge regression on the "
        "features; the frames are finite clusters, which have no stress."
    )
    body = join(*[_model(model, source.seed) for model in source.trained_models])
    return Section("models", "Trained models", body, lead=lead)


def _model(model: TrainedModel, seed: int) -> Markup:
    title = f"{model.level_of_theory}, {model.name}"
    rows = {
        "kind": model.kind,
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
    return element("div", heading, card, _errors(model.judgement, title), model_figures(model.judgement, title, seed))


def _errors(found: Judgement, title: str) -> Markup:
    """Errors by group of frames."""
    known = [(name, model) for name in found.quantities for model in found.models(name)]
    rows = [
        [readable(group), f"{n_frames:,}", *[error_text(found.error(name, model, group)) for name, model in known]]
        for group, n_frames in found.groups.items()
    ]
    columns = [f"{found.subset} set", "frames", *[f"{name}, {model}" for name, model in known]]
    said = ", ".join(f"{name} in {UNITS[name]}" for name in found.quantities)
    listing = table(columns, rows, caption=f"Errors of {title} by group of frames")
    return join(listing, element("p", f"Errors of {said}.", class_="hint"))
