"""Reference labels from the command line."""

from __future__ import annotations

import json
import re

import h5py
import numpy as np
import pytest
import yaml
from aiida import orm
from ase import Atoms, units
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
    assert re.search(r"ReferenceLabelsWorkChain<\d+>: lj\[order=2\] by ase 3", said)
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


def test_sources_and_a_subsample_choose_the_clusters(succeed, fail, finished, tmp_path):
    """Frames that were not picked stay without a label, and those of a whole set later are only what is left."""
    path = tmp_path / "reference.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": 3.35}}}))
    arguments = (finished.pk, "--settings", path, "--order", 4, "--sizes", 2)
    plan = ("reference", "plan", *arguments, "--no-measure")
    n_md, n_phonons, n_both = (
        count(succeed(*plan, *options), "clusters")
        for options in (("--sources", "md"), ("--sources", "phonons"), ("--sources", "md,phonons"))
    )
    assert min(n_md, n_phonons) > 0
    assert n_md + n_phonons == n_both == count(succeed(*plan), "clusters")
    strata = ("--stratify-by", "source", "--stratify-by", "size")
    said = succeed("subsample", finished.pk, "-n", 12, "--method", "random", "--no-crystal", *strata)
    pk = re.findall(r"subsample<(\d+)>", said)[0]
    picked = orm.load_node(int(pk))
    n_picked = {
        name: int(np.count_nonzero(picked.outputs.picks.get_array("set") == name)) for name in picked_pairs(picked)
    }
    assert 1 < sum(n_picked.values()) < n_both
    assert count(succeed(*plan, "--picks", pk), "clusters") == sum(n_picked.values())
    said = succeed("reference", "run", *arguments, "--picks", pk)
    found = re.search(r"ReferenceLabelsWorkChain<(\d+)>", said)
    assert found is not None
    chain = orm.load_node(int(found[1]))
    assert chain.inputs.picks.uuid == picked.outputs.picks.uuid
    assert chain.outputs.missing.get_dict() == {"fragments": {}, "failures": {}}
    assert count(succeed(*plan, "--picks", pk), "to be calculated") == 0
    assert count(succeed(*plan), "to be calculated") > 0
    rows = json.loads(succeed("query", "unlabelled", finished.pk, "lj[order=4]", "--format", "json"))
    # phonons move some pairs as a whole: frames that were not picked, of the same one calculation
    assert sum(n_picked.values()) <= sum(row["n_labelled"] for row in rows) < n_both
    refused = fail(*plan, "--picks", finished.pk)
    assert "is no finished subsample: give what it printed" in refused
    assert "`reference lattice` is for the static crystal" in fail(*plan, "--sources", "static")
    assert re.search(rf"no clusters of sizes = \[7\], picks = \[{pk}\]", fail(*plan, "--picks", pk, "--sizes", 7))


def picked_pairs(choice):
    """Names of the sets of pairs that frames were picked from."""
    names = np.unique(choice.outputs.picks.get_array("set")).tolist()
    return [name for name in names if choice.inputs[name].base.attributes.get("n_molecules") == 2]


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


def test_a_report_shows_the_labels_of_a_method(succeed, fail, finished, labelled, tmp_path):
    page = tmp_path / "report.html"
    succeed("report", finished.pk, "-o", page, "--reference", labelled[1])
    text = page.read_text("utf-8")
    assert 'id="reference"' in text
    assert "lj[order=3]" in text
    succeed("report", finished.pk, "-o", page)
    assert 'id="reference"' not in page.read_text("utf-8")
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", labelled[1])
    succeed("report", tmp_path / "a.hdf5", "-o", page)
    assert 'id="reference"' in page.read_text("utf-8")
    refused = fail("report", tmp_path / "a.hdf5", "-o", page, "--reference", labelled[1])
    assert "is a file and shows those it has" in refused


