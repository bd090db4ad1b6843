"""Options of the file: parts, precision, compression; appending by many, and to a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from dataset_examples import differences, full_dataset, md_section

from aiida_mbetrain.datasets import arrays as dataset_arrays
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import Storage, append_dataset, origin_of, read_dataset, validate, write_dataset
from aiida_mbetrain.datasets.hdf5.file_lock import exclusive
from aiida_mbetrain.datasets.model import ClusterReference, Dataset
from aiida_mbetrain.datasets.training import entries_of, select_sections
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile, UnwritableOutput
from aiida_mbetrain.science.io import GrowingArray, growing_array
from aiida_mbetrain.science.tables import Table

DATASET = full_dataset()
MD = DATASET.md[0]


def at_temperature(temperature_K: float, seed: int = 7) -> Dataset:
    section = replace(md_section(np.random.default_rng(seed)), temperature_K=temperature_K)
    return Dataset((section,), provenance={"structure_uuid": "0123", "run": f"T{temperature_K:.0f}"})


def arrays(path: Path) -> dict[str, h5py.Dataset]:
    found: dict[str, tuple] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.__setitem__(name, (item.dtype, item.compression, item[()]))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    return found


def test_some_sources_some_sizes_no_features(tmp_path: Path) -> None:
    some = select_sections(DATASET, sources=["md"], sizes=[2, 10], features=False)
    write_dataset(tmp_path / "a", some)
    back = read_dataset(tmp_path / "a")
    assert [path.rpartition("/")[2] for path in back.cluster_sets] == ["n=10", "n=2"]
    assert not back.phonons
    assert not any(names.FEATURE_VECTORS in name for name in arrays(tmp_path / "a"))
    whole = {entry.path: entry for entry in entries_of(DATASET)}
    for entry in entries_of(back):
        known = whole[entry.path].configurations.energies
        assert np.allclose(entry.configurations.energies, known, rtol=1e-15, atol=0)  # per atom in the file


def test_phonons_without_their_force_constants_do_not_point_at_them(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", select_sections(DATASET, sources=["phonons"]))
    assert read_dataset(tmp_path / "a").phonons[0].force_constants_key is None


def test_sizes_that_no_cluster_has_are_refused() -> None:
    with pytest.raises(InvalidSettings, match="sizes = 7"):
        select_sections(DATASET, sizes=[7])


def test_single_precision_halves_features_and_forces_and_keeps_energies_and_geometry(tmp_path: Path) -> None:
    write_dataset(tmp_path / "single", DATASET, storage=Storage(float32=True))
    write_dataset(tmp_path / "double", DATASET)
    validate(tmp_path / "single")
    double = arrays(tmp_path / "double")
    for name, (dtype, _, values) in arrays(tmp_path / "single").items():
        if name.rpartition("/")[2] in (names.FEATURE_VECTORS, names.FORCES, names.VELOCITIES):
            assert dtype == np.float32
            assert np.array_equal(values, double[name][2].astype(np.float32))
        else:
            assert dtype == double[name][0]
            np.testing.assert_array_equal(values, double[name][2])
    single = [uid for entry in entries_of(read_dataset(tmp_path / "single")) for uid in entry.uids]
    assert single == [uid for entry in entries_of(DATASET) for uid in entry.uids]


def test_compressed_files_hold_the_same_and_are_smaller(tmp_path: Path) -> None:
    features = np.zeros((4, 7, 500))
    frames = MD.trajectory.with_(features=features)
    dataset = Dataset((replace(MD, trajectory=frames),))
    plain = write_dataset(tmp_path / "plain", dataset)
    assert write_dataset(tmp_path / "packed", dataset, storage=Storage(compression=4)) == plain
    assert not differences(read_dataset(tmp_path / "packed"), read_dataset(tmp_path / "plain"))
    assert os.path.getsize(tmp_path / "packed") < os.path.getsize(tmp_path / "plain") - 90_000


STORAGES = [Storage(), Storage(float32=True), Storage(compression=4)]


@pytest.mark.parametrize("storage", STORAGES, ids=["plain", "float32", "compressed"])
def test_blocks_of_any_size_give_the_same_content(storage: Storage, tmp_path: Path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    frames = MD.trajectory.with_(features=rng.normal(size=(4, 7, 600)).astype(np.float32))
    dataset = Dataset((replace(MD, trajectory=frames), *DATASET.phonons, *DATASET.quasi_harmonic))
    whole = write_dataset(tmp_path / "whole", dataset, storage=storage)
    monkeypatch.setattr(dataset_arrays, "BLOCK_BYTES", 70_000)
    monkeypatch.setattr(dataset_arrays, "CHUNK_BYTES", 34_000)
    for name in ("a", "b"):
        assert write_dataset(tmp_path / name, dataset, storage=storage) == whole
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    validate(tmp_path / "a")
    assert not differences(read_dataset(tmp_path / "a"), read_dataset(tmp_path / "whole"))
    append_dataset(tmp_path / "a", dataset, storage=storage)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("storage", STORAGES, ids=["plain", "float32", "compressed"])
def test_mapped_arrays_are_copied_block_by_block(storage: Storage, tmp_path: Path) -> None:
    n_frames, grown = 400, GrowingArray(tmp_path)
    for _ in range(n_frames):
        grown.append(np.ones((1, 7, 12_000), dtype=np.float32))
    times = np.arange(200.0, 200.0 + n_frames)
    pick = np.zeros(n_frames, dtype=int)
    frames = MD.trajectory.select(pick).with_(features=grown.array(), origin={"time_fs": times})
    assert frames.features is not None
    series = Table({name: np.ones(n_frames) for name in MD.series.columns} | {"time_fs": times})
    dataset = Dataset(
        (replace(MD, trajectory=frames, series=series, molecules=None, time_equilibration_fs=0.0, provenance={}),)
    )
    tracemalloc.start()
    write_dataset(tmp_path / "a", dataset, storage=storage)
    append_dataset(tmp_path / "a", dataset, storage=storage)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000 < frames.features.nbytes


@pytest.mark.parametrize("storage", STORAGES, ids=["plain", "float32", "compressed"])
def test_large_arrays_of_a_file_are_mapped_and_outlive_it(storage: Storage, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_dataset(path, DATASET, storage=storage)
    expected = read_dataset(path)
    monkeypatch.setattr(dataset_arrays, "LARGE_BYTES", 100)
    monkeypatch.setattr(growing_array, "LARGE_BYTES", 100)
    found = read_dataset(path)
    write_dataset(path, Dataset())
    assert not differences(found, expected)
    for values in (found.md[0].trajectory.positions, found.md[0].trajectory.forces):
        assert not values.flags.writeable
        assert not values.flags.owndata


@pytest.mark.parametrize("level", [0, 10, -1])
def test_levels_of_compression_that_gzip_does_not_have_are_refused(level: int) -> None:
    with pytest.raises(InvalidSettings, match="compression"):
        Storage(compression=level)


def test_appending_gives_the_file_of_both_in_any_order(tmp_path: Path) -> None:
    parts = [at_temperature(T) for T in (100.0, 200.0, 300.0)]
    for name, order in (("a", parts), ("b", parts[::-1])):
        for part in order:
            append_dataset(tmp_path / name, part)
    together = Dataset(tuple(section for part in parts for section in part.sections))
    write_dataset(tmp_path / "c", together, provenance=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not differences(read_dataset(tmp_path / "a").md[1].series, read_dataset(tmp_path / "c").md[1].series)
    with h5py.File(tmp_path / "a") as a, h5py.File(tmp_path / "c") as c:
        assert a.attrs["content_sha256"] == c.attrs["content_sha256"]
        assert a.attrs["provenance.run"].tolist() == ["T100", "T200", "T300"]


def test_appending_what_is_there_changes_nothing(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", DATASET)
    before = (tmp_path / "a").read_bytes()
    append_dataset(tmp_path / "a", select_sections(DATASET, sources=["md"]))
    assert (tmp_path / "a").read_bytes() == before


def test_more_sizes_of_the_same_run_join_it(tmp_path: Path) -> None:
    for size in (1, 2, 10):
        append_dataset(tmp_path / "a", select_sections(DATASET, sources=["md"], sizes=[size]))
    whole = select_sections(DATASET, sources=["md"])
    assert set(read_dataset(tmp_path / "a").cluster_sets) == set(whole.cluster_sets)
    assert origin_of(tmp_path / "a", f"{MD.group}/finite_subsystems/n=2", 1).molecule_indices == (1, 0)


def with_labels(change: Callable[[ClusterReference], ClusterReference]) -> Dataset:
    """The dataset with other labels of the reference methods."""
    assert MD.molecules is not None
    references = {
        key: {name: change(labels) for name, labels in by_method.items()}
        for key, by_method in MD.molecules.references.items()
    }
    assert references
    section = replace(MD, molecules=replace(MD.molecules, references=references))
    return Dataset((section,), DATASET.provenance)


def without_first(labels: ClusterReference) -> ClusterReference:
    """As it was before the first frame had a label."""
    energies = np.concatenate([[np.nan], labels.energies[1:]])
    forces = None if labels.forces is None else np.concatenate([labels.forces[:1] * np.nan, labels.forces[1:]])
    interaction = None if labels.interaction is None else np.concatenate([[np.nan], labels.interaction[1:]])
    missing = ("0123", *labels.missing[1:])
    return replace(labels, energies=energies, forces=forces, interaction=interaction, missing=missing)


def test_labels_of_a_reference_that_have_grown_replace_those_of_the_file(tmp_path: Path) -> None:
    whole, some = with_labels(lambda labels: labels), with_labels(without_first)
    write_dataset(tmp_path / "whole", whole)
    for name, order in (("a", (some, whole)), ("b", (whole, some))):
        for part in order:
            append_dataset(tmp_path / name, part)
        assert (tmp_path / name).read_bytes() == (tmp_path / "whole").read_bytes()
    rounded = with_labels(lambda labels: replace(labels, energies=labels.energies * (1 + 1e-15)))
    append_dataset(tmp_path / "a", rounded)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: replace(labels, energies=labels.energies + 1e-3),
        lambda labels: replace(without_first(labels), energies=without_first(labels).energies + 1e-3),
        lambda labels: replace(labels, method_hash="c" * 32),
    ],
)
def test_other_labels_of_a_reference_are_refused(tmp_path: Path, change) -> None:
    write_dataset(tmp_path / "a", with_labels(lambda labels: labels))
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(InvalidSettings, match=r"reference_labels/.* is there already with other data"):
        append_dataset(tmp_path / "a", with_labels(change))
    assert (tmp_path / "a").read_bytes() == before


def test_other_data_under_the_same_key_are_refused_and_the_file_stays(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", at_temperature(100.0))
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(InvalidSettings, match=r"crystal\[dyn:T=100.00,p=0.00010\].* differ.*root_key"):
        append_dataset(tmp_path / "a", at_temperature(100.0, seed=8))
    assert (tmp_path / "a").read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_features_cannot_join_a_group_without_them(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", select_sections(DATASET, features=False))
    with pytest.raises(InvalidSettings, match="feature_vectors"):
        append_dataset(tmp_path / "a", DATASET)


def test_appending_keeps_precision_and_compression_of_what_is_there(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", at_temperature(100.0), storage=Storage(float32=True, compression=9))
    before = arrays(tmp_path / "a")
    append_dataset(tmp_path / "a", at_temperature(200.0, seed=8))
    after = arrays(tmp_path / "a")
    for name, (dtype, compression, values) in before.items():
        assert (after[name][0], after[name][1]) == (dtype, compression)
        np.testing.assert_array_equal(after[name][2], values)


@pytest.mark.parametrize("content", [b"hello", b"", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_nothing_is_appended_to_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnreadableFile) as caught:
        append_dataset(tmp_path / "a", DATASET)
    assert "\n" not in caught.value.message
    assert (tmp_path / "a").read_bytes() == content


def test_nothing_is_appended_to_a_damaged_file(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", at_temperature(100.0))
    with h5py.File(tmp_path / "a", "r+") as file:
        file[f"{MD_PATH}/trajectory/{names.POSITIONS}"][0, 0, 0] += 1e-3
    before = (tmp_path / "a").read_bytes()
    with pytest.raises(UnreadableFile, match="damaged or was edited"):
        append_dataset(tmp_path / "a", at_temperature(200.0))
    assert (tmp_path / "a").read_bytes() == before


MD_PATH = "training/md_sampling/crystal[dyn:T=100.00,p=0.00010]"

HELPERS = Path(__file__).parents[2] / "helpers"

WRITER = """
import sys; sys.path[:0] = sys.argv[1:3]
from test_storage import append_dataset, at_temperature
for step in range(3):
    append_dataset(sys.argv[3], at_temperature(float(sys.argv[4]) + step))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(HELPERS), *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_many_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [start(WRITER, tmp_path / "a", 100 * n) for n in (1, 2, 3, 4)]
    for writer in writers:
        _, errors = writer.communicate(timeout=300)
        assert writer.returncode == 0, errors
    temperatures = [section.temperature_K for section in read_dataset(tmp_path / "a").md]
    assert temperatures == [100.0 * n + step for n in (1, 2, 3, 4) for step in range(3)]
    assert os.listdir(tmp_path) == ["a"]


