"""Pages as text: sections, sizes, escaping, the same bytes for the same data, refusals."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from ase import units
from report_datasets import carbon_dioxide_dataset, expansion_section, md_section, phonon_section

from aiida_mbetrain.datasets.hdf5 import origin_of, write_dataset
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import ClusterReference, Dataset
from aiida_mbetrain.errors import UnreadableFile, UnwritableOutput
from aiida_mbetrain.report import Call, RunFacts, write_report
from aiida_mbetrain.report.embedding import choose, even_share, packed, quantised
from aiida_mbetrain.report.html import element, embedded_json, formula
from aiida_mbetrain.report.projection import principal_components
from aiida_mbetrain.report.sections.distances import pair_distances
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.report.svg import Plot, nice_ticks

ALL = ["verdicts", "overview", "dynamics", "phonons", "thermodynamics", "map", "distances", "provenance"]


class Outline(HTMLParser):
    """Sections, unclosed elements and figures without a text alternative."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.identifiers: list[str] = []
        self.open: list[str] = []
        self.silent: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "section":
            self.sections.append(str(given["id"]))
        if "id" in given:
            self.identifiers.append(str(given["id"]))
        if tag == "svg" and "svg" not in self.open and not given.get("aria-label"):
            self.silent.append(tag)
        if tag not in ("meta", "input", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def map_data(text: str) -> dict:
    found = re.search(r'<script type="application/json" id="map-data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_page_has_every_section_closed_elements_and_text_alternatives(carbon_dioxide_page):
    outline = Outline(carbon_dioxide_page.read_text("utf-8"))
    assert outline.sections == ALL
    assert outline.open == []
    assert outline.silent == []
    assert len(set(outline.identifiers)) == len(outline.identifiers)


def test_page_loads_nothing_from_elsewhere(carbon_dioxide_page):
    text = carbon_dioxide_page.read_text("utf-8")
    assert not re.search(r"<(?:script|img|iframe|link)[^>]+(?:src|href)=", text)
    assert "default-src 'none'" in html.unescape(text)
    assert not re.search(r"@import|url\(", text.partition("</style>")[0])


def test_file_and_dataset_give_the_same_page_twice(tmp_path: Path):
    dataset = carbon_dioxide_dataset(n_frames=8)
    write_dataset(tmp_path / "set.hdf5", dataset)
    one = write_report(tmp_path / "set.hdf5", tmp_path / "1.html", file_name="set.hdf5").read_bytes()
    two = write_report(tmp_path / "set.hdf5", tmp_path / "2.html", file_name="set.hdf5").read_bytes()
    assert one == two
    assert map_data(one.decode())["x"] == map_data(
        write_report(dataset, tmp_path / "3.html", file_name="set.hdf5").read_text("utf-8"))["x"]  # fmt: skip


def test_trace_command_of_a_point_names_an_entry_of_the_file(tmp_path: Path):
    write_dataset(tmp_path / "set.hdf5", carbon_dioxide_dataset(n_frames=8))
    data = map_data(write_report(tmp_path / "set.hdf5", tmp_path / "r.html").read_text("utf-8"))
    rows = np.frombuffer(base64.b64decode(data["row"]["data"]), dtype="<i4")
    for chosen in data["sets"]:
        origin = origin_of(data["file"], chosen["path"], int(rows[chosen["first"] + chosen["count"] - 1]))
        assert list(origin.molecule_indices) == chosen["molecules"]
        assert origin.orbit == chosen["orbit"]
    assert shlex.quote(data["file"]) == data["file"]


def test_embedded_coordinates_are_those_of_the_clusters():
    dataset = Dataset((md_section(6),))
    source = Source(from_dataset(dataset), "set.hdf5")
    clusters = dataset.cluster_sets
    for chosen in choose(source):
        positions = np.concatenate(list(chosen.blocks("positions (\u212b)")))
        steps, quantum = quantised(positions)
        np.testing.assert_allclose(steps * quantum, clusters[chosen.path].configurations.positions, atol=0.0051)


def test_clusters_far_from_the_origin_are_kept_with_a_coarser_step():
    steps, quantum = quantised(np.array([[1000.0, -500.0, 0.123]]))
    np.testing.assert_allclose(steps * quantum, [[1000.0, -500.0, 0.123]], atol=quantum / 2)
    assert quantum > 0.01


def test_even_share_spends_the_budget_and_no_more():
    counts, costs = [3, 100, 50], [10, 1, 4]
    share = even_share(counts, costs, 150)

    def spent(k: int) -> int:
        return sum(min(count, k) * cost for count, cost in zip(counts, costs, strict=True))

    assert spent(share) <= 150 < spent(share + 1)
    assert even_share(counts, costs, 10**6) == 100
    assert even_share([], [], 5) == 0


def test_choice_is_seeded_and_shared_by_the_sets():
    root = from_dataset(Dataset((md_section(40), phonon_section(8))))
    one, two, other = (
        choose(Source(root, "f", seed=seed), most_points=60, coordinate_bytes=2000) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a.frames, b.frames) for a, b in zip(one, other, strict=True))
    assert [len(chosen.frames) for chosen in one] == [12, 12, 12, 8, 8, 8]
    assert sum(int(chosen.embedded.sum()) * len(chosen.numbers) * 6 for chosen in one) <= 2000
    assert all(chosen.embedded.any() for chosen in one)


def test_sparse_rows_are_read_as_the_dense_ones():
    root = from_dataset(Dataset((md_section(1200, sizes=(1,)),)))
    (chosen,) = choose(Source(root, "f"), most_points=30)
    assert np.ptp(chosen.frames) > 600
    whole = chosen.structure.array("positions (\u212b)")
    np.testing.assert_array_equal(np.concatenate(list(chosen.blocks("positions (\u212b)"))), whole[chosen.frames])


def test_page_of_many_clusters_says_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from aiida_mbetrain.report.sections import map as map_module

    monkeypatch.setattr(map_module, "choose", lambda source: choose(source, most_points=30, coordinate_bytes=1000))
    text = write_report(Dataset((md_section(40),)), tmp_path / "r.html", seed=9).read_text("utf-8")
    assert "Of 120 clusters 30 are shown" in text
    assert "seed 9" in text
    assert "carry their coordinates" in text
    offsets = np.frombuffer(base64.b64decode(map_data(text)["offset"]["data"]), dtype="<i4")
    assert len(offsets) == 30
    assert (offsets < 0).any()


def test_bonds_of_an_embedded_cluster_are_those_of_its_molecules(carbon_dioxide_page):
    data = map_data(carbon_dioxide_page.read_text("utf-8"))
    for chosen in data["sets"]:
        bonds = np.frombuffer(base64.b64decode(chosen["bonds"]["data"]), dtype="<u2").reshape(-1, 2)
        numbers = np.frombuffer(base64.b64decode(chosen["numbers"]["data"]), dtype="<u1")
        assert len(bonds) == 2 * chosen["size"]
        assert all({int(numbers[i]), int(numbers[j])} == {6, 8} for i, j in bonds)
        assert all(i // 3 == j // 3 for i, j in bonds)


def test_pair_distances_are_those_of_brute_force():
    (chosen,) = choose(Source(from_dataset(Dataset((md_section(3, sizes=(3,)),))), "f"))
    closest, between = (np.concatenate(parts).reshape(-1) for parts in zip(*pair_distances(chosen), strict=True))
    positions = chosen.structure.array("positions (\u212b)").reshape(3, 3, 3, 3)
    masses = chosen.structure.array("masses (u)").reshape(3, 3)
    brute_contacts, brute_centers = [], []
    for frame in positions:
        for i in range(3):
            for j in range(i + 1, 3):
                brute_contacts.append(np.linalg.norm(frame[i][:, None] - frame[j], axis=-1).min())
                centers = [np.average(frame[k], axis=0, weights=masses[k]) for k in (i, j)]
                brute_centers.append(np.linalg.norm(centers[0] - centers[1]))
    np.testing.assert_allclose(np.sort(closest), np.sort(brute_contacts), atol=1e-9)
    np.testing.assert_allclose(np.sort(between), np.sort(brute_centers), atol=1e-9)


def test_principal_components_have_the_largest_variance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 6)) * np.array([5.0, 0.1, 2.0, 0.1, 0.1, 0.1])
    points, shares = principal_components(rows, seed=1)
    values = np.sort(np.linalg.eigvalsh(np.cov(rows.T)))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), values[:2])
    np.testing.assert_allclose(shares, values[:2] / values.sum())
    assert principal_components(np.ones((1, 3)), seed=1)[0].shape == (1, 2)


