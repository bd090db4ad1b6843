"""Random job folders, results, models, HDF5 files and command lines end in a named error or in the right answer."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from click.testing import CliRunner
from dataset_examples import md_section
from fuzzing import Hang, limited, mutated_bytes, mutated_text, mutated_tree, odd, refused
from models import save_random_mace

from aiida_mbetrain.cli import main
from aiida_mbetrain.cli.root import COMMANDS
from aiida_mbetrain.datasets.hdf5 import clusters, list_groups, origin_of, read_dataset, write_dataset
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import Inference
from aiida_mbetrain.worker import codec
from aiida_mbetrain.worker.clock import Clock
from aiida_mbetrain.worker.main import run_job

SUPERCELL = Configurations.from_atoms(bulk("Ar", "fcc", a=5.4, cubic=True).repeat(2))
TIMES = {"time_step_fs": 5.0, "time_total_fs": 10.0, "time_equilibration_fs": 0.0, "sampling_interval_fs": 5.0}
JOB = {
    "schema_version": 1,
    "stage": "molecular_dynamics",
    "settings": {"temperature_K": 30.0, "md_crystal": TIMES},
    "inference": Inference().to_dict(),
    "model": {"kind": "ase", "name": "lennard_jones", "parameters": {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0}},
    "max_seconds": 5.0,
    "checkpoint": "checkpoint.segments",
    "checkpoint_interval_s": 600.0,
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Dataset((md_section(np.random.default_rng(3), ensemble="NVT"),))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_random_mace(tmp_path_factory.mktemp("fuzz") / "right.model", channels=2)


def energy_of(path: Path) -> float:
    """Energy (eV) of a molecule."""
    [labelled] = load_mace(path).evaluate([Configurations.from_atoms(molecule("HCN"))])
    return float(labelled.energies[0])


@pytest.fixture(scope="module")
def content(dataset, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "set.hdf5"
    write_dataset(path, dataset)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_job_folders(tmp_path, monkeypatch, seed):
    random = Random(seed)
    (tmp_path / "outside.npz").write_bytes(b"")
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        job = JOB | {"inputs": {"supercell": codec.save(folder, "supercell", SUPERCELL)}}
        try:
            text = json.dumps(mutated_tree(random, job))
        except (TypeError, ValueError, RecursionError):  # bytes and the like: no JSON says them
            text = mutated_text(random, json.dumps(job, indent=1))
        (folder / "job.json").write_text(text, "utf-8", errors="replace")
        monkeypatch.setattr("aiida_mbetrain.worker.main.CLOCK", Clock())  # as for a program that has just begun
        refused(text[:2000], lambda folder=folder: run_job(folder, {}))


@pytest.mark.parametrize("seed", range(10))
def test_entries_of_results(tmp_path, seed):
    random = Random(seed)
    entry = codec.save(tmp_path, "frames", SUPERCELL) | {"attributes": {"a": 1}}
    for _ in range(30):
        changed = mutated_tree(random, entry)
        refused(changed, lambda changed=changed: codec.load(tmp_path, changed))


@pytest.mark.parametrize("seed", range(6))
def test_models(tmp_path, seed):
    random, path = Random(seed), tmp_path / "a.model"
    for number in range(10):
        size = random.randrange(1, 3000)
        path.write_bytes((b"PK\x03\x04" if number % 2 else b"") + bytes(random.randrange(256) for _ in range(size)))
        assert refused(f"seed {seed}", lambda: load_mace(path))


@pytest.mark.parametrize("seed", range(4))
def test_models_with_changed_bytes(tmp_path, model, seed):
    """Refused, or the change is outside the content: the same model."""
    random, path = Random(seed), tmp_path / "a.model"
    expected = energy_of(model)
    for _ in range(10):
        path.write_bytes(mutated_bytes(random, model.read_bytes()))
        assert refused(f"seed {seed}", lambda: load_mace(path)) or energy_of(path) == expected


@pytest.mark.parametrize("seed", range(4))
def test_models_with_changed_attributes(tmp_path, model, seed):
    """A file that PyTorch reads, of a model that was put together wrongly or diverged."""
    random, path = Random(seed), tmp_path / "a.model"
    for _ in range(10):
        changed = torch.load(model, weights_only=False)
        place = random.choice(
            ["r_max", "atomic_numbers", "num_interactions", "heads", "atomic_energies_fn.atomic_energies", "products.0",
             "interactions.1.linear.weight", "readouts.0.linear.weight", "scale_shift.scale"]
        )  # fmt: skip
        owner, _, name = place.rpartition(".")
        part = changed.get_submodule(owner)
        before = getattr(part, name)
        if isinstance(before, torch.Tensor):
            odd_values = [float("nan"), float("inf"), 1e300] if before.is_floating_point() else [10**9, 119]
            value = random.choice([*odd_values, -1, 0, 3])
            with torch.no_grad():
                before.view(-1)[random.randrange(before.numel())] = value
        elif isinstance(before, torch.nn.Module) or random.random() < 0.5:
            delattr(part, name)
        else:
            setattr(part, name, odd(random))
        torch.save(changed, path)
        case = f"seed {seed}: {place}"
        energies: list[float] = []
        assert refused(case, lambda energies=energies: energies.append(energy_of(path))) or np.isfinite(energies[0])


@pytest.mark.parametrize("seed", range(30))
def test_hdf5_files(tmp_path, dataset, content, seed):
    """A changed byte is either without effect or an error; never another number."""
    random, path = Random(seed), tmp_path / "set.hdf5"
    known = dataset.cluster_sets
    for number in range(10):
        path.write_bytes(mutated_bytes(random, content))

        def read():
            for name, found in clusters(path):
                np.testing.assert_allclose(
                    found.configurations.energies, known[name].configurations.energies, rtol=1e-14
                )
                np.testing.assert_array_equal(found.configurations.positions, known[name].configurations.positions)

        refused(
            f"seed {seed}, case {number}", [read, lambda: list_groups(path), lambda: read_dataset(path)][number % 3]
        )


@pytest.mark.parametrize("seed", range(5))
def test_entries_and_frames_of_hdf5_files(tmp_path, dataset, content, seed):
    random, path = Random(seed), tmp_path / "set.hdf5"
    path.write_bytes(content)
    entries = [group.path for group in list_groups(path)]
    for _ in range(20):
        entry = mutated_text(random, random.choice(entries))
        refused(entry, lambda entry=entry: origin_of(path, entry, random.choice([0, -1, 1, 10**6])))


@pytest.mark.parametrize("seed", range(25))
def test_command_lines(tmp_path, content, monkeypatch, seed):
    """Usage errors and named errors are one line; nothing ends in a traceback."""
    monkeypatch.chdir(tmp_path)
    random = Random(seed)
    (tmp_path / "set.hdf5").write_bytes(content)
    (tmp_path / "bad.hdf5").write_bytes(mutated_bytes(random, content))
    (tmp_path / "text.yaml").write_text(mutated_text(random, "md_sampling:\n  temperature_K: 3\n"), errors="replace")
    group = Random(seed).choice([item.path for item in list_groups("set.hdf5")])
    words = [
        "set.hdf5",
        "bad.hdf5",
        "text.yaml",
        "no_such_file.hdf5",
        group,
        "0",
        "-1",
        "999",
        "",
        "é",
        "\0",
        "--no-such-option",
    ]
    files = ["trace", "query origin", "query frames", "query datasets", "query diff", "campaign plan"]
    for _ in range(12):
        command = random.choice([*files, *files, random.choice(list(COMMANDS))]).split(" ")
        arguments = command + [random.choice(words) for _ in range(random.randrange(4))]
        if command[0] not in ("trace", "query", "campaign"):
            arguments.append(random.choice(["--help", "--no-such-option"]))
        if command[0] == "campaign":
            arguments = [*command, random.choice(["bad.hdf5", "text.yaml", "no_such_file.yaml", ""])]
        try:
            with limited():
                result = CliRunner().invoke(main, arguments)
        except Hang as hang:
            raise AssertionError(f"{arguments}: {hang}") from None
        assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, repr(result.exception))
        assert "Traceback" not in result.output
        if result.exit_code == 1:
            assert result.output.startswith("Error: "), (arguments, result.output)
            assert len(result.output.strip().splitlines()) == 1, (arguments, result.output)


@pytest.mark.parametrize("seed", range(4))
def test_values_that_no_file_has_are_no_job(tmp_path, seed):
    random = Random(seed)
    for _ in range(10):
        value = odd(random)
        if value != {}:
            assert refused(str(type(value)), lambda value=value: codec.load(tmp_path, value))
    with pytest.raises(UnreadableFile):
        codec.inside(tmp_path, "..")
