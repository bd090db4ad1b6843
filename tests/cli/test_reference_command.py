"""Reference labels from the command line."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest
import yaml
from aiida import orm
from ase.calculators.lj import LennardJones
from ase.io import read

from aiida_mbetrain.datasets.hdf5 import read_dataset
from aiida_mbetrain.datasets.training import entries_of


@pytest.fixture
def settings_file(tmp_path):
    path = tmp_path / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.3}}}))
    return path


@pytest.fixture(scope="module")
def labelled(finished, tmp_path_factory):
    """Settings of a method that has labelled molecules and pairs of the run, and the pk of the WorkChain."""
    from commands import call

    path = tmp_path_factory.mktemp("reference") / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.2}}}))
    said = call("reference", "run", finished.pk, "--settings", path, "--order", 3, "--sizes", "1,2")
    found = re.search(r"ReferenceLabelsWorkChain<(\d+)>", said)
    assert found is not None
    return path, int(found.group(1))


def count(output: str, name: str) -> int:
    found = re.search(rf"^{name} +([\d,]+)$", output, flags=re.MULTILINE)
    assert found is not None, output
    return int(found.group(1).replace(",", ""))


def test_plan_run_and_plan_again(succeed, finished, settings_file):
    arguments = (finished.pk, "--settings", settings_file, "--order", 2, "--sizes", "1,2,3")
    before = succeed("reference", "plan", *arguments)
    n_all = count(before, "to be calculated")
    assert n_all > 0
    assert count(before, "fragments of all clusters") == n_all + count(before, "equal ones left out")
    assert re.search(r"core-hours +0\.0", before)
    said = succeed("reference", "run", *arguments)
    assert re.search(r"ReferenceLabelsWorkChain<\d+>: lj by ase 3", said)
    after = succeed("reference", "plan", *arguments)
    assert count(after, "to be calculated") == 0
    assert count(after, "known in this profile") == n_all


def test_a_method_by_name_counts_ghosts(succeed, finished):
    options = ("--method", "HF/6-31g", "--no-measure")
    plain, ghosts = (
        count(
            succeed("reference", "plan", finished.pk, *options, "--order", 2, "--counterpoise", scheme),
            "to be calculated",
        )
        for scheme in ("none", "vmfc")
    )
    assert ghosts > plain


def test_labels_stand_beside_those_of_the_baseline_in_the_file(succeed, finished, labelled, tmp_path):
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", "lj[order=3]")
    succeed("export", finished.pk, "-o", tmp_path / "b.hdf5", "--reference", labelled[1])
    assert (tmp_path / "a.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()
    dataset = read_dataset(tmp_path / "a.hdf5")
    assert {path.rpartition("/")[2] for path in dataset.references} == {"n=1", "n=2"}
    for path, by_method in dataset.references.items():
        labels, frames = by_method["lj[order=3]"], dataset.cluster_sets[path].configurations
        for row in range(len(frames)):
            atoms = frames.to_atoms()[row]
            atoms.calc = LennardJones(sigma=3.2)
            assert labels.energies[row] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(labels.forces[row], atoms.get_forces(), atol=1e-9)
    with h5py.File(tmp_path / "a.hdf5") as file:
        group = file[f"{path}/reference_labels/lj[order=3]"]
        assert group.attrs["provenance.programs"][0].startswith("ase 3")
        assert orm.load_node(group.attrs["provenance.workflow_uuid"]).pk == labelled[1]


def test_delta_targets_are_the_same_from_nodes_and_from_a_file(succeed, finished, labelled, tmp_path):
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", "all")
    options = ("--reference", "lj[order=3]", "--delta", "--split", "0.6,0.2,0.2", "--gap", 0)
    succeed("export-xyz", finished.pk, "-o", tmp_path / "nodes", *options)
    succeed("export-xyz", tmp_path / "a.hdf5", "-o", tmp_path / "file", *options)
    dataset = read_dataset(tmp_path / "a.hdf5")
    expected = {
        entry.uids[row]: (labels["lj[order=3]"].energies - entry.configurations.energies)[row]
        for entry in entries_of(dataset)
        if (labels := dataset.references.get(entry.path))
        for row in range(len(entry.configurations))
    }
    shifts, found = {}, {}
    for name in ("train.xyz", "valid.xyz", "test.xyz"):
        pairs = zip(*(read(tmp_path / where / name, index=":") for where in ("nodes", "file")), strict=True)
        for node, entry in pairs:
            assert node.info["uid"] == entry.info["uid"]
            assert node.info["REF_energy"] == pytest.approx(entry.info["REF_energy"], abs=1e-9)
            chosen = shifts if node.info["config_type"] == "IsolatedAtom" else found
            chosen[node.info["uid"]] = node.info["REF_energy"]
    assert found == pytest.approx(expected, abs=1e-8)
    assert list(shifts) == ["isolated_Ar"]


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("export", ("--reference", "PBE/def2-SVP"), r"no cluster .*'PBE/def2-SVP'.*lj\[order=3\]"),
        ("export-xyz", ("--reference", "nothing"), "No cluster of the run has labels of 'nothing'"),
        ("export-xyz", ("--reference", "lj[order=3]", "--labels", "x.xyz"), "two sources of targets"),
        ("export-xyz", ("--delta",), "needs --labels or --reference"),
    ],
)
def test_wrong_references_are_one_line(fail, finished, labelled, tmp_path, command, arguments, message):
    assert re.search(message, fail(command, finished.pk, "-o", tmp_path / "out", *arguments), re.IGNORECASE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "PBE"), "or method/basis"),
        (("--counterpoise", "vmfc"), "give order as well"),
        (("--order", "2", "--counterpoise", "cp"), "tblite has none"),
        (("--sizes", "9"), r"no clusters of sizes = \[9\]"),
        (("--method", "PBE-D4/def2-MIX"), "does not exist"),
        (("--settings", "/nowhere/file.yaml"), "cannot be read"),
    ],
)
def test_mistakes_are_one_line(fail, finished, arguments, message):
    assert re.search(message, fail("reference", "plan", finished.pk, *arguments))


def test_options_need_a_code(fail, finished, settings_file):
    assert "give --code as well" in fail("reference", "run", finished.pk, "--options", settings_file)
