"""Arrays in npz files, mapped where they are large."""

from __future__ import annotations

import tracemalloc
import zipfile

import numpy as np
import pytest

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.io import load_npz, mapped_arrays, save_npz


@pytest.fixture(params=["read", "mapped"])
def threshold(request, monkeypatch):
    """Arrays of any size are large, or none is."""
    monkeypatch.setattr(mapped_arrays, "LARGE_BYTES", 1 if request.param == "mapped" else 10**12)


ARRAYS = {
    "numbers": np.arange(5),
    "features": np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32),
    "scalar": np.array(3.5),
    "texts": np.array(["a", "longer"]),
    "empty": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def test_arrays_come_back_with_their_types(threshold, tmp_path):
    save_npz(tmp_path / "a.npz", ARRAYS)
    found = load_npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_damaged_arrays_are_refused(threshold, tmp_path):
    save_npz(tmp_path / "a.npz", {"features": np.arange(1000.0)})
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UnreadableFile, match="CRC"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"no array", b"\x93NUMPY\x09\x00" + b"\0" * 100, b""])
def test_members_that_are_no_arrays_are_refused(threshold, content, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(UnreadableFile):
        load_npz(tmp_path / "a.npz")


def test_pickled_objects_are_refused(threshold, tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}] * 10, dtype=object))
    with pytest.raises(UnreadableFile, match="allow_pickle"):
        load_npz(tmp_path / "a.npz")


def test_large_arrays_take_no_memory(tmp_path):
    save_npz(tmp_path / "a.npz", {"large": np.ones(3 * 10**6), "small": np.ones(3)})
    tracemalloc.start()
    found = load_npz(tmp_path / "a.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    assert found["large"].sum() == 3e6
    with pytest.raises(ValueError, match="read-only"):
        found["large"][0] = 0.0