@pytest.mark.parametrize(("sections", "expected"), [
    ((), ["verdicts", "overview", "provenance"]),
    ((md_section(12, sizes=(), ensemble="NVT"),), ["verdicts", "overview", "dynamics", "provenance"]),
    ((md_section(12, sizes=(1,)),), ["verdicts", "overview", "dynamics", "map", "provenance"]),
    ((expansion_section(),), ["verdicts", "overview", "thermodynamics", "provenance"]),
    ((phonon_section(),), ["verdicts", "overview", "phonons", "map", "distances", "provenance"]),
])  # fmt: skip
def test_sections_without_data_are_left_out(tmp_path: Path, sections, expected):
    page = write_report(Dataset(sections), tmp_path / "r.html")
    assert Outline(page.read_text("utf-8")).sections == expected


def test_page_of_one_frame(tmp_path: Path):
    assert write_report(Dataset((md_section(1),)), tmp_path / "r.html").stat().st_size > 0


def test_failed_run_comes_first(tmp_path: Path):
    call = Call("TrainingSetWorkChain", 7, "failed with exit status 450", True, 3.0)
    run = RunFacts(call, failure="T left its window <at 912 K>", stage_seconds={"md": 2.0}, repository_bytes=5_000_000)
    text = write_report(Dataset(), tmp_path / "r.html", run=run).read_text("utf-8")
    assert "T left its window &lt;at 912 K&gt;" in text
    assert text.index("T left its window") < text.index('id="overview"')
    assert "5.0 MB" in text


