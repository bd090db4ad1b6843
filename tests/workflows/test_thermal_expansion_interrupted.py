"""Thermal expansion whose jobs are told to stop and killed gives what the one in a single process gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiida import orm
from aiida.engine import run_get_node
from argon import LENNARD_JONES
from ase.build import bulk
from job_runs import assert_same_outputs, data_outputs, local_code

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain

pytestmark = pytest.mark.slow

SETTINGS: dict[str, Any] = {
    "thermal_expansion": True,
    "relax_input_cell": "full",
    "supercell_radius": 7.0,
    "fourier_interpolation_mesh": [4, 4, 4],
    "temperatures_K": [20.0],
    "volume_range": [0.98, 1.02, 1.06, 1.10],
}
WORKER = """#!{python}
import os, signal, sys
from pathlib import Path
from aiida_mbetrain.worker import main as program

counted = Path({counted!r})
run = len(list(counted.iterdir()))
(counted / str(run)).touch()
listen = program.CLOCK.listen

def interrupted():
    listen()
    os.kill(os.getpid(), {signals!r}.get(run, 0))

program.CLOCK.listen = interrupted
sys.exit(program.main())
"""
"""mbetrain-worker that counts its runs, and sends itself the signal of the run; 0 is none.

After SIGTERM a stage still makes one evaluation or one batch of them.
"""
TERM, KILL = 15, 9


def interrupted_code(folder: Path, signals: dict[int, int]) -> orm.InstalledCode:
    """A worker that gets signals, by the number of its run."""
    counted = folder / "runs"
    counted.mkdir()
    program = folder / "worker"
    program.write_text(WORKER.format(python=sys.executable, counted=str(counted), signals=signals))
    program.chmod(0o755)
    computer = local_code(folder).computer
    return orm.InstalledCode(computer=computer, filepath_executable=str(program), label="interrupted").store()


def expansion(**more: Any) -> orm.WorkChainNode:
    """Hexagonal close-packed argon: c/a relaxes at every volume."""
    builder = QuasiHarmonicWorkChain.get_builder()
    builder.structure = orm.StructureData(ase=bulk("Ar", "hcp", a=3.75, c=6.0))
    builder.model = orm.Dict(LENNARD_JONES)
    builder.settings = orm.Dict(SETTINGS)
    for port, value in more.items():
        builder[port] = value
    node = run_get_node(builder)[1]
    assert node.is_finished_ok, node.exit_message
    return node


def jobs_of(node: orm.ProcessNode, step: str, stage: str) -> Sequence[int]:
    """Exit codes of the jobs of a stage of a crystal, in the order in which they ran."""
    crystal = next(link.node for link in node.base.links.get_outgoing().all() if link.link_label == step)
    found = [one for one in crystal.called_descendants if isinstance(one, orm.CalcJobNode)]
    ordered = sorted(found, key=lambda one: one.pk)
    return [one.exit_status for one in ordered if one.process_type.endswith(f"mbetrain.{stage}")]


def test_interrupted_and_continued_run_equals_the_uninterrupted_one(profile, tmp_path):
    in_one_go = expansion()
    # the reference's two jobs; a relaxation stopped, killed and finished; force constants stopped and finished; then
    # the second volume's relaxation killed before it did anything
    code = interrupted_code(tmp_path, {2: TERM, 3: KILL, 5: TERM, 7: KILL})
    in_pieces = expansion(code=code)
    assert jobs_of(in_pieces, "V_0_9800", "relaxation") == [400, 310, 0]
    assert jobs_of(in_pieces, "V_0_9800", "force_constants") == [400, 0]
    assert jobs_of(in_pieces, "V_1_0200", "relaxation") == [310, 0]
    assert {"equilibrium", "equation_of_state", "volumes__V_0_9800__force_constants"} <= set(data_outputs(in_pieces))
    assert_same_outputs(in_one_go, in_pieces)
    written = [tmp_path / f"{name}.hdf5" for name in ("one_go", "pieces")]
    for node, path in zip((in_one_go, in_pieces), written, strict=True):
        write_dataset(path, dataset_of(stage_nodes([node])), provenance=False)
    assert written[0].read_bytes() == written[1].read_bytes()
