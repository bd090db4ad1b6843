"""Delta models on a page: numbers of the tables, points of the figures, models that were not judged."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged_models import judged_model
from report_datasets import md_section

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.report import Call, RunFacts, write_model_report, write_report
from aiida_mbetrain.report.sections import model_figures

CALL = Call("ModelTrainingWorkChain", 12, "finished", False, 3.0)


@pytest.fixture(scope="module")
def model():
    return judged_model()


def page_of(model, path: Path) -> str:
    return write_model_report([model], RunFacts(CALL), path / "model.html").read_text("utf-8")


def figure(text: str, title: str) -> str:
    (found,) = [part for part in re.findall(r"<figure>.*?</figure>", text, re.DOTALL) if f"<h4>{title}</h4>" in part]
    return found


def row(text: str, name: str) -> list[str]:
    found = re.search(rf'<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', text)
    assert found is not None, name
    return re.findall(r"<td>(.*?)</td>", found[1])


def test_table_holds_the_errors_of_every_group(model, tmp_path):
    text, errors = page_of(model, tmp_path), model.judgement.errors

    def expected(name, group, column):
        (index,) = np.flatnonzero((errors["model"] == name) & (errors["group"] == group))
        return f"{errors[column][index]:.4g}"

    names = {"all": "all", "size=1": "1 molecule", "size=2": "2 molecules", "crystal=co2_I": "co2_I",
             "temperature=200": "200 K"}  # fmt: skip
    for group, name in names.items():
        count, *values = row(text, name)
        assert int(count) == np.max(errors["n_frames"][errors["group"] == group])
        energies = [expected(one, group, "energy_rmse_meV_per_molecule") for one in ("constant", "ridge", "delta")]
        assert values == [*energies, *[expected(one, group, "force_rmse_meV_per_A") for one in ("baseline", "delta")]]
    assert "contact " in text
    assert "source=" not in text
    assert "dynamics" not in re.sub(r"<desc>.*?</desc>", "", text), "a group of all frames again"


def test_every_figure_shows_what_its_name_says(model, tmp_path):
    text, found = page_of(model, tmp_path), model.judgement
    assert figure(text, "Energy parity").count("<circle") == 3 * len(found.predictions["uid"])
    assert figure(text, "Force parity").count("<circle") == 2 * len(found.forces["frame"])
    pairs = np.count_nonzero(found.predictions["n_molecules"] == 2)
    assert figure(text, "Energy errors by closest contact").count("<circle") == 3 * pairs
    assert figure(text, "Force errors by closest contact").count("<circle") == 2 * pairs
    ridge = np.count_nonzero(found.learning_curve["model"] == "ridge")
    assert ridge >= 4
    assert figure(text, "Learning curve, energy").count("<circle") == 2 * ridge + 2
    assert figure(text, "Learning curve, force").count("<circle") == 2
    groups = figure(text, "Force errors by group")
    assert "co2_III_of_a_long_name" in groups
    assert re.search(r"Errors of .* by group of frames: all, baseline [\d.]+, delta [\d.]+", groups)


def test_many_points_are_a_stated_seeded_subset(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model_figures, "MOST_POINTS", 7)
    first, second = (page_of(model, tmp_path) for _ in range(2))
    assert first == second
    forces = figure(first, "Force parity")
    total = len(model.judgement.forces["frame"])
    assert f"7 of {total:,} components, chosen by chance with seed 42." in forces
    assert forces.count("<circle") == 2 * 7
    other = write_model_report([model], RunFacts(CALL), tmp_path / "other.html", seed=1).read_text("utf-8")
    assert "chosen by chance with seed 1." in other
    assert figure(other, "Force parity") != forces


def test_model_without_forces_of_the_reference_has_no_figure_of_them(tmp_path):
    text = page_of(judged_model(energy_only=True), tmp_path)
    assert "<h4>Energy parity</h4>" in text
    assert "<h4>Force parity</h4>" not in text
    assert "force, baseline" not in text


def test_page_of_the_run_shows_its_models(model, tmp_path):
    unjudged = replace(model, name="ModelTrainingWorkChain<77>", command="aiida-mbetrain evaluate 77", judgement=None)
    run, path = RunFacts(Call("TrainingSetWorkChain", 7, "finished", False)), tmp_path / "r.html"
    page = write_report(Dataset((md_section(8),)), path, run=run, trained_models=(model, unjudged))
    text = page.read_text("utf-8")
    identifiers = re.findall(r'<section id="(\w+)"', text)
    assert identifiers.index("models") == identifiers.index("provenance") - 1
    assert "<code>aiida-mbetrain evaluate 77</code>" in text
    assert text.count("<h4>Energy parity</h4>") == 1


def test_page_of_a_run_without_models_has_no_such_section(tmp_path):
    run = RunFacts(Call("TrainingSetWorkChain", 7, "finished", False))
    assert 'id="delta"' not in write_report(Dataset(), tmp_path / "r.html", run=run).read_text("utf-8")
