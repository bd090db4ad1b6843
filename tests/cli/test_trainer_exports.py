"""From the nodes of a finished run to a trainer and back: the commands as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from aiida import orm
from ase import Atoms
from ase.io import read, write
from commands import call, one_line
from mace.data import Configuration
from mace_loader import load_folder
from numpy.typing import NDArray

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset


@pytest.fixture(scope="module")
def hdf5(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set") / "set.hdf5"
    write_dataset(path, dataset_of(stage_nodes(stages_of(finished))))
    return path


@pytest.fixture(scope="module")
def labelled(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Energies 0.5 eV above those of a harmless potential, on every frame but one."""
    folder = tmp_path_factory.mktemp("labels")
    call("export-xyz", finished.pk, "-o", folder, "--no-labels")
    frames = read(folder / "configurations.xyz", index=":")
    for atoms in frames:
        atoms.info["REF_energy"] = 1.5 * len(atoms)
        atoms.arrays["REF_forces"] = 0.25 * np.ones((len(atoms), 3))
    write(folder / "labelled.xyz", frames[:-1], format="extxyz")
    return folder / "labelled.xyz"


@pytest.fixture(scope="module")
def imported(finished, labelled: Path) -> orm.CalcFunctionNode:
    output = call("labels", "import", labelled, finished.pk, "--level-of-theory", "PBE0/def2-TZVP")
    return orm.load_node(int(output.partition("<")[2].partition(">")[0]))


def test_nodes_and_file_give_the_same_files(finished, hdf5: Path, tmp_path: Path):
    call("export-xyz", finished.pk, "-o", tmp_path / "nodes")
    call("export-xyz", hdf5, "-o", tmp_path / "file")
    names = sorted(path.name for path in (tmp_path / "nodes").iterdir())
    assert names == ["test.xyz", "train.xyz", "train.yaml", "valid.xyz"]
    for name in ("train.xyz", "valid.xyz", "test.xyz"):
        pairs = zip(*(read(tmp_path / where / name, index=":") for where in ("nodes", "file")), strict=True)
        for node, entry in pairs:
            assert node.info["uid"] == entry.info["uid"]
            assert np.array_equal(node.positions, entry.positions)
            assert np.array_equal(node.arrays["REF_forces"], entry.arrays["REF_forces"])
            # energies are per atom in the file
            assert node.info["REF_energy"] == pytest.approx(entry.info["REF_energy"], rel=1e-15)
    assert (tmp_path / "nodes" / "train.yaml").read_bytes() == (tmp_path / "file" / "train.yaml").read_bytes()


def test_e0s_of_a_named_calculator_are_single_atoms_in_it(finished, tmp_path: Path):
    call("export-xyz", finished.pk, "-o", tmp_path)
    assert yaml.safe_load(yaml.safe_load((tmp_path / "train.yaml").read_text())["E0s"]) == {18: 0.0}


def test_sources_and_sizes_are_chosen(finished, tmp_path: Path):
    call("export-xyz", finished.pk, "-o", tmp_path, "--sources", "phonons", "--sizes", "2,3", "--split", "1,0,0")
    kinds = {atoms.info["config_type"] for atoms in read(tmp_path / "train.xyz", index=":")}
    assert kinds == {"IsolatedAtom", "phonon_n_2", "phonon_n_3"}


def test_labels_become_nodes_with_their_level_of_theory(finished, imported):
    found = {link.link_label: link.node for link in imported.base.links.get_outgoing(node_class=orm.Data).all()}
    assert {"md_n_1", "md_n_2", "md_n_3", "md_crystal", "phonon_n_2", "phonon_crystal", "e0s"} <= set(found)
    clusters = found["md_n_3"]
    assert clusters.base.attributes.get("level_of_theory") == "PBE0/def2-TZVP"
    assert clusters.get_array("energies").tolist() == [4.5] * 4
    assert found["e0s"].get_dict() == {"Ar": 1.5}
    ancestors = orm.QueryBuilder().append(orm.Node, filters={"id": clusters.pk}, tag="it")
    ancestors.append(orm.ProcessNode, with_descendants="it", project="attributes.process_label")
    assert {"molecular_dynamics", "import_labels"} <= set(ancestors.all(flat=True))


@pytest.mark.parametrize("from_nodes", [True, False])
def test_imported_labels_are_exported(finished, hdf5, imported, labelled, tmp_path: Path, from_nodes: bool):
    source, labels = (finished.pk, imported.pk) if from_nodes else (hdf5, labelled)
    call("export-xyz", source, "--labels", labels, "-o", tmp_path, "--split", "1,0,0", "--gap", "0")
    frames = read(tmp_path / "train.xyz", index=":")
    assert len(frames) == len(read(labelled, index=":"))
    assert all(atoms.info["REF_energy"] == 1.5 * len(atoms) for atoms in frames)


