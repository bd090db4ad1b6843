"""Large arrays of nodes are mapped from their files, wherever these lie; small ones share a file."""

from __future__ import annotations

import io
import time
import tracemalloc

import numpy as np
import pytest
from aiida import orm
from disk_objectstore import CompressMode, Container

from aiida_mbetrain.data import arrays as module
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import mapped_arrays, read_npy
from aiida_mbetrain.science.tables import Table


def frames(n_frames: int = 5, n_features: int = 7, *, periodic: bool = False) -> Configurations:
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(n_frames, 3, 3))
    return Configurations(
        numbers=[6, 1, 8],
        positions=positions,
        cells=np.repeat(np.eye(3)[None] * 9, n_frames, axis=0) if periodic else None,
        energies=rng.normal(size=n_frames),
        forces=-positions,
        features=rng.normal(size=(n_frames, 3, n_features)).astype(np.float32),
        origin={"frame": np.arange(n_frames)},
    )


def clusters(**options) -> ClusterSet:
    return ClusterSet(Cluster("n=1", np.zeros(1, dtype=int), np.zeros((1, 3), dtype=int), 0), frames(**options))


@pytest.mark.parametrize("value", [clusters(), frames(periodic=True)], ids=["clusters", "trajectory"])
def test_mapped_arrays_are_those_that_were_stored(value, monkeypatch):
    node = as_node(value)
    expected = {name: node.get_array(name) for name in node.get_arraynames()}
    content, shapes = node.base.repository.hash(), {name: node.get_shape(name) for name in expected}
    monkeypatch.setattr(module, "LARGE_BYTES", 1)
    monkeypatch.setattr(mapped_arrays, "LARGE_BYTES", 1)
    for found in (as_science(node), as_science(node.store()), as_science(orm.load_node(node.pk))):
        for name, array in found.to_arrays().items():
            if name in expected:
                np.testing.assert_array_equal(array, expected[name])
                assert array.dtype == expected[name].dtype
        again = as_node(found)
        assert again.base.repository.hash() == content
        assert {name: again.get_shape(name) for name in again.get_arraynames()} == shapes


def test_large_node_is_made_and_read_without_its_arrays_in_memory():
    value = clusters(n_frames=2000, n_features=4000)
    mapped = as_science(as_node(value))
    tracemalloc.start()
    node = as_node(mapped).store()
    again = as_science(orm.load_node(node.pk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60_000_000 < again.configurations.features.nbytes
    np.testing.assert_array_equal(again.configurations.features, value.configurations.features)


def test_large_trajectory_is_stored_without_its_arrays_in_memory():
    value = frames(n_frames=1_000_000, n_features=1, periodic=True)
    mapped = as_science(as_node(value.with_(velocities=value.positions, forces=None, origin={})))
    tracemalloc.start()
    node = as_node(mapped).store()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000 < value.positions.nbytes
    np.testing.assert_array_equal(as_science(orm.load_node(node.pk)).velocities, value.positions)


@pytest.mark.parametrize("state", ["loose", "packed", "compressed"])
def test_arrays_are_read_from_every_kind_of_object(state, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped_arrays, "LARGE_BYTES", 1)
    array, stored = np.random.default_rng(0).normal(size=(50, 4)), io.BytesIO()
    np.save(stored, array)
    with Container(tmp_path) as container:
        container.init_container()
        key = container.add_object(stored.getvalue())
        if state != "loose":
            container.pack_all_loose(compress=CompressMode.YES if state == "compressed" else CompressMode.NO)
            container.clean_storage()
        with container.get_object_stream(key) as stream:
            found = read_npy(stream)
    np.testing.assert_array_equal(found, array)


def test_small_arrays_share_a_file_that_depends_on_nothing_else(monkeypatch):
    value = clusters()
    node = as_node(value).store()
    assert node.base.repository.list_object_names() == [module.SMALL_ARRAYS]
    time.sleep(2.1)  # the resolution of dates in zip files is two seconds
    assert as_node(value).base.repository.hash() == node.base.repository.hash()
    monkeypatch.setattr(module, "SMALL_BYTES", 200)
    split = as_node(value).store()
    files = set(split.base.repository.list_object_names())
    assert {module.SMALL_ARRAYS, "positions.npy", "features.npy"} <= files
    for name in node.get_arraynames():
        for again in (split, orm.load_node(node.pk), as_node(value)):
            np.testing.assert_array_equal(again.get_array(name), node.get_array(name))
    with pytest.raises(KeyError):
        node.get_array("no such array")
    with pytest.raises(ValueError, match="multiple"):
        node.get_array()
    table = as_node(Table({"step": np.arange(3)}))
    np.testing.assert_array_equal(table.get_array(), np.arange(3))
