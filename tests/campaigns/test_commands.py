"""Commands for one training set, given a campaign: by its file, or by its name."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import ase.io
import h5py
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_mbetrain.campaigns import state
from aiida_mbetrain.cli import main
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import opened, read_dataset
from aiida_mbetrain.datasets.names import md_crystal_name
from aiida_mbetrain.datasets.training import entries_of
from aiida_mbetrain.report.campaign import Member, members, part_of, results

DYNAMICS = f"ar_530/lj/30K_0.0001GPa/md_sampling/{md_crystal_name(30.0, 0.0001)}"
ENTRY = f"{DYNAMICS}/finite_subsystems/n=2"


def succeed(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_query_lists_every_stage_with_its_crystal_and_settings(exported, finished_campaign):
    rows = json.loads(succeed("query", "datasets", exported, "--format", "json"))
    assert len(rows) == 10
    assert {row["section"].split("/")[0] for row in rows} == {"ar_526", "ar_530"}
    assert all(row["settings_uuid"] for row in rows)
    _, states = finished_campaign
    crystals = {name.split("/")[0]: orm.load_node(s.pk).inputs.structure for name, s in states.items() if "md_" in name}
    assert all(row["structure_uuid"] == crystals[row["section"].split("/")[0]].uuid for row in rows)


def test_a_frame_is_traced_to_the_crystal_that_it_is_of(exported, finished_campaign):
    _, states = finished_campaign
    output = succeed("trace", exported, ENTRY, 0)
    assert "cluster of 2 molecules" in output
    stage = states["ar_530/lj/30K_0.0001GPa/md_sampling"]
    structure = orm.load_node(stage.pk).inputs.structure
    facts = json.loads(succeed("query", "origin", exported, ENTRY, 0, "--format", "json"))
    assert structure.uuid in map(str, facts.values()), facts
    made = json.loads(succeed("query", "frames", exported, DYNAMICS, "--format", "json"))
    assert ENTRY in {row["entry"] for row in made}


def test_training_files_of_a_campaign_hold_all_crystals(exported, tmp_path):
    succeed("export-xyz", exported, "-o", tmp_path / "xyz", "--e0s", "average", "--split", "1,0,0")
    written = {atoms.info["uid"] for atoms in ase.io.read(tmp_path / "xyz" / "train.xyz", ":")}
    entries = entries_of(read_dataset(exported))
    assert {entry.path.split("/")[0] for entry in entries} == {"ar_526", "ar_530"}
    assert all(written & set(entry.uids) for entry in entries)


def test_frames_are_chosen_from_one_crystal_of_a_campaign(exported, finished_campaign):
    output = succeed("subsample", "exported/ar_530/lj", "-n", 4, "--stratify-by", "size", "--method", "random")
    assert re.search(r"^4 of \d+ frames", output, re.MULTILINE)
    node = orm.load_node(int(re.findall(r"subsample<(\d+)>", output)[-1]))
    origins = {link.node.creator.caller for link in node.base.links.get_incoming().all() if link.node.creator}
    assert origins
    wanted = {state.pk for name, state in finished_campaign[1].items() if name.startswith("ar_530/")}
    assert {origin.pk for origin in origins} <= wanted


def test_pictures_of_every_stage_of_one_crystal_are_in_folders(exported, tmp_path):
    output = succeed("plot", "exported/ar_526", "-o", tmp_path)
    drawn = {path.relative_to(tmp_path).parent.as_posix() for path in tmp_path.rglob("*.png")}
    assert drawn == {
        "ar_526/lj/quasi_harmonic",
        *(f"ar_526/lj/{temperature}K/phonon_sampling" for temperature in (20, 30)),
        *(f"ar_526/lj/{temperature}K_0.0001GPa/md_sampling" for temperature in (20, 30)),
    }
    assert len(output.splitlines()) == len(list(tmp_path.rglob("*.png")))


def test_a_part_that_is_not_there_is_named(exported):
    result = CliRunner().invoke(main, ["plot", "exported/krypton"])
    assert result.exit_code == 1
    assert "Nothing of exported/krypton is finished: see `aiida-mbetrain campaign status exported`." in result.output


class Links(HTMLParser):
    """Targets of the links of a page, and its sections."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.sections: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "section":
            self.sections.append(str(given["id"]))


