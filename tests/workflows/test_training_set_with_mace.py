"""The whole chain on the demo crystal with the demo model, in one unit cell: the same seed gives the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
from aiida import orm
from aiida.engine import run_get_node
from commands import call

from aiida_mbetrain import demo
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

UNIT_CELL = {"supercell_matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
CLUSTERS = {"finite_subsystem_filter": {"n_molecules": [1, 2]}}
TINY: dict[str, Any] = {
    "md_sampling": CLUSTERS
    | {
        "md_crystal": UNIT_CELL
        | {
            "ensemble": "NPT",
            "time_total_fs": 8.0,
            "time_equilibration_fs": 4.0,
            "sampling_interval_fs": 2.0,
            "time_step_fs": 1.0,
        }
    },
    "quasi_harmonic": UNIT_CELL
    | {"thermal_expansion": False, "fourier_interpolation_mesh": [1, 1, 1], "max_force_on_atom": 0.05},
    "phonon_sampling": CLUSTERS | {"n_frames": 1, "phonon_filter": {"selected_modes": [10, 20]}},
}


def run_demo() -> orm.ProcessNode:
    """A finished training set; the model is loaded from its node in every stage anew."""
    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=demo.crystal()),
        MaceModelData.get_or_create(demo.model_path()),
        protocol="fast",
        overrides=TINY,
    )
    _, node = run_get_node(builder)
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    return node


def test_same_seed_gives_the_same_bytes_with_a_mace_model(tmp_path: Path):
    runs = [run_demo(), run_demo()]
    files = [tmp_path / "a.hdf5", tmp_path / "b.hdf5"]
    for run, file in zip(runs, files, strict=True):
        call("export", run.pk, "--no-provenance", "-o", file)
    assert files[0].read_bytes() == files[1].read_bytes()
    digests = [run.outputs.dataset.base.attributes.get("content_sha256") for run in runs]
    assert digests[0] == digests[1]
    with h5py.File(files[0]) as file:
        assert file.attrs["content_sha256"] == digests[0]
        clusters = file["training/md_sampling/crystal[dyn:T=298.15,p=0.00010]/finite_subsystems/n=2"]
        assert clusters["cluster_of_molecules/feature_vectors"].shape[:2] == (2, 44)
