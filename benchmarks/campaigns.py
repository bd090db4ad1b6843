#!/usr/bin/env python
"""Campaigns of argon at 5 temperatures and 3 pressures, by number of crystals, through the daemon of the profile.

    verdi daemon start 1
    python campaigns.py 1 4 23

prints for each number its members, the seconds of building and submitting, of the whole, and of each stage, the CPU
seconds of the daemon's workers for each stage, which do not depend on what else the machine does, the nodes and the
peak memory of the workers.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil
import yaml
from aiida import load_profile, orm
from aiida.engine.daemon.client import get_daemon_client
from ase.build import bulk

from aiida_mbetrain.campaigns.reading import read_sources
from aiida_mbetrain.campaigns.record import group_of, record_of, write_record
from aiida_mbetrain.campaigns.run import submit_campaign
from aiida_mbetrain.campaigns.settings import read_campaign
from aiida_mbetrain.campaigns.state import counts, stage_states

LENNARD_JONES = {"name": "lennard_jones", "parameters": {"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True}}
CLUSTERS = {"n_molecules": [1, 2]}
OVERRIDES = {
    "md_sampling": {
        "finite_subsystem_filter": CLUSTERS,
        "md_crystal": {
            "time_total_fs": 50.0, "time_equilibration_fs": 10.0, "sampling_interval_fs": 10.0, "time_step_fs": 5.0,
            "supercell_radius": 7.0,
        },
    },
    "quasi_harmonic": {"supercell_radius": 7.0, "fourier_interpolation_mesh": [4, 4, 4]},
    "phonon_sampling": {
        "finite_subsystem_filter": CLUSTERS, "phonon_filter": {"k_point_mesh": "commensurate"}, "n_frames": 2,
    },
}  # fmt: skip


def campaign_file(folder: Path, n_crystals: int) -> Path:
    """Crystals of argon that differ by their lattice constant, and the campaign file beside them."""
    (folder / "crystals").mkdir()
    for number in range(n_crystals):
        bulk("Ar", "fcc", a=5.20 + 0.01 * number).write(folder / "crystals" / f"ar_{number:02d}.cif")
    path = folder / "campaign.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "name": f"benchmark_{n_crystals}_{time.time():.0f}",
                "crystals": ["crystals"],
                "models": {"lj": LENNARD_JONES},
                "temperatures_K": [10.0, 15.0, 20.0, 25.0, 30.0],
                "pressures_GPa": [0.0, 0.01, 0.02],
                "protocol": "fast",
                "overrides": OVERRIDES,
                "rng_seed": int(time.time()) % 2**31,  # nothing of an earlier benchmark is used
            }
        )
    )
    return path


def workers() -> list[psutil.Process]:
    """Processes of the daemon's workers."""
    return [psutil.Process(int(pid)) for pid in get_daemon_client().get_worker_info(timeout=60)["info"]]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """CPU time of processes since they began."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def benchmark(n_crystals: int) -> str:
    """Run a campaign to its end; a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        settings = read_campaign(campaign_file(Path(folder), n_crystals))
        crystals, models = read_sources(settings, Path(folder))
        before = orm.QueryBuilder().append(orm.Node).count()
        processes = workers()
        start, cpu = time.perf_counter(), cpu_seconds(processes)
        group = group_of(settings.name, create=True)
        record = record_of(settings, crystals, models, None)
        write_record(group, record)
        plan = record.plan()
        states = stage_states(plan)
        wanted = [name for name, state in states.items() if state.state != "finished"]
        graph = submit_campaign(plan, record, group, states, wanted)
        submitted, peak = time.perf_counter() - start, 0
        while not graph.is_terminated:
            time.sleep(2)
            peak = max(peak, *(process.memory_info().rss for process in processes))
        seconds, cpu = time.perf_counter() - start, cpu_seconds(processes) - cpu
    asked = time.perf_counter()
    states = stage_states(plan)
    asking = time.perf_counter() - asked
    n_nodes = orm.QueryBuilder().append(orm.Node).count() - before
    return (
        f"{len(plan.members):7} {len(wanted):7} {submitted:9.1f} {seconds:9.0f} {seconds / len(wanted):8.2f} "
        f"{cpu / len(wanted):7.2f} {n_nodes:7} {peak / 1e6:8.0f} {asking:8.2f}  {counts(states.values())}"
    )


def main() -> None:
    """Print a row for every number of crystals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_crystals", type=int, nargs="+")
    load_profile()
    print("members  stages  submit/s   whole/s  s/stage   CPU/s   nodes  peak/MB status/s", flush=True)
    for number in parser.parse_args().n_crystals:
        print(benchmark(number), flush=True)


if __name__ == "__main__":
    main()