def test_labels_without_forces_are_marked_and_get_no_force_weight(finished, labelled, tmp_path: Path):
    frames = read(labelled, index=":")
    for atoms in frames:
        atoms.arrays.pop("REF_forces", None)
        atoms.calc = None
    write(tmp_path / "energies.xyz", frames, format="extxyz")
    told = call("labels", "import", tmp_path / "energies.xyz", finished.pk, "--level-of-theory", "CCSD(T)")
    n_frames = len([atoms for atoms in frames if atoms.info["config_type"] != "IsolatedAtom"])
    assert f"{n_frames} frames at CCSD(T), {n_frames} of them energies alone" in told
    process = orm.load_node(int(told.partition("<")[2].partition(">")[0]))
    found = {link.link_label: link.node for link in process.base.links.get_outgoing(node_class=orm.Data).all()}
    assert all(node.base.attributes.get("energy_only") for label, node in found.items() if label != "e0s")
    options = ("--labels", process.pk, "--delta", "--split", "1,0,0", "--gap", "0")
    call("export-xyz", finished.pk, *options, "-o", tmp_path / "delta")
    exported = [
        atoms for atoms in read(tmp_path / "delta" / "train.xyz", index=":") if "config_forces_weight" in atoms.info
    ]
    assert len(exported) == n_frames
    assert all(atoms.info["config_forces_weight"] == 0.0 for atoms in exported)
    assert not any("REF_forces" in atoms.arrays for atoms in exported)


def test_delta_targets_and_e0s_are_differences(finished, imported, tmp_path: Path):
    options = ("--split", "1,0,0", "--gap", "0", "--sizes", "3")
    call("export-xyz", finished.pk, "-o", tmp_path / "baseline", *options)
    call("export-xyz", finished.pk, "--labels", imported.pk, "--delta", "-o", tmp_path / "delta", *options)
    baseline = {atoms.info["uid"]: atoms for atoms in read(tmp_path / "baseline" / "train.xyz", index=":")}
    frames = read(tmp_path / "delta" / "train.xyz", index=":")
    for atoms in frames[1:]:
        before = baseline[atoms.info["uid"]]
        assert atoms.info["REF_energy"] == pytest.approx(4.5 - before.info["REF_energy"], abs=1e-12)
        assert np.allclose(atoms.arrays["REF_forces"], 0.25 - before.arrays["REF_forces"], atol=2e-8)
    assert frames[0].info["REF_energy"] == 1.5  # Lennard-Jones atoms have none


@pytest.fixture(scope="module")
def picked(finished) -> int:
    """The pk of a choice of nine frames."""
    output = call("subsample", finished.pk, "-n", 9, "--method", "random")
    return int(output.rpartition("subsample<")[2].partition(">")[0])


EXPORTS = {
    "nodes": ("PK",),
    "file": ("HDF5",),
    "a head": ("PK", "--head", "dft"),
    "a head from a file": ("HDF5", "--head", "dft", "--sources", "md"),
    "labels": ("PK", "--labels", "IMPORTED"),
    "labels for a file": ("HDF5", "--labels", "LABELLED"),
    "delta": ("PK", "--labels", "IMPORTED", "--delta"),
    "delta for a file": ("HDF5", "--labels", "LABELLED", "--delta"),
    "picks": ("PK", "--picks", "PICKED"),
    "picks of a file": ("HDF5", "--picks", "PICKED"),
    "clusters of a file": ("HDF5", "--sizes", "1,2,3"),
}


@pytest.mark.parametrize("split", ["1,0,0", "0.5,0.25,0.25"])
@pytest.mark.parametrize("case", EXPORTS)
def test_mace_reads_what_was_written(finished, hdf5, imported, labelled, picked, tmp_path: Path, case: str, split: str):
    """Every frame with its numbers, under its head, in its subset, whatever the export was made of."""
    known = {"PK": finished.pk, "HDF5": hdf5, "IMPORTED": imported.pk, "LABELLED": labelled, "PICKED": picked}
    arguments = [known.get(argument, argument) for argument in EXPORTS[case]]
    call("export-xyz", *arguments, "-o", tmp_path, "--split", split, "--gap", 0)
    [(head, loaded)] = load_folder(tmp_path).items()
    assert head == ("dft" if "--head" in arguments else "Default")
    assert loaded.e0s == {18: 1.5 if "--labels" in arguments else 0.0}
    subsets = {name: loaded.subsets[name] for name in ("train", "valid", "test") if (tmp_path / f"{name}.xyz").exists()}
    assert len(subsets) == (1 if split == "1,0,0" else 3)
    if len(subsets) == 1:  # MACE takes its validation set out of the training set
        subsets = {"train": loaded.everything}
    for name, configurations in subsets.items():
        written = [atoms for atoms in read(tmp_path / f"{name}.xyz", index=":") if not is_isolated(atoms)]
        assert len(configurations) == len(written) > 0
        assert sorted(map(facts_of_configuration, configurations)) == sorted(map(facts_of_atoms, written))
        assert {configuration.head for configuration in configurations} == {head}


