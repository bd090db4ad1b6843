"""AiiDA of the tests lives in a temporary folder, for this process and for every one it starts.

Importing ``aiida.orm`` creates ``$AIIDA_PATH/.aiida``, hence ``~/.aiida`` where the variable is not set; so it is
set before any test module is imported.

One thread, as the jobs have: sums over another number of threads differ in the last bits.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon import LENNARD_JONES, argon_atoms, run_argon

AIIDA_PATH = Path(tempfile.mkdtemp(prefix="mbetrain-tests-"))
os.environ["AIIDA_PATH"] = str(AIIDA_PATH)
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the folder."""
    shutil.rmtree(AIIDA_PATH, ignore_errors=True)


class FailuresAtOnce:
    """Name a failed test when it fails: a run that is cut off prints no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            why = report.longreprtext.strip().splitlines()
            self._terminal.ensure_newline()
            self._terminal.write_line(f"FAILED {report.nodeid} ({report.when}): {why[-1] if why else ''}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(FailuresAtOnce(terminal))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For ``pytest -n 3``: a file stays in one process, and all that share the one SLURM share one, which starts first
    with them, for they take longest.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneSlurm(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return "slurm" if "slurm" in path else path

    config.option.loadscopereorder = False
    return OneSlurm(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests on SLURM first, then the workflows: the longest files last would leave all processes but one idle."""
    items.sort(key=lambda item: (item.get_closest_marker("slurm") is None, "workflows" not in item.path.parts))


@pytest.fixture(scope="session")
def profile() -> Iterator[Any]:
    """A profile in memory, without services, for the whole session."""
    from aiida import load_profile
    from aiida.manage import get_manager
    from aiida.storage.sqlite_temp import SqliteTempBackend

    profile = SqliteTempBackend.create_profile("tests", options={"warnings.development_version": False})
    load_profile(profile, allow_switch=True)
    yield profile
    get_manager().unload_profile()


@pytest.fixture
def argon(profile: Any) -> Any:
    """StructureData of fcc argon, one atom and one molecule per cell."""
    from aiida import orm

    return orm.StructureData(ase=argon_atoms())


@pytest.fixture
def lennard_jones(profile: Any) -> Any:
    """A model input that needs no model file."""
    from aiida import orm

    return orm.Dict(LENNARD_JONES)


@pytest.fixture(scope="session")
def finished(profile: Any) -> Any:
    """One finished training set of argon, shared by every test that only reads it."""
    return run_argon()


@pytest.fixture(scope="session")
def slurm() -> None:
    """Skip where no SLURM of setup_computers/slurm-local runs; one that runs no job fails its tests at once."""
    if shutil.which("scontrol") is None:
        pytest.skip("SLURM is not installed; see setup_computers/slurm-local")
    clusters = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False)
    if clusters.returncode != 0:
        pytest.skip("SLURM does not answer; start it with setup_computers/slurm-local/start.sh")
    if "mbetrain" not in clusters.stdout:
        pytest.skip("the SLURM of this machine is not that of setup_computers/slurm-local")
    job = ["srun", "--immediate=60", "--partition=tesla", "--gpus-per-node=1", "--mem=50", "--time=1", "true"]
    ran = subprocess.run(job, capture_output=True, text=True, check=False, timeout=120)
    state = subprocess.run(["sinfo", "--Node", "--long"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"SLURM runs no job: {ran.stderr}{state.stdout}"


@pytest.fixture(scope="session")
def sshd() -> None:
    """Skip where the ssh server of setup_computers/slurm-local does not let us in.

    ssh looks for its configuration in the home of the password database, asyncssh (AiiDA) in $HOME: name the latter.
    """
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    configuration = Path.home() / ".ssh" / "config"
    options = ["-F", str(configuration), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
    command = ["ssh", *options, "mbetrain-slurm-local", "true"]
    if not configuration.exists() or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no ssh to mbetrain-slurm-local; start it with setup_computers/slurm-local/start-sshd.sh")
