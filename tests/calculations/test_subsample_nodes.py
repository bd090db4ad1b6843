"""Several clusters of a size through a WorkChain and its dataset, and frames chosen from finished runs."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import ARGON_SETTINGS, LENNARD_JONES
from ase.build import bulk
from click.testing import CliRunner

from aiida_mbetrain.calculations.functions.subsampling import subsample, subsample_inputs
from aiida_mbetrain.cli import main
from aiida_mbetrain.data.cluster_set import ClusterSetData, link_label
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes
from aiida_mbetrain.datasets.hdf5 import read_dataset, write_dataset
from aiida_mbetrain.errors import FeaturesMissing, InvalidSettings, NotEnoughFrames
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.settings import Subsampling
from aiida_mbetrain.workflows.md_sampling import MDSamplingWorkChain


@pytest.fixture(scope="module")
def run(profile) -> orm.WorkChainNode:
    """Molecular dynamics of argon with three clusters of each size."""
    return sampled("Ar")


def sampled(element: str) -> orm.WorkChainNode:
    """Molecular dynamics of a crystal of atoms."""
    settings = ARGON_SETTINGS["md_sampling"] | {
        "finite_subsystem_filter": {"n_molecules": [1, 2], "clusters_per_size": 3}
    }
    _, node = run_get_node(
        MDSamplingWorkChain,
        structure=orm.StructureData(ase=bulk(element, "fcc", a=5.26)),
        model=orm.Dict(LENNARD_JONES),
        settings=orm.Dict(settings),
    )
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


def with_features(frames: Configurations, seed: int) -> Configurations:
    features = np.random.default_rng(seed).normal(size=(frames.n_frames, frames.n_atoms, 5))
    return frames.with_(features=features)


def sets_with_features() -> dict[str, orm.Data]:
    """A trajectory of ten frames and a cluster set of eight."""
    rng = np.random.default_rng(0)
    cells = np.repeat(8 * np.eye(3)[None], 10, axis=0)
    periodic = Configurations([18, 18], rng.normal(size=(10, 2, 3)), cells=cells, origin={"md_step": np.arange(10)})
    finite = Configurations([18, 18], rng.normal(size=(8, 2, 3)), origin={"mode": np.arange(8)})
    cluster = Cluster("n=2,c=2", np.array([0, 1]), np.zeros((2, 3), int), 0, "0123456789ab", 12)
    return {
        "md": as_node(with_features(periodic, 1)),
        "pairs": as_node(ClusterSet(cluster, with_features(finite, 2))),
    }


def test_clusters_of_a_size_are_outputs_of_their_own(run):
    labels = set(run.outputs.clusters)
    assert labels == {"n_1", "n_1_c_2", "n_1_c_3", "n_2", "n_2_c_2", "n_2_c_3"}
    pair = run.outputs.clusters.n_2.base.attributes
    assert (pair.get("key"), pair.get("multiplicity")) == ("n=2", 12)
    assert len(pair.get("orbit")) == 12


def test_clusters_of_a_size_are_groups_of_the_dataset(run, tmp_path: Path):
    write_dataset(tmp_path / "set.hdf5", dataset_of(stage_nodes([run])))
    molecules = read_dataset(tmp_path / "set.hdf5").md[0].molecules
    assert molecules is not None
    written = {link_label(item.cluster.key): item.cluster for item in molecules.clusters}
    assert list(written) == ["n_1", "n_1_c_2", "n_1_c_3", "n_2", "n_2_c_2", "n_2_c_3"]
    for label, cluster in written.items():
        node = as_science(run.outputs.clusters[label]).cluster
        assert (cluster.orbit, cluster.multiplicity) == (node.orbit, node.multiplicity)


@pytest.mark.parametrize(("key", "label"), [("n=3", "n_3"), ("r=6.50", "r_6_50"), ("n=3,c=2", "n_3_c_2")])
def test_keys_become_identifiers(key, label):
    assert link_label(key) == label


def test_picked_frames_are_nodes_of_the_same_types():
    sets = sets_with_features()
    settings = orm.Dict(Subsampling(n_frames=11).to_dict())
    outputs, node = subsample.run_get_node(settings, **sets)
    assert node.is_finished_ok, node.exit_message
    assert set(outputs) == {"md", "pairs", "picks", "report"}
    assert isinstance(outputs["md"], orm.TrajectoryData)
    assert isinstance(outputs["pairs"], ClusterSetData)
    assert outputs["pairs"].key == "n=2,c=2"
    rows, names = outputs["picks"].get_array("row"), outputs["picks"].get_array("set")
    assert len(rows) == 11
    for name in sets:
        kept, source = (as_science(n[name]) for n in (outputs, sets))
        if name == "pairs":
            kept, source = kept.configurations, source.configurations
        ranks = kept.origin["pick_rank"]
        np.testing.assert_array_equal(names[ranks], name)
        np.testing.assert_array_equal(kept.positions, source.positions[rows[ranks]])
        np.testing.assert_array_equal(kept.origin["pick_reason"], outputs["picks"].get_array("reason")[ranks])
    report = outputs["report"].get_dict()
    assert report["n_picked"] == 11
    assert sum(stratum["picked"] for stratum in report["strata"].values()) == 11


def test_refusals_are_exit_codes():
    sets = sets_with_features()
    _, node = subsample.run_get_node(orm.Dict({"n_frames": 19}), **sets)
    assert (node.exit_status, "18 distinct frames" in node.exit_message) == (NotEnoughFrames.code, True)
    bare = as_node(as_science(sets["md"]).with_(features=None))
    _, node = subsample.run_get_node(orm.Dict({"n_frames": 3}), md=bare)
    assert (node.exit_status, "label" in node.exit_message) == (FeaturesMissing.code, True)
    _, node = subsample.run_get_node(orm.Dict({"n_frames": 3}), report=sets["md"])
    assert node.exit_status == InvalidSettings.code
    _, node = subsample.run_get_node(orm.Dict({"n_frames": 3}), md=orm.Dict({}))
    assert node.exit_status == InvalidSettings.code


def test_inputs_of_runs_are_named_by_stage_and_know_their_temperatures(run):
    inputs = subsample_inputs([run, run], crystal=False, n_frames=5)
    labels = sorted(run.outputs.clusters)
    names = [f"md_sampling_{label}" for label in labels] + [f"md_sampling_2_{label}" for label in labels]
    assert sorted(inputs) == sorted([*names, "settings"])
    assert inputs["settings"].get_dict()["temperatures_K"] == dict.fromkeys(names, 20.0)


def test_a_process_without_frames_is_refused():
    _, node = subsample.run_get_node(orm.Dict({"n_frames": 3}), **sets_with_features())
    with pytest.raises(InvalidSettings, match=r"subsample<\d+> holds no frames"):
        subsample_inputs([node], n_frames=3)


def test_command_picks_and_says_what(run):
    result = CliRunner().invoke(main, ["subsample", str(run.pk), "-n", "9", "--method", "random", "--seed", "3"])
    assert result.exit_code == 0, result.output
    assert "9 of 28 frames: 9 random" in result.output
    query = orm.QueryBuilder().append(orm.CalcFunctionNode, filters={"attributes.process_label": "subsample"})
    node = max(query.all(flat=True), key=lambda found: found.pk)
    assert f"subsample<{node.pk}>" in result.output
    assert node.inputs.settings.get_dict()["rng_seed"] == 3


def test_command_refuses_in_one_line(run):
    for arguments, said in ((["-n", "5"], "no feature vectors"), (["-n", "99", "--method", "random"], "distinct")):
        result = CliRunner().invoke(main, ["subsample", str(run.pk), *arguments])
        assert result.exit_code == 1
        assert said in result.output
        assert "Traceback" not in result.output


def test_crystals_of_different_elements_are_refused_in_one_line(run):
    other = sampled("Kr")
    result = CliRunner().invoke(main, ["subsample", str(run.pk), str(other.pk), "-n", "5", "--method", "random"])
    assert result.exit_code == 1
    assert f"md_sampling<{run.pk}> has Ar; md_sampling_2<{other.pk}> has Kr" in result.output
    assert "Traceback" not in result.output


def test_picked_frames_are_exported_with_their_uids(run, tmp_path: Path):
    """Geometries alone: the picked frames have the uids that they have in the export of everything."""
    inputs = subsample_inputs([run], n_frames=8, method="random")
    _, node = subsample.run_get_node(**inputs)
    for folder, more in (("all", []), ("picked", ["--picks", str(node.pk)])):
        arguments = ["export-xyz", str(run.pk), "--no-labels", "-o", str(tmp_path / folder), *more]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    found = {
        folder: {
            atoms.info["uid"]: atoms.positions
            for path in (tmp_path / folder).glob("*.xyz")
            for atoms in ase.io.iread(path, index=":")
            if not atoms.info["uid"].startswith("isolated")
        }
        for folder in ("all", "picked")
    }
    assert len(found["picked"]) == 8
    assert len(found["all"]) == 28
    picked = sum(node.outputs[name].get_array("positions").shape[0] for name in inputs if name in node.outputs)
    assert picked == 8
    for uid, positions in found["picked"].items():
        np.testing.assert_array_equal(positions, found["all"][uid])


def test_picks_of_something_else_are_refused(run, tmp_path: Path):
    _, other = subsample.run_get_node(orm.Dict({"n_frames": 3}), **sets_with_features())
    for picks, said in ((other.pk, "None of the picked frames"), (run.pk, "no finished subsample")):
        arguments = ["export-xyz", str(run.pk), "--no-labels", "-o", str(tmp_path), "--picks", str(picks)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1
        assert said in result.output
