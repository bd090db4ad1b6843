"""A whole training set in process: CPU time outside the heavy stages, and how many nodes it makes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.figure import Figure

LENNARD_JONES = {"name": "lennard_jones", "parameters": {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True}}


def figures(*, small: bool) -> Iterator[Figure]:
    """Of solid argon, in a profile that is gone afterwards; AIIDA_PATH must be set by the caller."""
    from aiida import load_profile
    from aiida.manage import get_manager
    from aiida.storage.sqlite_temp import SqliteTempBackend

    options = {"warnings.development_version": False, "logging.aiida_loglevel": "ERROR"}
    load_profile(SqliteTempBackend.create_profile("benchmarks", options=options), allow_switch=True)
    try:
        _training_set(5)  # imports
        few, many = (5, 20) if small else (20, 200)
        spent, nodes = zip(*(_training_set(n_frames) for n_frames in (few, many)), strict=True)
    finally:
        get_manager().unload_profile()
    what = f"training set in process, {many} + {many} frames, without its heavy stages"
    yield Figure("AiiDA", what, spent[1], "s CPU", 20.0)
    yield Figure("AiiDA", f"nodes of {many} + {many} frames", nodes[1])
    yield Figure("AiiDA", f"nodes of {many} + {many} frames / of {few} + {few}", nodes[1] / nodes[0], limit=1.0)


def _training_set(n_frames: int) -> tuple[float, int]:
    """CPU time outside the heavy stages, and the number of nodes below and with the process."""
    from aiida import orm
    from aiida.engine import run_get_node
    from ase.build import bulk

    from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

    builder = TrainingSetWorkChain.get_builder_from_protocol(
        orm.StructureData(ase=bulk("Ar", "fcc", a=5.26)),
        orm.Dict(LENNARD_JONES),
        protocol="fast",
        overrides=_settings(n_frames),
    )
    start = time.process_time()
    _, node = run_get_node(builder)
    spent = time.process_time() - start
    assert node.is_finished_ok, f"{node.exit_status} {node.exit_message}"
    heavy = [child.outputs.run_info for child in node.called_descendants if "run_info" in child.outputs]
    steps = [node, *node.called_descendants]
    made = {link.node.uuid for step in steps for link in step.base.links.get_outgoing().all()} | {node.uuid}
    return spent - sum(info["cpu_time_s"] for info in {info.uuid: info for info in heavy}.values()), len(made)


def _settings(n_frames: int) -> dict[str, Any]:
    clusters = {"n_molecules": [1, 2, 3, 4, 5, 6, 7, 8]}
    md = {"ensemble": "NVT", "time_step_fs": 5.0, "time_equilibration_fs": 0.0, "sampling_interval_fs": 5.0}
    return {
        "md_sampling": {
            "temperature_K": 20.0,
            "finite_subsystem_filter": clusters,
            "md_crystal": md | {"time_total_fs": 5.0 * n_frames, "supercell_radius": 7.0},
        },
        "quasi_harmonic": {
            "thermal_expansion": False,
            "supercell_radius": 7.0,
            "fourier_interpolation_mesh": [4, 4, 4],
        },
        "phonon_sampling": {
            "temperature_K": 20.0,
            "finite_subsystem_filter": clusters,
            "phonon_filter": {"k_point_mesh": "commensurate"},
            "modes": "all",
            "amplitude_scan": "thermal",
            "n_frames": n_frames,
        },
    }
