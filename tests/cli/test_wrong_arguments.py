"""Every command on every kind of wrong pk or file: one clear line, no traceback, nothing half done."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import h5py
import pytest
from aiida import orm
from click.testing import CliRunner

from aiida_mbetrain.cli import main

ENTRY = "training/phonon_sampling/finite_subsystems/n=2"
LEVEL = ("--level-of-theory", "PBE0")

# BAD is what is wrong; PK a finished training set, HDF5 its file, LABELS labels of it, CRYSTAL and MODEL good files.
NODES = {
    "export": ("export", "BAD"),
    "export-xyz": ("export-xyz", "BAD", "-o", "out"),
    "export-xyz --labels": ("export-xyz", "PK", "--labels", "BAD", "-o", "out"),
    "export-xyz --picks": ("export-xyz", "PK", "--picks", "BAD", "-o", "out"),
    "subsample": ("subsample", "BAD", "-n", "3", "--method", "random"),
    "subsample two": ("subsample", "PK", "BAD", "-n", "3", "--method", "random"),
    "labels import": ("labels", "import", "LABELS", "BAD", *LEVEL),
    "status": ("status", "BAD"),
    "plot": ("plot", "BAD", "-o", "out"),
    "query datasets --model": ("query", "datasets", "--model", "BAD"),
    "query datasets --structure": ("query", "datasets", "--structure", "BAD"),
    "query origin": ("query", "origin", "BAD", "0"),
    "query frames": ("query", "frames", "BAD"),
    "query diff": ("query", "diff", "BAD", "PK"),
    "query diff second": ("query", "diff", "PK", "BAD"),
    "run --model": ("run", "--structure", "CRYSTAL", "--model", "BAD", "-o", "out.hdf5"),
    "check": ("check", "BAD"),
    "train": ("train", "BAD", "--reference", "GFN2-xTB"),
    "evaluate": ("evaluate", "BAD"),
    "model export": ("model", "export", "BAD", "-o", "out"),
}
SHOWS_ANY_NODE = {"show": ("show", "BAD"), "trace": ("trace", "BAD", ENTRY, "0")}
DATASETS = {
    "export": ("export", "BAD", "-o", "out.hdf5"),
    "export --append": ("export", "PK", "-o", "BAD", "--append"),
    "export-xyz": ("export-xyz", "BAD", "-o", "out"),
    "trace": ("trace", "BAD", ENTRY, "0"),
    "query datasets": ("query", "datasets", "BAD"),
    "query origin": ("query", "origin", "BAD", ENTRY, "0"),
    "query frames": ("query", "frames", "BAD", "training/phonon_sampling"),
    "query diff": ("query", "diff", "BAD", "HDF5"),
    "query diff with a run": ("query", "diff", "PK", "BAD"),
}
OTHER_FILES = {
    "export-xyz --labels": ("export-xyz", "PK", "--labels", "BAD", "-o", "out"),
    "export-xyz --e0s": ("export-xyz", "PK", "--e0s", "BAD", "-o", "out"),
    "labels import": ("labels", "import", "BAD", "PK", *LEVEL),
    "model import": ("model", "import", "BAD"),
    "run --structure": ("run", "--structure", "BAD", "--model", "MODEL", "-o", "out.hdf5"),
    "run --model": ("run", "--structure", "CRYSTAL", "--model", "BAD", "-o", "out.hdf5"),
    "run --overrides": ("run", "--structure", "CRYSTAL", "--model", "MODEL", "--overrides", "BAD", "-o", "out.hdf5"),
    "run --options": ("run", "--structure", "CRYSTAL", "--model", "MODEL", "--options", "BAD", "-o", "out.hdf5"),
}

BAD_DATASETS = ["foreign", "other", "cut", "short", "folder", "missing", "without_positions", "without_n_frames"]
BAD_FILES = ["foreign.hdf5", "set.hdf5", "cut.xyz", "without_energies.xyz", "missing.xyz"]


@pytest.fixture(scope="module")
def files(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, labels and a crystal, and what can be wrong with files."""
    from argon import argon_atoms
    from ase.io import read, write
    from models import save_random_mace

    folder = tmp_path_factory.mktemp("files")
    content = finished.outputs.dataset.get_content("rb")
    (folder / "set.hdf5").write_bytes(content)
    for name in ("cut.hdf5", "short.hdf5"):
        (folder / name).write_bytes(content[: len(content) // 2 if name == "cut.hdf5" else 700])
    (folder / "foreign.hdf5").write_text("hello\n")
    (folder / "folder.hdf5").mkdir()
    with h5py.File(folder / "other.hdf5", "w") as file:
        file["positions"] = [1.0, 2.0]
    for name in ("positions", "n_frames"):
        (folder / f"without_{name}.hdf5").write_bytes(content)
    with h5py.File(folder / "without_positions.hdf5", "r+") as file:
        structure = file[f"{ENTRY}/cluster_of_molecules"]
        del structure[next(name for name in structure if name.startswith("positions"))]
    with h5py.File(folder / "without_n_frames.hdf5", "r+") as file:
        del file[f"{ENTRY}/cluster_of_molecules"].attrs["n_frames"]
    write(folder / "crystal.cif", argon_atoms())
    save_random_mace(folder / "argon.model", elements=(18,), channels=2, seed=21)
    result = CliRunner().invoke(main, ["export-xyz", str(finished.pk), "--no-labels", "-o", str(folder / "bare")])
    assert result.exit_code == 0, result.output
    frames = read(folder / "bare" / "configurations.xyz", index=":")
    for atoms in frames:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = 1.0, 0.0 * atoms.positions
    write(folder / "labels.xyz", frames, format="extxyz")
    text = (folder / "labels.xyz").read_text()
    (folder / "cut.xyz").write_text(text[: len(text) // 2 + 7])
    (folder / "without_energies.xyz").write_text(text.replace("REF_energy", "elsewhere"))
    return folder


@pytest.fixture
def refused(fail: Callable[..., str], finished, files: Path, tmp_path: Path, monkeypatch) -> Callable[..., str]:
    """The one line by which a command refuses ``bad``; it writes no node, no file but an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(arguments: tuple[str, ...], bad: object) -> str:
        known = {"PK": finished.pk, "BAD": bad, "HDF5": files / "set.hdf5", "LABELS": files / "labels.xyz"}
        known |= {"CRYSTAL": files / "crystal.cif", "MODEL": files / "argon.model"}
        before = orm.QueryBuilder().append(orm.ProcessNode).count()
        line = fail(*(known.get(argument, argument) for argument in arguments))
        assert orm.QueryBuilder().append(orm.ProcessNode).count() == before
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        return line

    return run


@pytest.mark.parametrize("command", NODES | SHOWS_ANY_NODE)
@pytest.mark.parametrize("unknown", ["999999", "00000000-0000-0000-0000-000000000000"])
def test_an_unknown_pk_is_named(refused, command: str, unknown: str):
    assert unknown[:8] in refused((NODES | SHOWS_ANY_NODE)[command], unknown)


@pytest.mark.parametrize("command", NODES)
def test_a_node_of_another_type_is_named(refused, finished, command: str):
    """Thermodynamics are of no command's type."""
    node = finished.outputs.md_sampling.thermodynamics
    line = refused(NODES[command], node.pk)
    assert str(node.pk) in line
    assert "TableData" in line or command in ("check", "run --model")  # which look for a code, for a model


@pytest.mark.parametrize("command", [name for name in NODES if not name.startswith(("query origin", "status"))])
def test_a_process_of_another_kind_is_named(refused, finished, command: str):
    node = finished.outputs.dataset.creator
    assert str(node.pk) in refused(NODES[command], node.pk)


@pytest.mark.parametrize(
    ("command", "bad"),
    [
        pair
        for pair in product(DATASETS, BAD_DATASETS)
        if pair != ("export --append", "missing")  # which makes the file
    ],
)
def test_a_bad_dataset_is_named(refused, files: Path, command: str, bad: str):
    assert f"{bad}.hdf5" in refused(DATASETS[command], files / f"{bad}.hdf5")


@pytest.mark.parametrize(
    ("command", "bad"),
    [
        pair
        for pair in product(OTHER_FILES, BAD_FILES)
        if pair != ("run --structure", "without_energies.xyz")  # a structure needs no energies
    ],
)
def test_another_bad_file_is_named(refused, files: Path, command: str, bad: str):
    assert bad in refused(OTHER_FILES[command], files / bad)


@pytest.mark.parametrize("command", ["query origin", "query frames", "trace"])
def test_a_missing_entry_is_named(refused, files: Path, command: str):
    arguments = (a.replace("phonon_sampling", "nowhere") for a in DATASETS[command])
    assert "training/nowhere" in refused(tuple(arguments), files / "set.hdf5")


@pytest.mark.parametrize("options", [(), ("-p", "nowhere")])
def test_without_a_profile_the_only_line_says_how_to_make_one(tmp_path, options):
    environment = {name: value for name, value in os.environ.items() if name != "AIIDA_PATH"}
    code = "from aiida_mbetrain.cli import main; main(prog_name='aiida-mbetrain')"
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "show", "1"],
        env=environment | {"HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).splitlines()
    assert line.startswith("Error: ")
    assert "verdi presto" in line
    assert not options or "nowhere" in line