@pytest.mark.parametrize("source", ["file", "name"])
def test_the_report_of_a_campaign_leads_to_a_page_of_every_member(exported, tmp_path, source):
    page = tmp_path / "report.html"
    succeed("report", exported if source == "file" else "exported", "-o", page)
    text = page.read_text()
    found = Links(text)
    parts = [unquote(link) for link in found.links if not link.startswith("#")]
    assert len(set(parts)) == 4
    assert found.sections == ["campaign", "verdicts"]
    for link in parts:
        part = Links((tmp_path / link).read_text())
        assert {"verdicts", "dynamics", "phonons", "map"} <= set(part.sections)
        assert "../report.html" in part.links
    assert "4 of 4 members are finished" in text
    assert text.count("<svg") >= 4, "volume and density of two crystals"


def test_the_numbers_of_a_member_are_those_of_its_dynamics(exported):
    with h5py.File(exported) as file:
        series = file[f"{DYNAMICS}/time_series"]
        kept = series[names.TIME][()] > 20.0
        volume = series[names.VOLUME][()][kept].mean()
    with opened(exported) as root:
        [member] = [one for one in members(root) if one.crystal == "ar_530" and one.temperature_K == 30.0]
        part = part_of(root, member)
        assert member == Member("ar_530", "lj", 30.0, 0.0001, "finished", "")
        assert len(list(part.groups["ar_530"].groups["lj"].groups)) == 3
        found = results(part, 30.0)
    assert found.volume_A3 == pytest.approx(volume, rel=1e-12)
    assert found.density_g_per_cm3 == pytest.approx(39.948 / volume * 1.66053906660, rel=1e-9)
    assert found.lattice_energy_kJ_per_mol is None


def test_the_page_alone_names_what_is_not_finished(finished_campaign, tmp_path):
    from aiida_mbetrain.campaigns.export import export_campaign
    from aiida_mbetrain.campaigns.state import FAILED, StageState
    from aiida_mbetrain.report import write_report

    plan, states = finished_campaign
    name = "ar_526/lj/20K_0.0001GPa/md_sampling"
    export_campaign(tmp_path / "set.hdf5", plan, states | {name: StageState(FAILED, reason="[450] <b>moved</b>")})
    page = write_report(tmp_path / "set.hdf5", tmp_path / "page.html", parts=False)
    text = page.read_text()
    assert Links(text).sections == ["campaign", "verdicts", "unfinished"]
    assert "md_sampling: [450] &lt;b&gt;moved&lt;/b&gt;" in text
    assert not (tmp_path / "page_parts").exists()
    assert len(read_dataset(tmp_path / "set.hdf5").sections) == 9


def locked() -> Exception:
    """As SQLAlchemy raises it where SQLite has waited long enough for another process."""
    error = RuntimeError("(sqlite3.OperationalError) database is locked [SQL: SELECT ...]")
    error.__cause__ = sqlite3.OperationalError("database is locked")
    return error


def test_a_locked_database_is_one_line_that_says_to_ask_again(finished_campaign, monkeypatch):
    def refuse(plan):
        raise locked()

    monkeypatch.setattr(state, "stage_states", refuse)
    result = CliRunner().invoke(main, ["campaign", "status", "exported"])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    (line,) = result.output.strip().splitlines()
    assert line.startswith("Error: The database is locked")
    assert "ask again" in line


def test_watching_goes_on_where_the_database_is_locked_for_a_while(finished_campaign, monkeypatch):
    """The second of three answers is refused; the third says that nothing runs any more."""
    _, states = finished_campaign
    running = {name: replace(found, state=state.RUNNING) for name, found in states.items()}
    answers = iter([running, locked(), states])

    def answer(plan):
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(state, "stage_states", answer)
    succeed("campaign", "status", "exported", "--watch", "--interval", 0)
    assert next(answers, None) is None
