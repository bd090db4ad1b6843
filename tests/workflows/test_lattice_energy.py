"""Lattice energy through AiiDA: in process and as jobs, against the energy of the periodic crystal itself."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import WorkflowFactory
from ase.calculators.lj import LennardJones
from crystals import carbon_dioxide
from job_runs import jobs_of, local_code

from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.settings import AseMethod, ReferenceLabels, TbliteMethod

CUTOFF = 4.0
BASELINE = {"sigma": 1.2, "epsilon": 0.5, "rc": CUTOFF}


def reference(sigma):
    """A pairwise potential of the baseline's range; each test has one that no other has labelled."""
    return {"sigma": sigma, "epsilon": 0.8, "rc": CUTOFF}


def run(settings, *, cutoffs=None, model=None, **inputs):
    chain = WorkflowFactory("mbetrain.lattice_energy")
    _, node = run_get_node(
        chain,
        structure=orm.StructureData(ase=carbon_dioxide()),
        model=orm.Dict(model or {"name": "lennard_jones", "parameters": BASELINE}),
        settings=orm.Dict(settings.to_dict()),
        cutoffs=orm.Dict(cutoffs or {"2": CUTOFF}),
        **inputs,
    )
    return node


def with_lennard_jones(sigma):
    return ReferenceLabels(method=AseMethod(method="lj", parameters=reference(sigma)))


def energy_of_crystal(parameters):
    """The exact sum over the periodic crystal."""
    atoms = carbon_dioxide()
    atoms.calc = LennardJones(**parameters)
    return float(atoms.get_potential_energy())


@pytest.fixture(scope="module", autouse=True)
def _loaded(profile):
    """The profile of tests/conftest.py."""


def test_a_pairwise_reference_has_its_own_periodic_energy():
    node = run(with_lennard_jones(1.3))
    assert node.is_finished_ok, node.exit_message
    summary = node.outputs.summary.get_dict()
    assert summary["crystal_energy_eV"] == pytest.approx(energy_of_crystal(reference(1.3)), abs=1e-8)
    assert abs(energy_of_crystal(reference(1.3)) - energy_of_crystal(BASELINE)) > 0.1
    rows = node.outputs.convergence
    assert rows.get_array("lattice_energy_eV")[-1] == pytest.approx(summary["lattice_energy_eV"], abs=1e-12)
    assert summary["n_molecules"] == 4


def test_jobs_give_the_energy_that_this_process_gives(tmp_path):
    code = local_code(tmp_path)
    triples = {"2": CUTOFF, "3": 3.2}
    node = run(with_lennard_jones(1.35), cutoffs=triples, code=code, n_jobs=orm.Int(2))
    assert node.is_finished_ok, node.exit_message
    assert len(jobs_of(node)) == 2
    again = run(with_lennard_jones(1.35), cutoffs=triples)
    assert not any(child.process_label == "reference_labels" for child in again.called)
    counts = again.outputs.counts.get_dict()
    assert counts["n_known"] == counts["n_fragments"] > 2
    np.testing.assert_array_equal(
        again.outputs.convergence.get_array("lattice_energy_eV"),
        node.outputs.convergence.get_array("lattice_energy_eV"),
    )
    assert node.outputs.summary["crystal_energy_eV"] == pytest.approx(energy_of_crystal(reference(1.35)), abs=1e-8)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({"cutoffs": {"2": 4.0, "3": 5.0}}, InvalidSettings, "not growing with it"),
        ({"cutoffs": {"pairs": 4.0}}, InvalidSettings, "give Å by number of molecules"),
    ],
)
def test_bad_input_is_refused_before_anything_is_calculated(inputs, error, message):
    node = run(with_lennard_jones(1.36), **inputs)
    assert node.exit_status == error.code
    assert message in node.exit_message
    assert not any(child.process_label == "reference_labels" for child in node.called)


def test_a_fragment_that_does_not_converge_is_named():
    pytest.importorskip("tblite", reason="tblite is not installed")
    node = run(ReferenceLabels(method=TbliteMethod(max_iterations=1)), cutoffs={"2": 2.5})
    assert node.exit_status == LabelsMissing.code
    assert "The reference lacks" in node.exit_message
    assert "tblite" in node.exit_message
