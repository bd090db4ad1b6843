"""A profile with the ZeroMQ broker and a real daemon in a throw-away folder, and the SLURM of setup_computers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiida import load_profile, orm
from aiida.manage import get_manager
from aiida.manage.configuration import reset_config
from aiida.manage.configuration.settings import AiiDAConfigDir
from slurm_session import BIN, SLURM_LOCAL, verdi


@pytest.fixture(scope="module")
def daemon(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a profile whose daemon runs; skips where no SLURM of setup_computers/slurm-local answers."""
    folder = tmp_path_factory.mktemp("daemon")
    before = get_manager().get_profile()
    saved = {name: os.environ.get(name) for name in ("AIIDA_PATH", "PATH", "OMP_NUM_THREADS")}
    os.environ |= {"AIIDA_PATH": str(folder), "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    verdi("presto", "--use-zeromq", "-n")
    verdi("config", "set", "runner.poll.interval", "1")
    verdi("config", "set", "daemon.timeout", "120")
    verdi("config", "set", "warnings.development_version", "False")
    _configure(folder)
    load_profile("presto", allow_switch=True)
    verdi("daemon", "start")
    yield folder
    verdi("daemon", "stop")
    for name, value in saved.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    _configure(Path(os.environ["AIIDA_PATH"]))
    if before is not None:
        load_profile(before, allow_switch=True)


def _configure(folder: Path) -> None:
    AiiDAConfigDir.set(folder / ".aiida")
    reset_config()


@pytest.fixture(scope="module")
def code(daemon: Path) -> orm.InstalledCode:
    """mbetrain-worker on the local SLURM, set up from the files of setup_computers."""
    return _set_up("core.local", "slurm-local", "", SLURM_LOCAL / "code.yaml")


@pytest.fixture(scope="module")
def code_over_ssh(sshd: None, daemon: Path) -> orm.InstalledCode:
    """The same through core.ssh_async; skips where start-sshd.sh has not been run."""
    filled_in = daemon / "code-ssh.yaml"
    filled_in.write_text((SLURM_LOCAL / "code-ssh.yaml").read_text().replace("/CHANGE_ME/bin", str(BIN)))
    return _set_up("core.ssh_async", "slurm-local-ssh", "-ssh", filled_in)


def _set_up(transport: str, label: str, suffix: str, code: Path) -> orm.InstalledCode:
    computer, configure = (str(SLURM_LOCAL / f"{role}{suffix}.yaml") for role in ("computer", "configure"))
    verdi("computer", "setup", "-n", "--config", computer)
    verdi("computer", "configure", transport, label, "-n", "--config", configure)
    verdi("code", "create", "core.code.installed", "-n", "--config", str(code))
    orm.load_computer(label).set_minimum_job_poll_interval(0.5)
    return orm.load_code(f"mbetrain@{label}")
