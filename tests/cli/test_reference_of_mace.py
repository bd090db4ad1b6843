"""Reference labels of a training set that a MACE model made, by GFN2-xTB, from the plan to the files of a trainer."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import merged
from ase import Atoms
from ase.io import read
from shortened import SHORT

from aiida_mbetrain import demo
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.datasets.hdf5 import read_dataset
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

tblite = pytest.importorskip("tblite.ase", reason="tblite is not installed")

METHOD = ("--method", "GFN2-xTB", "--sizes", "1,2")
NAME = "GFN2-xTB"


@pytest.fixture(scope="module")
def training_set(profile):
    """The demo's crystal and model in one unit cell for some femtoseconds."""
    short = {name: value for name, value in SHORT.items() if name != "description"}
    rule = {"finite_subsystem_filter": {"n_molecules": [1, 2]}}
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=demo.crystal()),
        MaceModelData(file=str(demo.model_path())),
        protocol="fast",
        overrides=merged(short, {"md_sampling": rule, "phonon_sampling": rule}),
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


@pytest.mark.slow
def test_labels_of_gfn2_from_the_plan_to_the_files_of_a_trainer(training_set, succeed, tmp_path):
    pk = training_set.pk
    plan = succeed("reference", "plan", pk, *METHOD, "--budget", 5)
    assert re.search(r"core-hours +0\.0", plan)
    said = succeed("reference", "run", pk, *METHOD)
    assert re.search(r"ReferenceLabelsWorkChain<\d+>: GFN2-xTB by tblite [\d.]+", said)
    assert "failed" not in said
    assert re.search(r"to be calculated +0$", succeed("reference", "plan", pk, *METHOD), re.MULTILINE)
    for row in re.findall(r"n_\d+[^\n]*", succeed("reference", "status", pk, *METHOD)):
        frames, labelled, _, missing = map(int, re.findall(r"(?<![_\d])\d+", row)[-4:])
        assert (labelled, missing) == (frames, 0)
    lacking = json.loads(succeed("query", "unlabelled", pk, NAME, "--format", "json"))
    assert lacking
    assert all(row["n_labelled"] == row["n_frames"] for row in lacking)

    path = tmp_path / "set.hdf5"
    succeed("export", pk, "-o", path, "--reference", NAME)
    dataset = read_dataset(path)
    assert len(dataset.references) == len(dataset.cluster_sets)
    for entry, found in dataset.references.items():
        atoms = dataset.cluster_sets[entry].configurations.to_atoms()[0]
        energy, forces = by_tblite(atoms)
        assert found[NAME].energies[0] == pytest.approx(energy, abs=1e-5)
        np.testing.assert_allclose(found[NAME].forces[0], forces, atol=1e-4)
        trace = succeed("trace", path, entry, 0, "--reference", NAME)
        assert "reference_labels<" in trace
        assert "tblite" in trace

    succeed("export-xyz", pk, "-o", tmp_path / "delta", "--reference", NAME, "--delta", "--split", "1,0,0")
    targets = {atoms.info["uid"]: atoms for atoms in read(tmp_path / "delta" / "train.xyz", index=":")}
    (isolated,) = {name for name in targets if name == "isolated_H"}
    assert np.isfinite(targets[isolated].info["REF_energy"])
    clusters = [atoms for atoms in targets.values() if len(atoms) >= 22]
    assert {len(atoms) for atoms in clusters} == {22, 44}
    shifts = {name.removeprefix("isolated_"): atoms.info["REF_energy"] for name, atoms in targets.items()
              if name.startswith("isolated_")}  # fmt: skip
    left = [atoms.info["REF_energy"] - sum(shifts[s] for s in atoms.symbols) for atoms in clusters]
    assert np.std(left) < 0.5
    assert np.ptp(left) > 1e-3


def by_tblite(atoms: Atoms) -> tuple[float, np.ndarray]:
    """ASE's interface of tblite, which the backend does not use."""
    atoms.calc = tblite.TBLite(method="GFN2-xTB", verbosity=0)
    return float(atoms.get_potential_energy()), atoms.get_forces()
