"""Reference labels through AiiDA: in process and as jobs, shared by runs, with failures recorded."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from cluster_examples import shaken_clusters
from crystals import carbon_dioxide, oxalic_acid_dihydrate
from job_runs import assert_same_outputs, jobs_of, local_code

from aiida_mbetrain.calculations.functions.clusters import detect_molecules, extract_clusters
from aiida_mbetrain.calculations.functions.reference_labels import reference_labels
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.reference_labels import Fragments, backend_of, expand, split_by_cost
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import AseMethod, FiniteSubsystemFilter, ReferenceLabels, TbliteMethod


def settings(sigma=1.5, **others):
    """Each test has a method of its own, so that none finds the labels of another in the profile."""
    method = AseMethod(method="lj", parameters={"sigma": sigma})
    return ReferenceLabels(**({"method": method, "order": 2} | others))


@pytest.fixture(scope="module")
def clusters(profile):
    """Stored sets of dimers and trimers in two frames, and the crystal of each."""
    crystal, sets = shaken_clusters(carbon_dioxide(), [2, 3], n_frames=2)
    crystal_node = as_node(crystal).store()
    nodes = {f"n_{cluster.cluster.n_molecules}": as_node(cluster).store() for cluster in sets}
    return nodes, dict.fromkeys(nodes, crystal_node)


@pytest.fixture(scope="module")
def code(profile, tmp_path_factory):
    return local_code(tmp_path_factory.mktemp("reference"))


def run(clusters, wanted, **inputs):
    sets, crystals = clusters
    chain = WorkflowFactory("mbetrain.reference_labels_of_clusters")
    _, node = run_get_node(chain, sets=sets, crystals=crystals, settings=orm.Dict(wanted.to_dict()), **inputs)
    return node


def calculated(node):
    """Fragments that a run calculated itself."""
    labels = [child for child in node.called_descendants if child.process_label == "reference_labels"]
    return sum(len(child.inputs.fragments.get_array("ids")) for child in labels)


def test_energies_and_forces_are_those_of_the_clusters(clusters):
    node = run(clusters, settings())
    assert node.is_finished_ok, node.exit_message
    backend = backend_of(settings().method)
    for name, given in clusters[0].items():
        labelled = as_science(node.outputs.clusters[name]).configurations
        np.testing.assert_array_equal(labelled.origin["row"], [0, 1])
        assert node.outputs.clusters[name].base.attributes.get("level_of_theory") == "lj[order=2]"
        whole = expand({name: as_science(given)}, {name: as_science(clusters[1][name])}, settings(order=None)).fragments
        for frame in range(2):
            assert labelled.energies[frame] == pytest.approx(backend.evaluate(whole[frame]).energy, abs=1e-10)
        table = node.outputs.expansions[name]
        np.testing.assert_allclose(
            table.get_array("body_1_eV") + table.get_array("interaction_eV"), labelled.energies, atol=1e-10
        )
    assert node.outputs.missing.get_dict() == {"fragments": {}, "failures": {}}


def test_jobs_side_by_side_give_the_labels_that_this_process_gives(clusters, code):
    node = run(clusters, settings(1.55), code=code, n_jobs=orm.Int(2))
    assert node.is_finished_ok, node.exit_message
    jobs = jobs_of(node)
    assert len(jobs) == 2
    for job in jobs:
        here = reference_labels.run_get_node(fragments=job.inputs.fragments, settings=job.inputs.settings)[1]
        assert_same_outputs(here, job)
    again = run(clusters, settings(1.55))
    assert calculated(again) == 0
    assert_same_outputs(again, node)


def test_a_label_that_the_profile_has_is_not_calculated_again(clusters):
    sets, crystals = clusters
    first = run(({"n_2": sets["n_2"]}, {"n_2": crystals["n_2"]}), settings(1.6))
    second = run(clusters, settings(1.6))
    third = run(clusters, settings(1.6, order=3))
    n_all = len(third.outputs.labels.get_array("ids"))
    assert calculated(first) > 0
    assert calculated(first) + calculated(second) + calculated(third) == n_all
    assert calculated(run(clusters, settings(1.61))) == calculated(first) + calculated(second)


def test_only_picked_frames_are_calculated(clusters):
    """What is known is used all the same: the other frame of the pairs, labelled before, keeps its label."""
    sets, crystals = clusters
    wanted = settings(1.62)
    pairs = run(({"n_2": sets["n_2"]}, {"n_2": crystals["n_2"]}), wanted)
    picks = as_node(Table({"set": np.array(["n_3", "n_2", "md_sampling_frames"]), "row": np.array([1, 0, 7])}))
    node = run(clusters, wanted, picks=picks)
    assert node.is_finished_ok, node.exit_message
    rows = {name: as_science(found).configurations.origin["row"].tolist() for name, found in outputs(node).items()}
    assert rows == {"n_2": [0, 1], "n_3": [1]}
    assert node.outputs.missing["fragments"] == {}
    n_all = len(node.outputs.labels.get_array("ids"))
    assert 0 < calculated(node) < n_all - calculated(pairs)
    assert np.isfinite(node.outputs.labels.get_array("energies")).sum() == calculated(pairs) + calculated(node)


def outputs(node):
    return {name: node.outputs.clusters[name] for name in node.outputs.clusters}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"set": np.array(["n_9"]), "row": np.array([0])}, "picks has no frame of the sets n_2, n_3"),
        ({"set": np.array(["n_2"]), "row": np.array([2])}, "n_2 has 2 frames, and not the row 2"),
        ({"set": np.array(["n_2"]), "row": np.array([-1])}, "n_2 has 2 frames, and not the row -1"),
    ],
)
def test_picks_that_the_sets_do_not_have_are_named(clusters, columns, message):
    node = run(clusters, settings(1.64), picks=as_node(Table(columns)))
    assert node.exit_status == InvalidSettings.code
    assert message in node.exit_message


def test_the_crystal_is_found_in_the_history_of_a_set(profile):
    structure = orm.StructureData(ase=carbon_dioxide())
    rule = orm.Dict(FiniteSubsystemFilter(n_molecules=[1, 2]).to_dict())
    _, detected = detect_molecules.run_get_node(structure=structure, settings=rule)
    frames = as_node(Configurations.from_atoms(carbon_dioxide()))
    _, cut = extract_clusters.run_get_node(frames=frames, molecular_crystal=detected.outputs.result, settings=rule)
    sets = {name: cut.outputs[name] for name in cut.outputs}
    chain = WorkflowFactory("mbetrain.reference_labels_of_clusters")
    _, node = run_get_node(chain, sets=sets, settings=orm.Dict(settings(1.65).to_dict()))
    assert node.is_finished_ok, node.exit_message
    assert set(node.outputs.clusters) == {"n_1", "n_2"}


def test_a_set_without_history_asks_for_its_crystal(clusters):
    node = run((clusters[0], {}), settings(1.66))
    assert node.exit_status == InvalidSettings.code
    assert "give it as an input, under crystals" in node.exit_message


def test_impossible_charges_are_refused_before_anything_is_calculated(clusters):
    node = run(clusters, settings(1.67, charges={"CO2": 1}))
    assert node.exit_status == InvalidSettings.code
    assert "CO2 has 21 electrons" in node.exit_message
    assert not node.called


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": {"program": "orca", "method": "PBE0"}}, "orca is run elsewhere"),
        ({"order": 2, "counterpoise": "cp"}, "needs ghost atoms, and tblite has none"),
        ({"ordre": 2}, "did you mean 'order'"),
    ],
)
def test_settings_are_checked_by_the_port(clusters, values, message):
    sets, crystals = clusters
    chain = WorkflowFactory("mbetrain.reference_labels_of_clusters")
    with pytest.raises(ValueError, match=message):
        run_get_node(chain, sets=sets, crystals=crystals, settings=orm.Dict(values))


def test_failures_are_recorded_with_the_message_of_the_program(profile):
    """One cycle suffices for no molecule."""
    pytest.importorskip("tblite", reason="tblite is not installed")
    crystal, (dimers,) = shaken_clusters(oxalic_acid_dihydrate(), [2], n_frames=1)
    sets, crystals = {"n_2": as_node(dimers)}, {"n_2": as_node(crystal)}
    node = run((sets, crystals), ReferenceLabels(method=TbliteMethod(max_iterations=1)))
    assert node.exit_status == LabelsMissing.code
    assert "tblite" in node.exit_message
    labels = next(child for child in node.called_descendants if child.process_label == "reference_labels")
    assert labels.outputs.summary["n_failed"] == 1
    assert labels.outputs.labels.base.attributes.get("n_failed") == 1
    assert not labels.base.caching.is_valid_cache


HUNGRY = """
import os
import resource
import signal

