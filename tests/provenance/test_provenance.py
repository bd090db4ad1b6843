"""Questions to the graph and to the file: the same answers, in three forms, fast."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from argon import argon_settings, run_argon
from commands import call, one_line
from job_runs import local_code

from aiida_mbetrain import __version__, provenance
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.inspection import ranges


def write_hdf5(run: orm.WorkChainNode, path: Path) -> Path:
    write_dataset(path, dataset_of(stage_nodes(stages_of(run))))
    return path


@pytest.fixture(scope="module")
def hdf5(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hdf5(finished, tmp_path_factory.mktemp("set") / "set.hdf5")


@pytest.fixture(scope="module")
def with_jobs(profile, tmp_path_factory: pytest.TempPathFactory) -> orm.WorkChainNode:
    """The same training set, its heavy stages as jobs on this machine."""
    return run_argon(code=local_code(tmp_path_factory.mktemp("jobs")))


@pytest.fixture(scope="module")
def warmer(profile) -> orm.WorkChainNode:
    """A training set whose dynamics is warmer, made by another version of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiida_mbetrain.worker.machine.__version__", "0.0.1")
        return run_argon(argon_settings(md_sampling={"temperature_K": 25.0}))


MD = "training/md_sampling/crystal[dyn:T=20.00]"


def facts_that_differ(first: object, second: object) -> dict[str, tuple[object, object]]:
    return {row["fact"]: (row["first"], row["second"]) for row in asked("diff", first, second)}


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


def test_sections_that_one_side_lacks_are_named(finished, hdf5: Path, tmp_path: Path):
    part = tmp_path / "part.hdf5"
    call("export", finished.pk, "-o", part, "--sources", "md")
    lacking = {
        "section training/quasi_harmonic": ("quasi_harmonic", None),
        "section training/phonon_sampling": ("phonon_sampling", None),
    }
    for whole in (finished.pk, hdf5):
        rows = facts_that_differ(whole, part)
        assert rows.pop("content_sha256")
        assert rows == lacking
    rows = facts_that_differ(part, finished.pk)
    assert rows["section training/phonon_sampling"] == (None, "phonon_sampling")


def test_a_stage_and_its_file_do_not_differ(finished, tmp_path: Path):
    for link in finished.base.links.get_outgoing(node_class=orm.WorkChainNode).all():
        path = write_hdf5(link.node, tmp_path / f"{link.link_label}.hdf5")
        assert asked("diff", link.node.pk, path) == []


def test_a_file_without_provenance_differs_from_its_run_in_nothing(finished, tmp_path: Path):
    call("export", finished.pk, "-o", tmp_path / "bare.hdf5", "--no-provenance")
    assert asked("diff", finished.pk, tmp_path / "bare.hdf5") == []


def test_every_section_of_a_joined_file_is_compared(finished, warmer, hdf5: Path, tmp_path: Path):
    import h5py

    joined, other = tmp_path / "joined.hdf5", tmp_path / "other.hdf5"
    joined.write_bytes(hdf5.read_bytes())
    call("export", warmer.pk, "-o", joined, "--append", "--sources", "md")
    other.write_bytes(joined.read_bytes())
    with h5py.File(other, "r+") as file:
        settings = json.loads(file[MD].attrs["provenance.settings"])
        settings["md_crystal"]["rng_seed"] = 7
        file[MD].attrs["provenance.settings"] = json.dumps(settings)
    assert facts_that_differ(joined, other) == {f"{MD}.md_crystal.rng_seed": (42, 7)}
    rows = facts_that_differ(finished.pk, joined)
    assert rows[f"section {MD.replace('20', '25')}"] == (None, "md_sampling")


