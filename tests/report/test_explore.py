"""The viewer of chemiscope on a page: the clusters of the dataset, offline, and a refusal without the package."""

from __future__ import annotations

import json
import re

import pytest
from browser_logs import errors, requests
from report_datasets import carbon_dioxide_dataset, md_section

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.report import write_report
from aiida_mbetrain.report.sections import explore


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    """A page with the viewer."""
    pytest.importorskip("chemiscope")
    dataset = carbon_dioxide_dataset(n_frames=12)
    return write_report(dataset, tmp_path_factory.mktemp("explore") / "report.html", explore=True)


def viewer_input(page):
    found = re.search(r'<script type="application/json" id="explore-data">(.*?)</script>', page.read_text("utf-8"))
    assert found is not None
    return json.loads(found[1])


def test_viewer_has_every_cluster_with_its_values(explorer):
    given = viewer_input(explorer)
    sets = carbon_dioxide_dataset(n_frames=12).cluster_sets.values()
    sizes = [len(one.cluster.molecule_indices) for one in sets for _ in range(one.configurations.n_frames)]
    n_frames = len(sizes)
    assert len(given["structures"]) == n_frames > 0
    assert sorted(given["properties"]["molecules"]["values"]) == sorted(sizes)
    assert all(len(one["values"]) == n_frames for one in given["properties"].values())
    assert set(given["properties"]["source"]["values"]) == {"dynamics", "phonons"}


def test_large_datasets_give_a_stated_part(tmp_path, monkeypatch):
    pytest.importorskip("chemiscope")
    monkeypatch.setattr(explore, "MOST_EXPLORED", 5)
    page = write_report(Dataset((md_section(40),)), tmp_path / "r.html", explore=True, seed=3)
    n = len(viewer_input(page)["structures"])
    assert 0 < n <= 5
    assert re.search(
        rf"{n} of \d+ clusters in the viewer of chemiscope, chosen by chance with seed 3", page.read_text()
    )


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(explore, "find_spec", lambda name: None)
    with pytest.raises(InvalidSettings, match="pip install chemiscope"):
        write_report(Dataset(), tmp_path / "r.html", explore=True)
    assert not (tmp_path / "r.html").exists()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 400])
def test_viewer_draws_map_and_molecule_offline(visit, explorer, width):
    browser = visit(explorer, width)
    from selenium.webdriver.support.ui import WebDriverWait

    said = "return document.querySelector('#explore-map > div')?.shadowRoot?.querySelector('.infolayer')?.textContent"
    text = WebDriverWait(browser, 60).until(lambda one: one.execute_script(said))
    assert all(word in text for word in ("component 1", "component 2", "energy per atom / meV", "dynamics", "phonons"))
    assert errors(browser) == []
    assert requests(browser) == {explorer.as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    points = "return document.querySelector('#explore-map > div').shadowRoot.querySelector('.js-plotly-plot')"
    assert browser.execute_script(f"{points}.data[0].x.length") == len(viewer_input(explorer)["structures"])
