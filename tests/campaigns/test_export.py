"""One file of a campaign: root keys, appended stages, the table of members, and splits that hold out."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from click.testing import CliRunner

from aiida_mbetrain.campaigns import export
from aiida_mbetrain.campaigns.export import export_campaign
from aiida_mbetrain.campaigns.state import MISSING, StageState
from aiida_mbetrain.cli import main
from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.datasets.hdf5 import read_dataset, write_dataset
from aiida_mbetrain.datasets.training import SUBSETS, HoldOut, Split, entries_of, split_entries
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import AseMethod, ReferenceLabels


def test_every_stage_is_there_once_under_its_root_key(exported):
    dataset = read_dataset(exported)
    assert {section.root_key for section in dataset.sections} == {
        f"{crystal}/lj/{place}"
        for crystal in ("ar_526", "ar_530")
        for place in (
            "quasi_harmonic", "20K/phonon_sampling", "30K/phonon_sampling", "20K_0.0001GPa/md_sampling",
            "30K_0.0001GPa/md_sampling",
        )
    }  # fmt: skip
    with h5py.File(exported) as file:
        for section in dataset.phonons:
            assert section.force_constants_key in file, "the place of the force constants in the same file"


def test_what_finishes_later_is_appended_and_gives_the_file_of_one_export(finished_campaign, exported, tmp_path):
    plan, states = finished_campaign
    early = {name: state if "ar_526" in name else StageState(MISSING) for name, state in states.items()}
    path = tmp_path / "set.hdf5"
    assert len(export_campaign(path, plan, early)) == 5
    with h5py.File(path) as file:
        assert [state.decode() for state in file["members/state"][()]] == ["finished"] * 2 + ["missing"] * 2
        assert file["members/reason"][2].decode() == "quasi_harmonic"
    assert len(export_campaign(path, plan, states)) == 5
    assert export_campaign(path, plan, states) == []
    assert path.read_bytes() == exported.read_bytes()


def test_stages_are_not_collected_in_memory(finished_campaign, tmp_path, monkeypatch):
    made: list[weakref.ref[Group]] = []
    original = export._tree

    def tree(*arguments: Any) -> Group:
        gc.collect()
        assert sum(reference() is not None for reference in made) <= 1, "only the one before may still be there"
        found = original(*arguments)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(export, "_tree", tree)
    export_campaign(tmp_path / "set.hdf5", *finished_campaign)
    assert len(made) == 10


def test_the_content_is_that_of_a_dataset_written_at_once(exported, tmp_path):
    dataset = read_dataset(exported)
    write_dataset(tmp_path / "at_once.hdf5", dataset)
    again = read_dataset(tmp_path / "at_once.hdf5")
    for first, second in zip(entries_of(dataset), entries_of(again), strict=True):
        assert first.uids == second.uids
        np.testing.assert_array_equal(first.configurations.forces, second.configurations.forces)


def test_a_file_of_something_else_is_left_as_it_is(finished_campaign, exported, tmp_path):
    path = tmp_path / "other.hdf5"
    write_dataset(path, read_dataset(exported))
    before = path.read_bytes()
    with pytest.raises(InvalidSettings, match="is not the file of a campaign"):
        export_campaign(path, *finished_campaign)
    assert path.read_bytes() == before
    nothing = {name: StageState(MISSING) for name in finished_campaign[0].stages}
    with pytest.raises(InvalidSettings, match="Nothing of the campaign exported is finished"):
        export_campaign(tmp_path / "none.hdf5", finished_campaign[0], nothing)


def subsets(path: Path, hold_out: HoldOut) -> dict[str, set[str]]:
    """Subsets that the frames of every entry went to."""
    entries = entries_of(read_dataset(path))
    shares = split_entries(entries, Split((0.5, 0.25, 0.25), gap=0, hold_out=hold_out))
    return {e.path: {SUBSETS[i] for i in share if i >= 0} for e, share in zip(entries, shares, strict=True)}


def test_crystals_and_temperatures_can_be_held_out(exported):
    found = subsets(exported, HoldOut(crystals=("ar_530",)))
    assert all(where == {"test"} for path, where in found.items() if path.startswith("ar_530/"))
    assert {"train"} <= set().union(*(where for path, where in found.items() if path.startswith("ar_526/")))
    found = subsets(exported, HoldOut(temperatures_K=(30.0,)))
    assert all(where == {"test"} for path, where in found.items() if "/30K" in path)
    assert any("train" in where for path, where in found.items() if "/20K" in path)


def test_a_size_that_is_held_out_is_not_trained_on(exported):
    found = subsets(exported, HoldOut(sizes=(3,)))
    assert set().union(*(where for path, where in found.items() if path.endswith("n=3"))) == {"test"}
    assert any("train" in where for path, where in found.items() if path.endswith("n=2"))


@pytest.mark.parametrize("word", ["crystal=krypton", "temperature=77", "size=9", "colour=red", "size=big"])
def test_what_is_not_there_cannot_be_held_out(exported, tmp_path, word):
    result = CliRunner().invoke(
        main, ["export-xyz", str(exported), "-o", str(tmp_path / "xyz"), "--e0s", "average", "--hold-out", word]
    )
    assert result.exit_code == 1
    assert "hold_out: the dataset has no" in result.output or "give crystal=NAME" in result.output


def test_labels_of_a_reference_method_join_the_stages_that_the_file_has(finished_campaign, exported, tmp_path):
    """One stage of the campaign is labelled; its groups get the labels, and nothing else changes."""
    plan, states = finished_campaign
    stage = "ar_526/lj/20K_0.0001GPa/md_sampling"
    settings, path = tmp_path / "reference.yaml", tmp_path / "set.hdf5"
    settings.write_text("method: {program: ase, method: lj, parameters: {sigma: 3.3}}")
    words = ["reference", "run", str(states[stage].pk), "--settings", str(settings), "--sizes", "2"]
    assert CliRunner().invoke(main, words).exit_code == 0
    path.write_bytes(exported.read_bytes())
    result = CliRunner().invoke(main, ["campaign", "export", "exported", "-o", str(path), "--reference", "lj"])
    assert result.exit_code == 0, result.output
    assert "0 new stages" in result.output
    dataset = read_dataset(path)
    ((entry, labels),) = dataset.references.items()
    assert entry.startswith(stage)
    assert entry.endswith("n=2")
    assert labels["lj"].n_labelled == len(dataset.cluster_sets[entry].configurations)
    assert dataset.cluster_sets.keys() == read_dataset(exported).cluster_sets.keys()
    at_once = tmp_path / "at_once.hdf5"
    export_campaign(at_once, plan, states, references=["lj"])
    assert at_once.read_bytes() == path.read_bytes()
    refused = CliRunner().invoke(main, ["campaign", "export", "exported", "-o", str(path), "--reference", "PBE"])
    assert refused.exit_code == 1
    assert "No cluster of the run has labels of 'PBE': there are those of lj" in refused.output
    assert at_once.read_bytes() == path.read_bytes()


def label_pairs(stage: str, states: dict[str, StageState], wanted: ReferenceLabels, rows: list[int]) -> None:
    """Label some frames of the pairs of a stage."""
    node = orm.load_node(states[stage].uuid)
    picks = Table({"set": np.array(["n_2"] * len(rows)), "row": np.array(rows)})
    _, chain = run_get_node(
        WorkflowFactory("mbetrain.reference_labels_of_clusters"),
        sets={"n_2": node.outputs.clusters.n_2},
        crystals={"n_2": node.outputs.molecular_crystal},
        settings=orm.Dict(wanted.to_dict()),
        picks=as_node(picks),
    )
    assert chain.is_finished_ok, chain.exit_message


def test_labels_that_have_grown_since_replace_those_of_the_file(finished_campaign, tmp_path):
    """One frame first, then two: the file is that of one export."""
    plan, states = finished_campaign
    some = {name: state if "ar_530" in name else StageState(MISSING) for name, state in states.items()}
    wanted = ReferenceLabels(method=AseMethod(method="lj", parameters={"sigma": 3.25}), order=2)
    path, at_once, n_labelled = tmp_path / "set.hdf5", tmp_path / "at_once.hdf5", []
    for rows in ([0], [0, 1]):
        label_pairs("ar_530/lj/20K_0.0001GPa/md_sampling", states, wanted, rows)
        export_campaign(path, plan, some, references=["lj[order=2]"])
        ((_, labels),) = read_dataset(path).references.items()
        n_labelled.append(labels["lj[order=2]"].n_labelled)
    assert n_labelled == [1, 2]
    export_campaign(at_once, plan, some, references=["lj[order=2]"])
    assert at_once.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_the_report_of_a_campaign_shows_labels_of_a_reference_on_the_page_of_their_member(finished_campaign, tmp_path):
    wanted = ReferenceLabels(method=AseMethod(method="lj", parameters={"sigma": 3.27}), order=1)
    label_pairs("ar_530/lj/20K_0.0001GPa/md_sampling", finished_campaign[1], wanted, [0, 1])
    words = ["report", "exported", "-o", str(tmp_path / "report.html"), "--reference", "lj[order=1]"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    labelled = {page.name for page in tmp_path.rglob("*.html") if "lj[order=1]" in page.read_text("utf-8")}
    assert labelled == {"ar_530_lj_20K_0.0001GPa.html"}