def is_isolated(atoms: Atoms) -> bool:
    return atoms.info["config_type"] == "IsolatedAtom"


def facts_of_atoms(atoms: Atoms) -> tuple[object, ...]:
    stress = atoms.info.get("REF_stress")
    forces, where = atoms.arrays["REF_forces"].ravel().tolist(), atoms.positions.ravel().tolist()
    return (atoms.info["config_type"], float(atoms.info["REF_energy"]), where, forces, all(atoms.pbc), weighed(stress))


def facts_of_configuration(configuration: Configuration) -> tuple[object, ...]:
    properties, where = configuration.properties, configuration.positions.ravel().tolist()
    stress = properties["stress"] if configuration.property_weights["stress"] else None
    forces, energy = properties["forces"].ravel().tolist(), float(properties["energy"])
    return (configuration.config_type, energy, where, forces, all(configuration.pbc), weighed(stress))


def weighed(stress: NDArray | None) -> list[float]:
    """Nothing where the loss has no stress to fit."""
    return [] if stress is None else np.ravel(stress).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "head"), [("nodes", None), ("a head", "dft"), ("clusters of a file", None), ("delta", None)]
)
def test_two_epochs_of_mace_run_train(finished, hdf5, imported, tmp_path: Path, case: str, head: str | None):
    known = {"PK": finished.pk, "HDF5": hdf5, "IMPORTED": imported.pk}
    call("export-xyz", *(known.get(argument, argument) for argument in EXPORTS[case]), "-o", tmp_path, "--gap", "0")
    assert ("stress_weight" in (tmp_path / "train.yaml").read_text()) == (case in ("nodes", "a head"))
    small = ["--max_num_epochs=2", "--num_channels=4", "--max_L=0", "--correlation=2", "--max_ell=1", "--r_max=4.5"]
    script = Path(sys.executable).with_name("mace_run_train")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [script, "--config", "train.yaml", *small], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    from aiida_mbetrain.science.potentials import inspect_mace, mace_atomic_energies

    assert mace_atomic_energies(tmp_path / "mace.model") == {18: 1.5 if case == "delta" else 0.0}
    assert inspect_mace(tmp_path / "mace.model")["heads"] == [head or "Default"]


REFUSED = {
    "unknown pk": (("export-xyz", 999999), "999999"),
    "missing file": (("export-xyz", "nothing.hdf5"), "does not exist"),
    "split": (("export-xyz", "PK", "--split", "0.5,0.5,0.5"), "add up to 1"),
    "source": (("export-xyz", "PK", "--sources", "dft"), "none of md, phonons"),
    "size": (("export-xyz", "PK", "--sizes", "9"), "sizes"),
    "delta alone": (("export-xyz", "PK", "--delta"), "--labels"),
    "e0s": (("export-xyz", "PK", "--e0s", "guess"), "--e0s guess"),
    "labels of a set": (("export-xyz", "PK", "--labels", "PK"), "labels import"),
    "structure": (("export-xyz", "STRUCTURE"), "StructureData"),
    "labels for a structure": (
        ("labels", "import", "LABELLED", "STRUCTURE", "--level-of-theory", "x"),
        "StructureData",
    ),
    "labels from nowhere": (("labels", "import", "nothing.xyz", "PK", "--level-of-theory", "x"), "does not exist"),
    "labels from hdf5": (("labels", "import", "HDF5", "PK", "--level-of-theory", "x"), "extended XYZ"),
    "xyz as a dataset": (("export-xyz", "LABELLED"), "not an HDF5 file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(finished, hdf5, labelled, tmp_path: Path, monkeypatch, case: str):
    monkeypatch.chdir(tmp_path)
    arguments, reason = REFUSED[case]
    structure = next(node for node in orm.QueryBuilder().append(orm.StructureData).iterall())[0]
    known = {"PK": finished.pk, "STRUCTURE": structure.pk, "HDF5": hdf5, "LABELLED": labelled}
    assert reason in one_line(*(known.get(argument, argument) for argument in arguments))


def test_a_truncated_dataset_is_refused_in_one_line(hdf5: Path, tmp_path: Path):
    (tmp_path / "cut.hdf5").write_bytes(hdf5.read_bytes()[:20000])
    assert "cut.hdf5" in one_line("export-xyz", tmp_path / "cut.hdf5")