import numpy as np
from ase.calculators.calculator import register_calculator_class
from ase.calculators.lj import LennardJones


class Hungry(LennardJones):
    def get_potential_energy(self, atoms=None, **kwargs):
        if len(atoms) == 6:
            in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**28, resource.RLIM_INFINITY))
            try:
                taken = []
                while True:
                    taken.append(np.ones(2**22))
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if len(atoms) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().get_potential_energy(atoms, **kwargs)


register_calculator_class("lj", Hungry)
"""
"""Module of a job whose calculator has no memory left for two molecules, and is killed for its memory by three."""


def test_calculations_that_exceed_the_memory_are_recorded_and_the_rest_goes_on(profile, code, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HUNGRY)
    crystal, sets = shaken_clusters(carbon_dioxide(), [1, 2, 3, 4], n_frames=1)
    nodes = {f"n_{cluster.cluster.n_molecules}": as_node(cluster) for cluster in sets}
    options = {
        "prepend_text": f'export PYTHONPATH="{tmp_path}:$PYTHONPATH"',
        "max_memory_kb": 2 * 1024**2,
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
    }
    node = run(
        (nodes, dict.fromkeys(nodes, as_node(crystal))),
        settings(1.68, order=None),
        code=code,
        reference_labels={"metadata": {"options": options}},
    )
    assert node.is_finished_ok, node.exit_message
    assert [job.exit_status for job in jobs_of(node)] == [310, 310, 0]
    assert set(node.outputs.clusters) == {"n_1", "n_4"}
    missing = node.outputs.missing.get_dict()
    reasons = {name: missing["failures"][ids["0"][0]] for name, ids in missing["fragments"].items()}
    assert "out of memory of 1638 MB (Unable to allocate" in reasons["n_2"]
    assert "killed 2 times in the midst of the calculation" in reasons["n_3"]
    assert "the program was given 1638 MB" in reasons["n_3"]


SLOW = """
import os
import signal
import threading
import time

