"""The export command: parts of a run, joining files, refusals in one line."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from commands import call, one_line

from aiida_mbetrain.datasets.hdf5 import read_dataset


def keys(path: Path) -> list[str]:
    return sorted({name.rpartition("/")[2] for name in read_dataset(path).cluster_sets})


def test_a_part_of_a_run_and_a_part_of_its_file_are_the_same_file(finished, tmp_path: Path):
    part = ("--sources", "md", "--sizes", "2,3", "--no-features")
    call("export", finished.pk, "-o", tmp_path / "all.hdf5")
    call("export", finished.pk, *part, "-o", tmp_path / "nodes.hdf5")
    call("export", tmp_path / "all.hdf5", *part, "-o", tmp_path / "file.hdf5")
    assert keys(tmp_path / "nodes.hdf5") == ["n=2", "n=3"]
    assert (tmp_path / "nodes.hdf5").read_bytes() == (tmp_path / "file.hdf5").read_bytes()


def test_the_dataset_node_is_a_source_as_well(finished, tmp_path: Path):
    call("export", finished.pk, "-o", tmp_path / "run.hdf5")
    call("export", finished.outputs.dataset.pk, "-o", tmp_path / "node.hdf5")
    assert (tmp_path / "run.hdf5").read_bytes() == (tmp_path / "node.hdf5").read_bytes()


def test_stages_join_to_the_file_of_the_run(finished, tmp_path: Path):
    children = {node.process_label: node for node in finished.called}
    for stage in ("QuasiHarmonicWorkChain", "MDSamplingWorkChain"):
        call("export", children[stage].pk, "--append", "-o", tmp_path / "joined.hdf5")
    call("export", finished.pk, "--append", "-o", tmp_path / "joined.hdf5")
    call("export", finished.pk, "-o", tmp_path / "whole.hdf5")
    joined, whole = read_dataset(tmp_path / "joined.hdf5"), read_dataset(tmp_path / "whole.hdf5")
    assert [section.group for section in joined.sections] == [section.group for section in whole.sections]


def test_a_full_disk_is_one_line_and_leaves_nothing_but_the_earlier_file(finished, tmp_path: Path):
    whole, again = tmp_path / "whole.hdf5", tmp_path / "again.hdf5"
    call("export", finished.pk, "-o", whole)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole.stat().st_size // 2, limits[1]))
    try:
        assert "cannot be written" in one_line("export", finished.pk, "-o", again)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.glob("*.hdf5")) == [whole]
    call("export", finished.pk, "-o", again)
    assert again.read_bytes() == whole.read_bytes()


def test_refusals_are_one_line(finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.hdf5").write_text("hello")
    pk, structure = finished.pk, finished.inputs.structure.pk
    for arguments, reason in (
        ((999999,), "999999"),
        ((structure,), "StructureData"),
        (("foreign.hdf5",), "not an HDF5 file"),
        ((pk, "--sources", "dft"), "none of md"),
        ((pk, "--sizes", "9"), "sizes = 9"),
        ((pk, "--compression", "12"), "compression"),
        ((pk, "--append", "-o", "foreign.hdf5"), "not an HDF5 file"),
        ((pk, "-o", "missing/a.hdf5"), "does not exist"),
        ((next(iter(finished.called)).called[0].pk,), "is no run: give a"),
    ):
        assert reason in one_line("export", *arguments)
