"""Orbits, multiplicities and several clusters of a size in a dataset file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from dataset_examples import differences, md_section

from aiida_mbetrain.datasets.hdf5 import clusters, origin_of, read_dataset, write_dataset
from aiida_mbetrain.datasets.model import Dataset, MDSection
from aiida_mbetrain.science.clusters import ClusterSet


def section_with_orbits() -> MDSection:
    """A section whose cluster of two molecules has a twin, both with orbits, and whose others have none."""
    section = md_section(np.random.default_rng(3))
    assert section.molecules is not None
    pair, *others = section.molecules.clusters
    first = ClusterSet(replace(pair.cluster, orbit="0123456789ab", multiplicity=12), pair.configurations)
    twin = ClusterSet(replace(first.cluster, key="n=2,c=2", multiplicity=6), pair.configurations)
    return replace(section, molecules=replace(section.molecules, clusters=(first, twin, *others)))


def test_orbits_survive_the_file(tmp_path: Path):
    section = section_with_orbits()
    write_dataset(tmp_path / "set.hdf5", Dataset((section,)))
    assert section.molecules is not None
    back = read_dataset(tmp_path / "set.hdf5").md[0].molecules
    assert back is not None
    written = {item.cluster.key: item.cluster for item in section.molecules.clusters}
    assert not differences(written, {item.cluster.key: item.cluster for item in back.clusters})


def test_clusters_of_a_size_follow_one_another(tmp_path: Path):
    write_dataset(tmp_path / "set.hdf5", Dataset((section_with_orbits(),)))
    keys = [path.rpartition("/")[2] for path, _ in clusters(tmp_path / "set.hdf5")]
    assert keys == ["n=1", "n=2", "n=2,c=2", "n=10"]


def test_an_entry_tells_its_orbit(tmp_path: Path):
    section = section_with_orbits()
    write_dataset(tmp_path / "set.hdf5", Dataset((section,)))
    origins = {
        key: origin_of(tmp_path / "set.hdf5", f"{section.group}/finite_subsystems/{key}", 0)
        for key in ("n=1", "n=2", "n=2,c=2")
    }
    assert {key: (origin.orbit, origin.multiplicity) for key, origin in origins.items()} == {
        "n=1": (None, None),
        "n=2": ("0123456789ab", 12),
        "n=2,c=2": ("0123456789ab", 6),
    }