def test_a_label_leads_to_its_fragments_jobs_and_programs(succeed, fail, finished, labelled, tmp_path):
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", "all")
    entry = "training/md_sampling/crystal[dyn:T=20.00]/finite_subsystems/n=2"
    said = " ".join(succeed("trace", tmp_path / "a.hdf5", entry, 0, "--reference", "lj[order=3]").split())
    dataset = read_dataset(tmp_path / "a.hdf5")
    energy = dataset.references[entry]["lj[order=3]"].energies[0]
    assert f"energy_eV = {energy:g}" in said
    assert re.search(r"programs = \['ase 3", said)
    assert len(re.findall(r"-?[01] × molecules \([0-9, ]+\).*?reference_labels<\d+>", said)) == 3
    assert "has labels of lj[order=" in fail("trace", tmp_path / "a.hdf5", entry, 0, "--reference", "PBE")


def test_clusters_that_lack_labels_of_a_method_are_listed(succeed, finished, labelled, tmp_path):
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", labelled[1])
    for source in (finished.pk, tmp_path / "a.hdf5"):
        rows = json.loads(succeed("query", "unlabelled", source, "lj[order=3]", "--format", "json"))
        found = {row["entry"].rpartition("=")[2]: row for row in rows}
        assert {size for size, row in found.items() if row["n_labelled"] < row["n_frames"]} == {"3"}
        assert found["3"]["unlabelled"] == f"0-{found['3']['n_frames'] - 1}"
        assert found["2"]["unlabelled"] == ""
    rows = json.loads(succeed("query", "unlabelled", finished.pk, "CCSD(T)/cc-pVTZ", "--format", "json"))
    assert {row["n_labelled"] for row in rows} == {0}