from ase.calculators.calculator import register_calculator_class
from ase.calculators.lj import LennardJones

scheduler = threading.Timer(float(os.environ["SCHEDULER_SECONDS"]), os.kill, (os.getpid(), signal.SIGKILL))
scheduler.daemon = True
scheduler.start()


class Slow(LennardJones):
    def get_potential_energy(self, atoms=None, **kwargs):
        if len(atoms) == 3:
            time.sleep(float(os.environ["CALCULATION_SECONDS"]))
        return super().get_potential_energy(atoms, **kwargs)


register_calculator_class("lj", Slow)
"""
"""Module of a job that is killed at its walltime, with a calculator that is slow for one molecule."""


def test_a_calculation_longer_than_the_walltime_is_recorded_and_tried_again_with_more(profile, code, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    crystal, sets = shaken_clusters(carbon_dioxide(), [1, 2], n_frames=1)
    nodes = {f"n_{cluster.cluster.n_molecules}": as_node(cluster) for cluster in sets}

    def labelled(walltime_s, calculation_s):
        variables = {"PYTHONPATH": f"{tmp_path}:$PYTHONPATH", "SCHEDULER_SECONDS": walltime_s}
        variables["CALCULATION_SECONDS"] = calculation_s
        options = {
            "prepend_text": "\n".join(f'export {name}="{value}"' for name, value in variables.items()),
            "max_wallclock_seconds": walltime_s,
            "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        }
        sets_and_crystals = (nodes, dict.fromkeys(nodes, as_node(crystal)))
        job = {"metadata": {"options": options}}
        return run(sets_and_crystals, settings(1.69, order=None), code=code, reference_labels=job)

    node = labelled(walltime_s=12, calculation_s=600)
    assert node.is_finished_ok, node.exit_message
    assert [job.exit_status for job in jobs_of(node)] == [310, 0]
    assert not jobs_of(node)[1].base.caching.is_valid_cache
    assert set(node.outputs.clusters) == {"n_2"}
    missing = node.outputs.missing.get_dict()
    reason = missing["failures"][missing["fragments"]["n_1"]["0"][0]]
    assert reason.startswith("out of walltime")
    assert "max_wallclock_seconds = 12" in reason
    assert set(labelled(walltime_s=120, calculation_s=0).outputs.clusters) == {"n_1", "n_2"}


def test_bundles_have_about_equal_cost_and_every_fragment_once():
    crystal, sets = shaken_clusters(carbon_dioxide(), [3], n_frames=5)
    fragments = expand({"n": sets[0]}, {"n": crystal}, settings(order=3)).fragments
    bundles = split_by_cost(fragments, 3)
    ids = np.concatenate([bundle.ids for bundle in bundles])
    assert sorted(ids) == sorted(fragments.ids)
    costs = [float((bundle.n_atoms.astype(float) ** 3).sum()) for bundle in bundles]
    assert max(costs) < 4 / 3 * min(costs)
    assert split_by_cost(fragments.select([]), 3) == []
    assert len(split_by_cost(fragments.select([0, 1]), 3)) == 2
    assert isinstance(bundles[0], Fragments)