FULL_DISK = """
import sys; sys.path[:0] = sys.argv[1:3]
import resource
from test_storage import append_dataset, at_temperature, write_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
write = {"append": append_dataset, "write": write_dataset}[sys.argv[4]]
try:
    write(sys.argv[3], at_temperature(200.0))
except Exception as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(9)
"""


@pytest.mark.parametrize("how", ["append", "write"])
@pytest.mark.parametrize("limit", [30, 2000, 40_000])
def test_a_full_disk_leaves_the_file(tmp_path: Path, how: str, limit: int) -> None:
    """The limit on the size of files stops the writer at its first, in the middle, and at its last bytes."""
    write_dataset(tmp_path / "a", at_temperature(100.0))
    before = (tmp_path / "a").read_bytes()
    assert len(before) > limit
    writer = start(FULL_DISK, tmp_path / "a", how, limit)
    _, errors = writer.communicate(timeout=120)
    assert writer.returncode == 9, errors
    assert errors.startswith(UnwritableOutput.__name__)  # and HDF5 has nothing to say at the end
    assert len(errors.splitlines()) == 1
    assert (tmp_path / "a").read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_that_was_killed_gives_the_lock_back(tmp_path: Path) -> None:
    code = "import sys, os, signal; from pathlib import Path\n"
    code += "from aiida_mbetrain.datasets.hdf5.file_lock import exclusive\n"
    code += "with exclusive(Path(sys.argv[3])): os.kill(os.getpid(), signal.SIGKILL)"
    start(code, tmp_path / "a").communicate(timeout=60)
    assert os.listdir(tmp_path) == [".a.lock"]
    with exclusive(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path) == []
