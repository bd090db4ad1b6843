"""Every reader compares what it reads with its digest; no file makes it read another one or run forever."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import one_line
from dataset_examples import full_dataset

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import append_dataset, clusters, list_groups, origin_of, read_dataset, write_dataset
from aiida_mbetrain.datasets.hdf5 import file_tree as module
from aiida_mbetrain.datasets.inspection import file_datasets, file_destinations, file_facts, file_origin, verdicts
from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.report import write_report

DATASET = full_dataset()
ENTRY = f"{DATASET.md[0].group}/finite_subsystems/n=2"
STRUCTURE = f"{ENTRY}/cluster_of_molecules"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("integrity") / "dataset.hdf5"
    write_dataset(path, DATASET)
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "dataset.hdf5"))


def flip_a_bit(path: Path, array: str) -> None:
    """Flip the lowest bit of the exponent of the first number: twice its value, or half of it."""
    with h5py.File(path) as file:
        place = file[array].id.get_offset()
        width = file[array].dtype.itemsize
    content = bytearray(path.read_bytes())
    content[place + width - 2] ^= 0x10
    path.write_bytes(content)


READERS = {
    "clusters": lambda path: list(clusters(path)),
    "read_dataset": read_dataset,
    "file_facts": file_facts,
    "verdicts": verdicts,
    "report": lambda path: write_report(path, path.with_suffix(".html")),
    "append": lambda path: append_dataset(path, DATASET),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_of_an_energy_is_noticed(path: Path, name: str) -> None:
    flip_a_bit(path, f"{STRUCTURE}/{names.E_POT}")
    with pytest.raises(UnreadableFile, match=r"n=2/cluster_of_molecules/E_pot.*damaged or was edited"):
        READERS[name](path)


def test_a_flipped_bit_of_an_origin_is_noticed(path: Path) -> None:
    flip_a_bit(path, f"{STRUCTURE}/origin/{names.TIME}")
    with pytest.raises(UnreadableFile, match="damaged"):
        origin_of(path, ENTRY, 0)
    with pytest.raises(UnreadableFile, match="damaged"):
        file_origin(path, ENTRY, 0)
    assert "damaged" in one_line("trace", path, ENTRY, 0)


def test_a_flipped_bit_of_the_frames_of_clusters_is_noticed(path: Path) -> None:
    flip_a_bit(path, f"{STRUCTURE}/origin/frame")
    with pytest.raises(UnreadableFile, match="damaged"):
        file_destinations(path, DATASET.md[0].group)


@pytest.mark.parametrize("read", [list_groups, file_datasets, file_facts])
def test_a_changed_attribute_is_noticed(path: Path, read) -> None:
    with h5py.File(path, "r+") as file:
        file[STRUCTURE].attrs[names.N_FRAMES] = 77
    with pytest.raises(UnreadableFile, match="damaged or was edited"):
        read(path)


def test_a_changed_array_with_a_new_digest_is_noticed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        stored = file[f"{STRUCTURE}/{names.E_POT}"]
        stored[...] = stored[...] * 2
        stored.attrs[names.ARRAY_SHA256] = "0" * 64
    with pytest.raises(UnreadableFile, match="content_sha256"):
        list(clusters(path))


def test_a_part_is_read_without_reading_the_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage elsewhere does not matter to the reader of a part, because nothing else is read."""
    read = []
    original = module.StoredArray.__getitem__
    monkeypatch.setattr(
        module.StoredArray, "__getitem__", lambda self, key: (read.append(self.where), original(self, key))[1]
    )
    list_groups(path)
    assert read == []
    origin_of(path, ENTRY, 0)
    assert read
    assert all(where.startswith(f"{path}: /{ENTRY}") for where in read)
    assert not any(names.POSITIONS in where for where in read)


def test_a_file_whose_arrays_state_no_digests_is_compared_as_a_whole(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop(names.ARRAY_SHA256, None) and None)
    assert len(list(clusters(path))) == len(DATASET.cluster_sets)
    flip_a_bit(path, f"{STRUCTURE}/{names.E_POT}")
    with pytest.raises(UnreadableFile, match="content_sha256"):
        list_groups(path)


def replace(path: Path, link: object) -> None:
    with h5py.File(path, "r+") as file:
        del file[ENTRY]
        file[ENTRY] = link


def test_an_external_link_is_refused(path: Path, whole: Path) -> None:
    replace(path, h5py.ExternalLink(str(whole), ENTRY))
    with pytest.raises(UnreadableFile, match=r"n=2 is a link to another place or file"):
        list_groups(path)


@pytest.mark.parametrize("target", [f"/{ENTRY}", "/", "/training", "/nowhere"])
def test_a_soft_link_is_refused_also_in_a_circle(path: Path, target: str) -> None:
    replace(path, h5py.SoftLink(target))
    with pytest.raises(UnreadableFile, match="is a link"):
        read_dataset(path)


def test_a_group_that_contains_itself_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["training/again"] = file["training"]
    with pytest.raises(UnreadableFile, match="twice, or contains itself"):
        list_groups(path)


def test_numbers_in_another_file_are_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.zeros(4).tobytes())
    with h5py.File(path, "r+") as file:
        file.create_dataset("outside", shape=(4,), dtype="f8", external=[(str(tmp_path / "secret"), 0, 32)])
    with pytest.raises(UnreadableFile, match="in another file"):
        list_groups(path)


def test_an_array_without_numbers_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.create_dataset("vast", shape=(10**15,), dtype="f8", chunks=(1024,))
    with pytest.raises(UnreadableFile, match="no numbers"):
        read_dataset(path)
