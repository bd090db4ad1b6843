"""Questions to the graph and to the file: the same answers, in three forms, fast."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from commands import call, one_line

from aiida_mbetrain import provenance
from aiida_mbetrain.datasets.graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.questions import ranges


@pytest.fixture(scope="module")
def hdf5(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.hdf5"
    write_dataset(path, dataset_of(stage_nodes(stages_of(finished))))
    return path


MD = "training/md_sampling/crystal[dyn:T=20.00]"


def asked(*arguments: object) -> object:
    return json.loads(call("query", *arguments, "--format", "json"))


def test_the_profile_lists_the_training_set_with_model_crystal_and_file(finished):
    rows = {row["pk"]: row for row in provenance.datasets()}
    row = rows[finished.pk]
    assert row["uuid"] == finished.uuid
    assert (row["process"], row["exit_status"]) == ("TrainingSetWorkChain", 0)
    assert row["model"] == "lennard_jones"
    assert row["structure_uuid"] == finished.inputs.structure.uuid
    assert row["structure"] == "Ar"
    assert row["content_sha256"] == finished.outputs.dataset.base.attributes.get("content_sha256")


def test_runs_of_a_crystal_include_those_from_its_force_constants(finished):
    """Other tests may have run more of this crystal in the shared profile."""
    found = {row["pk"] for row in provenance.datasets(structure=finished.inputs.structure)}
    assert {finished.pk, *(child.pk for child in finished.called if "WorkChain" in child.process_label)} <= found


def test_runs_of_another_crystal_or_model_are_not_found(finished):
    assert provenance.datasets(structure=finished.outputs.md_sampling.supercell) == []
    assert provenance.datasets(model=orm.Dict({"name": "other"}).store()) == []
    assert len(provenance.datasets(model=finished.inputs.model)) == 4


def test_behind_an_md_cluster_are_its_step_its_molecules_and_its_jobs(finished):
    node = finished.outputs.md_sampling.clusters.n_2
    facts = asked("origin", node.pk, 1)
    assert facts["time_fs"] == 40.0
    assert facts["frame"] == 1
    assert facts["molecule_indices"] == node.get_array("molecule_indices").tolist()
    assert [job.partition("<")[0] for job in facts["jobs"]] == [
        "md_supercell", "detect_molecules", "molecular_dynamics", "extract_clusters", "labels",
    ]  # fmt: skip
    (settings,) = (value for key, value in facts["settings"].items() if key.startswith("molecular_dynamics"))
    assert settings["temperature_K"] == 20.0
    assert facts["structures"][0].endswith(finished.inputs.structure.uuid)


def test_behind_a_phonon_cluster_are_its_mode_and_amplitude(finished):
    node = finished.outputs.phonon_sampling.clusters.n_3
    facts = asked("origin", node.pk, 5)
    assert facts["mode"] == node.get_array("origin_mode")[5]
    assert facts["amplitude"] == node.get_array("origin_amplitude")[5]
    assert any(job.startswith("force_constants") for job in facts["jobs"])


def test_the_file_alone_tells_the_same_of_a_frame(finished, hdf5: Path):
    node = finished.outputs.md_sampling.clusters.n_2
    facts = asked("origin", hdf5, f"{MD}/finite_subsystems/n=2", 1)
    assert facts["time (fs)"] == 40.0
    assert facts["molecule_indices"] == node.get_array("molecule_indices").tolist()
    assert facts[f"{MD}/finite_subsystems/n=2: node_uuid"] == node.uuid
    assert facts["file: crystal_uuid"] == finished.inputs.structure.uuid
    assert json.loads(facts[f"{MD}: settings"])["temperature_K"] == 20.0


def test_frames_of_a_trajectory_are_followed_into_every_cluster_set(finished, hdf5: Path):
    rows = asked("frames", finished.outputs.md_sampling.trajectory.pk)
    labelled = [row for row in rows if row["labelled"]]
    assert [row["entry"] for row in labelled[:3]] == ["n=1", "n=2", "n=3"]
    assert {(row["frames"], row["missing"]) for row in labelled[:3]} == {("0-3", "")}
    from_file = asked("frames", hdf5, f"{MD}/trajectory")
    assert [(row["frames"], row["labelled"]) for row in from_file] == [("0-3", True)] * 3


def test_labelled_phonon_frames_are_followed_too(finished):
    rows = asked("frames", finished.outputs.phonon_sampling.trajectory.pk)
    assert {row["entry"] for row in rows if row["labelled"]} >= {"n=1", "n=2", "n=3"}


def test_a_run_and_its_file_do_not_differ(finished, hdf5: Path):
    assert asked("diff", finished.pk, hdf5) == []
    assert call("query", "diff", hdf5, hdf5) == "No difference.\n"


def test_the_difference_of_two_settings_is_named(finished, hdf5: Path, tmp_path: Path):
    import h5py

    other = tmp_path / "other.hdf5"
    other.write_bytes(hdf5.read_bytes())
    with h5py.File(other, "r+") as file:
        settings = json.loads(file[MD].attrs["provenance.settings"])
        settings["md_crystal"]["rng_seed"] = 7
        file[MD].attrs["provenance.settings"] = json.dumps(settings)
    (row,) = asked("diff", finished.pk, other)
    assert (row["fact"], row["second"]) == ("md_sampling.md_crystal.rng_seed", 7)


def test_sections_of_a_file_name_crystal_and_settings(finished, hdf5: Path):
    rows = {row["section"]: row for row in asked("datasets", hdf5)}
    assert rows[MD]["structure_uuid"] == finished.inputs.structure.uuid
    assert rows[MD]["kind"] == "md_sampling"
    assert len(rows) == 3


def test_the_three_forms_say_the_same(finished):
    rows = asked("datasets")
    table = list(csv.DictReader(io.StringIO(call("query", "datasets", "--format", "csv"))))
    assert [row["uuid"] for row in table] == [row["uuid"] for row in rows]
    assert finished.uuid[:8] in call("query", "datasets", "--format", "table")


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "3"), ([0, 1, 2], "0-2"), ([5, 0, 1, 7, 8, 9], "0-1, 5, 7-9")]
)
def test_ranges_are_short(numbers: list[int], text: str):
    assert ranges(np.array(numbers, dtype=int)) == text


def test_refusals_are_one_line(finished, hdf5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.hdf5").write_text("hello")
    (tmp_path / "cut.hdf5").write_bytes(hdf5.read_bytes()[:9000])
    pk, structure = finished.outputs.md_sampling.clusters.n_1.pk, finished.inputs.structure.pk
    for arguments, reason in (
        (("origin", 999999, 0), "999999"),
        (("origin", pk, 99), "there is no frame 99"),
        (("origin", structure, 0), "StructureData"),
        (("origin", hdf5, 0), "FILE ENTRY FRAME"),
        (("origin", hdf5, "nowhere", 0), "no entry"),
        (("origin", "foreign.hdf5", "a", 0), "not an HDF5 file"),
        (("origin", "cut.hdf5", "a", 0), "cut.hdf5"),
        (("frames", structure), "StructureData"),
        (("frames", hdf5, "nowhere"), "no section"),
        (("diff", structure, finished.pk), "StructureData"),
        (("diff", "missing.hdf5", finished.pk), "does not exist"),
        (("datasets", "foreign.hdf5"), "not an HDF5 file"),
        (("datasets", "--structure", pk), "ClusterSetData"),
        (("datasets", "--model", "abc"), "abc"),
    ):
        assert reason in one_line("query", *arguments)


@pytest.mark.slow
def test_a_profile_of_ten_thousand_nodes_answers_in_a_second():
    script = Path(__file__).with_name("synthetic_profile.py")
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    seconds = json.loads(run.stdout.splitlines()[-1])
    assert seconds.pop("nodes") >= 10_000
    assert max(seconds.values()) < 1.0, seconds
