"""Labels of a stage by several jobs: the same as those of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stage_jobs import arrays_of

from aiida_mbetrain.errors import UnreadableFile
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import growing_array
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.stages import STAGES, Job, join_parts, table
from aiida_mbetrain.science.stages.labels_in_batches import plan_pieces
from aiida_mbetrain.science.stages.labels_in_parts import rows_of_part
from aiida_mbetrain.settings import Inference

ATOMS_PER_PIECE = 24
PARTS = (1, 2, 3, 5, 40)


class KnowsItsNeighbours(Potential):
    """Energies that depend on all frames that are evaluated together, as rounding errors of real models do."""

    feature_length = 4

    def evaluate(self, sets, *, features=False, report=None):
        mean = np.concatenate([part.positions.ravel() for part in sets]).mean()
        return [
            part.with_(
                energies=part.positions.sum(axis=(1, 2)) + mean,
                forces=part.positions + mean,
                stress=np.zeros((part.n_frames, 3, 3)) if part.periodic else None,
                features=part.positions[:, :, :1] * np.arange(4) if features else None,
            )
            for part in sets
        ]

    def calculator(self):
        raise NotImplementedError

    def describe(self):
        return {"name": "neighbours", "device": "cpu"}


def frames(n_frames: int, n_atoms: int, seed: int, *, periodic: bool = False) -> Configurations:
    positions = np.random.default_rng(seed).normal(size=(n_frames, n_atoms, 3))
    cells = np.tile(np.eye(3), (n_frames, 1, 1)) if periodic else None
    return Configurations(np.full(n_atoms, 6), positions, cells, origin={"frame": np.arange(n_frames)})


def clusters(n_frames: int, n_atoms: int, seed: int) -> ClusterSet:
    cluster = Cluster(f"n={n_atoms}", np.arange(n_atoms), np.zeros((n_atoms, 3), dtype=np.int64), 0)
    return ClusterSet(cluster, frames(n_frames, n_atoms, seed))


@pytest.fixture(params=["all", "clusters", "none"])
def whole(request, monkeypatch) -> Job:
    """Sets of several sizes, one without frames."""
    monkeypatch.setitem(table.ATOMS_PER_PIECE, "cpu", ATOMS_PER_PIECE)
    sets = {"n_5": clusters(13, 5, 1), "frames": frames(7, 8, 2, periodic=True), "n_2": clusters(0, 2, 3)}
    sets |= {"n_30": clusters(3, 30, 4), "n_3": clusters(21, 3, 5)}
    return Job(sets, KnowsItsNeighbours(), inference=Inference(features=request.param))


def part(job: Job, number: int, n_parts: int) -> dict[str, object]:
    return dict(STAGES["labels"](replace(job, settings={"part": [number, n_parts]})))


@pytest.mark.parametrize("n_parts", PARTS)
def test_parts_join_to_the_labels_of_one_job(whole, n_parts):
    expected = arrays_of(STAGES["labels"](whole))
    found = arrays_of(join_parts([part(whole, number, n_parts) for number in range(1, n_parts + 1)]))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        assert found[name].dtype == array.dtype


def test_large_arrays_are_joined_in_files(whole, monkeypatch):
    expected = arrays_of(STAGES["labels"](whole))
    parts = [part(whole, number, 3) for number in (1, 2, 3)]
    monkeypatch.setattr(growing_array, "LARGE_BYTES", 100)
    for name, array in arrays_of(join_parts(parts)).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


@pytest.mark.parametrize("n_parts", PARTS)
def test_every_frame_is_in_one_part(n_parts):
    sets = [frames(n_frames, n_atoms, 0) for n_frames, n_atoms in ((13, 5), (0, 2), (3, 30), (21, 3))]
    pieces = list(plan_pieces(sets, [True] * 4, ATOMS_PER_PIECE))
    shares = [rows_of_part(pieces, number, n_parts) for number in range(1, n_parts + 1)]
    for index, item in enumerate(sets):
        rows = [row for share in shares if index in share for row in range(item.n_frames)[share[index]]]
        assert rows == list(range(item.n_frames))


def test_a_checkpoint_belongs_to_its_part(whole, tmp_path):
    saving = replace(whole, checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=1e-9)
    part(saving, 1, 2)
    with pytest.raises(UnreadableFile, match="other inputs"):
        part(saving, 2, 2)
