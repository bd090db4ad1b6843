"""A training set of argon in a profile on PostgreSQL and RabbitMQ: as jobs through its daemon, and in this process.

A program of its own, because a process has one AiiDA profile.  It needs AIIDA_PATH, an empty database named by its
first argument, and writes ``jobs.hdf5`` and ``in_process.hdf5`` to the folder of its second.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiida import load_profile, orm
from aiida.engine import run_get_node, submit
from aiida.manage import get_manager
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms
from slurm_session import OPTIONS, SLURM_LOCAL, verdi, wait_until

from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes, stages_of
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

PROFILE = (
    *("--profile-name", "full", "--email", "you@example.org"),
    *("--first-name", "Your", "--last-name", "Name", "--institution", "Here", "--broker", "core.rabbitmq"),
    *("--database-hostname", "127.0.0.1", "--database-port", "5432"),
    *("--database-username", "aiida", "--database-password", "aiida"),
)


def set_up(database: str, folder: Path) -> orm.InstalledCode:
    """The profile, its daemon, and mbetrain-worker on the local SLURM."""
    repository = ("--repository-uri", f"file://{folder}/repository")
    verdi("profile", "setup", "core.psql_dos", "-n", *PROFILE, "--database-name", database, *repository)
    for name, value in (("runner.poll.interval", "1"), ("daemon.timeout", "120")):
        verdi("config", "set", name, value)
    for name in ("warnings.development_version", "warnings.rabbitmq_version"):
        verdi("config", "set", name, "False")
    load_profile("full")
    verdi("computer", "setup", "-n", "--config", str(SLURM_LOCAL / "computer.yaml"))
    verdi("computer", "configure", "core.local", "slurm-local", "-n", "--config", str(SLURM_LOCAL / "configure.yaml"))
    verdi("code", "create", "core.code.installed", "-n", "--config", str(SLURM_LOCAL / "code.yaml"))
    orm.load_computer("slurm-local").set_minimum_job_poll_interval(0.5)
    verdi("daemon", "start")
    return orm.load_code("mbetrain@slurm-local")


def main() -> None:
    """Both ways, one after the other."""
    database, folder = sys.argv[1], Path(sys.argv[2])
    code = set_up(database, folder)
    assert get_manager().get_broker().__class__.__name__ == "RabbitmqBroker"
    build = TrainingSetWorkChain.get_builder_from_protocol
    crystal, model = orm.StructureData(ase=argon_atoms()), orm.Dict(LENNARD_JONES)
    given = {"protocol": "fast", "overrides": ARGON_SETTINGS}
    node = submit(build(crystal, model, code=code, options=OPTIONS, **given))
    try:
        _, in_process = run_get_node(build(crystal, model, **given))
        wait_until(lambda: node.is_terminated, what=f"{node} is {node.process_state}")
    finally:
        verdi("daemon", "stop")
    for name, process in (("jobs", node), ("in_process", in_process)):
        assert process.is_finished_ok, f"{name}: {process.exit_status} {process.exit_message}"
        write_dataset(folder / f"{name}.hdf5", dataset_of(stage_nodes(stages_of(process))), provenance=False)
    assert any(isinstance(job, orm.CalcJobNode) for job in node.called_descendants)


if __name__ == "__main__":
    main()