def test_delta_targets_are_the_same_from_nodes_and_from_a_file(succeed, finished, labelled, tmp_path):
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", "all")
    options = ("--reference", "lj[order=3]", "--delta", "--split", "0.6,0.2,0.2", "--gap", 0)
    succeed("export-xyz", finished.pk, "-o", tmp_path / "nodes", *options)
    succeed("export-xyz", tmp_path / "a.hdf5", "-o", tmp_path / "file", *options)
    dataset = read_dataset(tmp_path / "a.hdf5")
    expected = {
        entry.uids[row]: (labels.energies - entry.configurations.energies)[row]
        for entry in entries_of(dataset)
        if (labels := dataset.references.get(entry.path, {}).get("lj[order=3]"))
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


ELSEWHERE = {"program": "external", "code": "my program", "method": "lj"}


def test_calculations_elsewhere_come_back_as_labels(succeed, fail, finished, tmp_path):
    """Some rows of a table first, then all; one calculation fails and its clusters have no label."""
    settings, folder = tmp_path / "elsewhere.yaml", tmp_path / "inputs"
    settings.write_text(yaml.safe_dump({"method": ELSEWHERE, "order": 2}))
    arguments = (finished.pk, "--settings", settings, "--sizes", "1,2")
    assert "is run elsewhere" in fail("reference", "run", *arguments)
    succeed("reference", "export", *arguments, "-o", folder)
    assert "no output yet" in fail("reference", "import", folder, finished.pk)
    inputs = {
        path.stem: json.loads(path.read_text()) for path in folder.glob("*.json") if path.name != "reference.json"
    }
    rows = [row_of_lennard_jones(name, content) for name, content in sorted(inputs.items())]
    head = "id,energy_eV,forces_eV_per_A,program,message"
    (folder / "results.csv").write_text("\n".join([head, *rows[:-1], f"{rows[-1].split(',')[0]},,,,no memory"]))
    said = succeed("reference", "import", folder, finished.pk, "--sizes", "1,2")
    assert "no memory" in said
    assert "lj[order=2] by my program 1.5" in said
    waiting = succeed("reference", "status", finished.pk, "--folder", folder, "--sizes", "1,2")
    assert re.search(rf"{len(rows)} of {len(rows)} calculations have an output", waiting)
    assert "no memory" in waiting
    (folder / "results.csv").write_text("\n".join([head, *rows]))
    succeed("reference", "import", folder, finished.pk, "--sizes", "1,2")
    assert "nothing to calculate" in succeed("reference", "export", *arguments, "-o", tmp_path / "again")
    run = (
        orm.QueryBuilder()
        .append(orm.WorkChainNode, filters={"attributes.process_label": CHAIN})
        .order_by({orm.WorkChainNode: {"ctime": "desc"}})
    )
    node = run.first(flat=True)
    succeed("export", finished.pk, "-o", tmp_path / "a.hdf5", "--reference", node.pk)
    dataset = read_dataset(tmp_path / "a.hdf5")
    for path, by_method in dataset.references.items():
        (labels,) = by_method.values()
        for row, atoms in enumerate(dataset.cluster_sets[path].configurations.to_atoms()):
            atoms.calc = LennardJones(sigma=3.0)
            assert labels.energies[row] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
            np.testing.assert_allclose(labels.forces[row], atoms.get_forces(), atol=1e-7)


CHAIN = "ReferenceLabelsWorkChain"


def row_of_lennard_jones(name, content):
    molecule = content["molecule"]
    positions = np.reshape(molecule["geometry"], (-1, 3)) * units.Bohr
    atoms = Atoms(molecule["symbols"], positions, calculator=LennardJones(sigma=3.0))
    forces = " ".join(map(repr, atoms.get_forces().ravel().tolist()))
    return f"{name},{float(atoms.get_potential_energy())!r},{forces},my program 1.5,"


def test_the_lattice_energy_of_the_baseline_itself_is_that_of_its_periodic_crystal(succeed, fail, finished, tmp_path):
    """Reference and baseline are one potential: every difference is zero, whatever the cutoffs."""
    parameters = finished.inputs.model.get_dict()["parameters"]
    path = tmp_path / "same.yaml"
    path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": parameters}}))
    arguments = (finished.pk, "--settings", path, "-o", tmp_path / "energy")
    said = succeed("reference", "lattice", *arguments, "--cutoffs", "2:6,3:4")
    baseline, reference = (float(word) for word in re.findall(r"(-?[\d.]+) kJ/mol", said))
    assert reference == pytest.approx(baseline, abs=2e-3)
    assert baseline < -1.0
    rows = (tmp_path / "energy.csv").read_text().splitlines()
    assert rows[0].startswith("order,extent_A,clusters_per_cell")
    assert {row.split(",")[0] for row in rows[1:]} == {"1", "2", "3"}
    assert (tmp_path / "energy.png").stat().st_size > 5000
    again = succeed("reference", "lattice", *arguments, "--cutoffs", "2:6,3:4")
    count_of = re.search(r"(\d+) fragments, (\d+) known", again)
    assert count_of is not None
    assert count_of[1] == count_of[2]
    assert "not growing with it" in fail("reference", "lattice", *arguments, "--cutoffs", "2:4,3:6")
    assert "such as 2:10,3:6" in fail("reference", "lattice", *arguments, "--cutoffs", "pairs")


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
    lattice = ("reference", "lattice", finished.pk, "--method", "GFN2-xTB", "--cutoffs", "2:5")
    assert "give --code as well" in fail(*lattice, "--options", settings_file)


def test_a_lattice_energy_is_calculated_by_programs_of_this_project(fail, finished, tmp_path):
    path = tmp_path / "elsewhere.yaml"
    path.write_text(yaml.safe_dump({"method": ELSEWHERE}))
    said = fail("reference", "lattice", finished.pk, "--settings", path, "--cutoffs", "2:5")
    assert "external is run elsewhere: give one of" in said


def test_a_name_of_labels_with_different_settings_is_refused_until_a_pk_says_which(succeed, fail, finished, tmp_path):
    """Lennard-Jones of two radii has one name."""
    pks = []
    for sigma in (2.8, 2.9):
        path = tmp_path / f"{sigma}.yaml"
        path.write_text(yaml.safe_dump({"method": {"program": "ase", "method": "lj", "parameters": {"sigma": sigma}}}))
        said = succeed("reference", "run", finished.pk, "--settings", path, "--order", 1, "--sizes", "2")
        found = re.search(r"ReferenceLabelsWorkChain<(\d+)>", said)
        assert found is not None
        pks.append(found[1])
    for command in (("export",), ("export-xyz", "--delta")):
        refused = fail(*command, finished.pk, "-o", tmp_path / "out", "--reference", "lj[order=1]")
        assert f"lj[order=1] names labels with different settings: give the pk of one of {', '.join(pks)}" in refused
    hashes = set()
    for pk in pks:
        path = tmp_path / f"{pk}.hdf5"
        succeed("export", finished.pk, "-o", path, "--reference", pk)
        hashes |= {item["lj[order=1]"].method_hash for item in read_dataset(path).references.values()}
    assert len(hashes) == 2
