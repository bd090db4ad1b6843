"""Arrays that grow by rows, in memory and in files."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from aiida_mbetrain.science.io import GrowingArray
from aiida_mbetrain.science.io import growing_array as module


@pytest.fixture(params=["in memory", "in a file"])
def grown(request, monkeypatch, tmp_path) -> tuple[GrowingArray, np.ndarray]:
    """An array of ten parts, and what it should hold."""
    if request.param == "in a file":
        monkeypatch.setattr(module, "LARGE_BYTES", 100)
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(n, 2, 3)).astype(np.float32) for n in (1, 0, 4, 3, 7, 1, 1, 2, 5, 1)]
    array = GrowingArray(tmp_path)
    for part in parts:
        array.append(part)
    return array, np.concatenate(parts)


def test_array_is_its_parts_one_after_another(grown):
    array, expected = grown
    for _ in range(2):
        np.testing.assert_array_equal(array.array(), expected)
        assert array.array().dtype == np.float32
        array.append(expected[:2])
        expected = np.concatenate([expected, expected[:2]])


@pytest.mark.parametrize("rows", [slice(0, 3), slice(20, None), slice(24, 25), slice(3, 22, 2), slice(25, None)])
def test_slices_are_those_of_the_array(grown, rows):
    array, expected = grown
    np.testing.assert_array_equal(array[rows], expected[rows])


def test_truncated_array_goes_on_from_there(grown):
    array, expected = grown
    before = array.array()
    array.truncate(6)
    array.append(expected[20:])
    np.testing.assert_array_equal(array.array(), np.concatenate([expected[:6], expected[20:]]))
    np.testing.assert_array_equal(before, expected)


def test_array_cannot_be_written_to(grown):
    array, _ = grown
    with pytest.raises(ValueError, match="read-only"):
        array.array()[0] = 0.0


def test_rows_of_another_shape_or_type_are_refused(grown):
    array, expected = grown
    for rows in (expected[:, :1], expected.astype(int)):
        with pytest.raises(ValueError, match="follow"):
            array.append(rows)


def test_texts_of_any_length_stay_whole(monkeypatch):
    monkeypatch.setattr(module, "LARGE_BYTES", 10)
    array = GrowingArray()
    for text in ("a", "longer", "b"):
        array.append(np.array([text]))
    assert array.array().tolist() == ["a", "longer", "b"]


def test_large_array_takes_no_memory_and_leaves_no_file(tmp_path):
    array, part = GrowingArray(tmp_path), np.ones((1000, 300))
    tracemalloc.start()
    for _ in range(20):
        array.append(part.copy())
    whole = array.array()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole.nbytes == 48_000_000
    assert peak < 25_000_000
    assert list(tmp_path.iterdir()) == []
    del array
    assert whole[-1, -1] == 1.0, "the map outlives what it was made of"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files")
def test_files_are_closed_with_the_last_array(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "LARGE_BYTES", 10)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    array = GrowingArray(tmp_path)
    array.append(np.ones(100))
    whole = array.array()
    assert len(os.listdir("/proc/self/fd")) > before
    del array, whole
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