def test_free_energy_curves_and_expansion_are_drawn(carbon_dioxide_page):
    text = carbon_dioxide_page.read_text("utf-8")
    for title in ("Free energy against volume", "Equilibrium volume", "Bulk modulus", "Heat capacity"):
        assert f"<h4>{title}</h4>" in text


def test_file_of_another_kind_and_a_truncated_one_are_refused(tmp_path: Path):
    other = tmp_path / "notes.hdf5"
    other.write_text("not HDF5")
    with pytest.raises(UnreadableFile, match="not an HDF5 file"):
        write_report(other, tmp_path / "r.html")
    whole = tmp_path / "set.hdf5"
    write_dataset(whole, Dataset((md_section(6),)))
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UnreadableFile):
        write_report(cut, tmp_path / "r.html")
    with pytest.raises(UnreadableFile, match="does not exist"):
        write_report(tmp_path / "none.hdf5", tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_page_that_cannot_be_written_is_refused(tmp_path: Path):
    with pytest.raises(UnwritableOutput):
        write_report(Dataset(), tmp_path / "none" / "r.html")


def test_text_is_escaped_everywhere():
    evil = "</script><b>\"'&\u2028"
    assert "<b>" not in element("p", evil, title=evil)
    data = embedded_json("it", {evil: [evil]})
    assert data.count("<") == 2
    assert json.loads(re.sub(r"^<[^>]*>|</script>$", "", data)) == {evil: [evil]}
    assert formula("C6H12N4") == "C<sub>6</sub>H<sub>12</sub>N<sub>4</sub>"
    assert "<b>" not in formula("C6<b>")
    plot = Plot((0, 1), (0, 1), x_label=evil, y_label=evil, title=evil, description=evil)
    assert "<b>" not in plot.figure(evil)


def test_ticks_are_round_and_inside():
    for low, high in ((0.0, 1.0), (-3.7, 912.0), (1e-9, 3e-9), (-1.0, -0.999)):
        ticks = nice_ticks(low, high)
        assert 2 <= len(ticks) <= 12
        assert low - 1e-9 * abs(low) <= ticks[0]
        assert ticks[-1] <= high + 1e-9 * abs(high)
        np.testing.assert_allclose(np.diff(ticks), ticks[1] - ticks[0], rtol=1e-6)


def test_long_lines_keep_their_extremes():
    plot = Plot((0, 1), (-5, 5), x_label="x", y_label="y", title="t", description="d")
    values = np.zeros(50_000)
    values[31_234] = 4.0
    plot.line(np.linspace(0, 1, 50_000), values, "blue")
    drawn = plot.figure()
    assert len(drawn) < 60_000
    top = min(float(v) for v in re.findall(r"[ML][\d.]+ ([\d.]+)", drawn.partition('class="line')[0]))
    assert top == pytest.approx(plot._v(4.0), abs=0.06)


def test_packed_arrays_come_back():
    values = np.array([1, -2, 300])
    assert np.frombuffer(base64.b64decode(packed(values, "i4")["data"]), dtype="<i4").tolist() == [1, -2, 300]


def with_reference_labels(section, method, *, n_unlabelled, noise_kJ_per_mol):
    """The section with labels of dimers: the baseline's energies from another zero, with noise."""
    molecules = section.molecules
    assert molecules is not None
    (dimers,) = (one for one in molecules.clusters if one.cluster.n_molecules == 2)
    baseline = dimers.configurations.energies
    noise = np.random.default_rng(3).normal(size=len(baseline))
    energies = baseline - 500.0 + 2 * noise_kJ_per_mol * noise * units.kJ / units.mol
    energies[:n_unlabelled] = np.nan
    labels = ClusterReference(method, "0" * 32, energies, None, None, tuple("" for _ in energies))
    references = {dimers.cluster.key: {method: labels}}
    return replace(section, molecules=replace(molecules, references=references)), noise[n_unlabelled:]


def test_reference_labels_are_counted_and_drawn_against_the_baseline(tmp_path: Path):
    method = "PBE-D4/def2-SVP[order=2]"
    section, noise = with_reference_labels(md_section(40), method, n_unlabelled=3, noise_kJ_per_mol=1.5)
    text = write_report(Dataset((section,)), tmp_path / "page.html").read_text("utf-8")
    outline = Outline(text)
    assert outline.sections.index("reference") == outline.sections.index("provenance") - 1
    part = text[text.index('id="reference"') : text.index('id="provenance"')]
    cells = re.findall(r"<td>(.*?)</td>", part)
    expected = 1.5 * float(np.std(noise))
    assert cells[:4] == ["2", str(len(noise)), "3", "no"]
    assert float(cells[4]) == pytest.approx(expected, abs=1e-3)
    assert part.count("<circle") == len(noise)
    assert outline.open == []
    assert outline.silent == []