def test_two_runs_differ_in_settings_place_content_and_versions(finished, warmer):
    rows = facts_that_differ(finished.pk, warmer.pk)
    assert rows["md_sampling.temperature_K"] == (20.0, 25.0)
    assert rows["md_sampling: section"] == (MD, MD.replace("20", "25"))
    assert rows["versions.aiida_mbetrain"] == (__version__, "0.0.1")
    digests = tuple(run.outputs.dataset.base.attributes.get("content_sha256") for run in (finished, warmer))
    assert rows["content_sha256"] == digests
    assert not [name for name in rows if name.startswith(("quasi_harmonic", "phonon_sampling", "section"))]


@pytest.mark.parametrize("damage", ["an array is gone", "a number is another"])
def test_a_damaged_file_is_refused_instead_of_compared(hdf5: Path, tmp_path: Path, damage: str):
    import h5py

    other = tmp_path / "damaged.hdf5"
    other.write_bytes(hdf5.read_bytes())
    with h5py.File(other, "r+") as file:
        arrays = file[f"{MD}/trajectory"]
        if damage == "an array is gone":
            del arrays["masses (u)"]
        else:
            arrays["T (K)"][0] += 1.0
    for arguments in ((hdf5, other), (other, hdf5)):
        assert re.search("damaged.hdf5.* is damaged or was edited", one_line("query", "diff", *arguments))


# ---------------------------------------------------------------------------------------------------------------
# A run whose heavy stages were jobs


def test_runs_with_jobs_are_listed_and_compared(finished, with_jobs, tmp_path: Path):
    rows = {row["pk"]: row for row in asked("datasets")}
    assert rows[with_jobs.pk]["structure_uuid"] == with_jobs.inputs.structure.uuid
    assert set(facts_that_differ(finished.pk, with_jobs.pk)) == {"structure_uuid", "model_uuid"}
    assert asked("diff", with_jobs.pk, write_hdf5(with_jobs, tmp_path / "jobs.hdf5")) == []


@pytest.mark.parametrize("stage", ["md_sampling", "phonon_sampling"])
def test_labelled_frames_of_jobs_are_followed(with_jobs, stage: str):
    rows = asked("frames", with_jobs.outputs[stage].trajectory.pk)
    found = {row["entry"]: row for row in rows if row["labelled"] and row["entry"]}
    assert set(found) == {"n=1", "n=2", "n=3"}
    n_frames = len(with_jobs.outputs[stage].trajectory.get_array("positions"))
    assert {(row["frames"], row["missing"]) for row in found.values()} == {(f"0-{n_frames - 1}", "")}


def test_behind_clusters_of_jobs_are_jobs_model_and_settings(finished, with_jobs):
    for stage, step in (
        ("md_sampling", "MolecularDynamicsCalculation"),
        ("phonon_sampling", "ForceConstantsCalculation"),
    ):
        node, other = (run.outputs[stage].clusters.n_2 for run in (with_jobs, finished))
        facts, in_process = asked("origin", node.pk, 1), asked("origin", other.pk, 1)
        assert {step, "LabelsCalculation"} <= {job.partition("<")[0] for job in facts["jobs"]}
        assert any(name.startswith(step) for name in facts["settings"])
        assert any(name.startswith("LabelsCalculation") for name in facts["runs"])
        assert facts["models"] == [f"lennard_jones<{with_jobs.inputs.model.pk}>"]
        same = ("frame", "molecule_indices", "lattice_translations", "time_fs", "mode", "amplitude")
        assert {name: facts.get(name) for name in same} == {name: in_process.get(name) for name in same}


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
        (("datasets", "--model", "nobody"), "nobody"),  # no beginning of a uuid
        (("datasets", "--model", structure), "is a StructureData, not a MaceModelData"),
        (("datasets", "--model", finished.inputs.md_sampling.settings.pk), "is a Dict, not a MaceModelData"),
    ):
        assert reason in one_line("query", *arguments)


@pytest.mark.slow
def test_a_profile_of_ten_thousand_nodes_answers_in_a_second():
    script = Path(__file__).parents[1] / "helpers" / "synthetic_profile.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    seconds = json.loads(run.stdout.splitlines()[-1])
    assert seconds.pop("nodes") >= 10_000
    assert max(seconds.values()) < 1.0, seconds
