"""A campaign through a real daemon, interrupted in every way: what is finished is not run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import h5py
import pytest
import yaml
from argon import argon_settings
from campaign_files import argon_campaign, write_argon
from profiles import Workplace

pytestmark = pytest.mark.daemon

N_STAGES = 2 * (1 + 2 + 2)
ALL_FINISHED = "set(found) == {'finished'}"
NOTHING_RUNS = "not {'running', 'scheduled'} & set(found)"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile whose daemon verdi stops afterwards, and two crystals."""
    place = Workplace(tmp_path_factory.mktemp("campaign"))
    place.create_profile()
    write_argon(place.folder / "crystals", 5.26, 5.30)
    yield place
    place.run("verdi", "daemon", "stop", "--timeout", "60")


def write_file(place: Workplace, name: str, **changes: Any) -> str:
    path = place.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(argon_campaign(name=name, pressures_GPa=[0.0001], **changes)))
    return str(path)


def states(place: Workplace, name: str) -> list[dict[str, Any]]:
    return json.loads(place.succeed("aiida-mbetrain", "campaign", "status", name, "--format", "json"))


WAIT = """
import sys, time
from aiida import load_profile
load_profile()
from aiida_mbetrain.campaigns.state import recorded_states
until = time.monotonic() + float(sys.argv[3])
while True:
    found = [state.state for state in recorded_states(sys.argv[1])[1].values()]
    if eval(sys.argv[2]):
        break
    assert time.monotonic() < until, found
    time.sleep(2.0)
"""


def wait_until(place: Workplace, name: str, enough: str, seconds: float = 300.0) -> None:
    """Wait until the states of a campaign's stages, the list ``found``, are as an expression wants them."""
    place.python(WAIT, name, enough, str(seconds), timeout=seconds + 60.0)


def n_stage_nodes(place: Workplace) -> int:
    code = "from aiida import load_profile; load_profile()\n"
    code += "from aiida_mbetrain.campaigns.found import found_stages; print(len(found_stages()))"
    return int(place.python(code).split()[-1])


@pytest.mark.slow
def test_a_campaign_survives_kills_and_gives_the_same_file_everywhere(workplace):
    """In process until killed, on in the daemon, whose worker is killed, too; then anew in process elsewhere."""
    path = write_file(workplace, "killed")
    run = subprocess.Popen(
        ["aiida-mbetrain", "campaign", "run", path], env=workplace.environment, cwd=workplace.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 60
    while not workplace.run("aiida-mbetrain", "campaign", "status", "killed").stdout.count("<"):
        assert time.monotonic() < until
    wait_until(workplace, "killed", "'finished' in found")
    run.kill()
    run.wait()
    before = [row for row in states(workplace, "killed") if row["state"] == "finished"]
    assert 0 < len(before) < N_STAGES
    assert "running" not in {row["state"] for row in states(workplace, "killed")}

    workplace.succeed("verdi", "daemon", "start", "1")
    workplace.succeed("aiida-mbetrain", "campaign", "run", path)
    wait_until(workplace, "killed", f"found.count('finished') > {len(before)}")
    kill_worker(workplace)
    assert "nothing to start" in workplace.succeed("aiida-mbetrain", "campaign", "run", path)
    wait_until(workplace, "killed", ALL_FINISHED)
    after = {row["stage"]: row["pk"] for row in states(workplace, "killed")}
    assert all(after[row["stage"]] == row["pk"] for row in before)
    assert n_stage_nodes(workplace) <= N_STAGES + 1, "the one that was under way when the process was killed"

    workplace.succeed("aiida-mbetrain", "campaign", "export", "killed", "--no-provenance", "-o", "daemon.hdf5")
    other = Workplace(workplace.folder / "other")
    other.create_profile()
    shutil.copytree(workplace.folder / "crystals", other.folder / "crystals")
    other.succeed("aiida-mbetrain", "campaign", "run", write_file(other, "killed"))
    other.succeed("aiida-mbetrain", "campaign", "export", "killed", "--no-provenance", "-o", "here.hdf5")
    assert (workplace.folder / "daemon.hdf5").read_bytes() == (other.folder / "here.hdf5").read_bytes()


def kill_worker(place: Workplace) -> None:
    """SIGKILL a worker of the daemon, which starts another."""
    code = """
import psutil
from aiida import load_profile
load_profile()
from aiida.engine.daemon.client import get_daemon_client
client = get_daemon_client()
workers = client.get_worker_info(timeout=10)["info"]
print("WORKERS", *workers)
"""
    told = next(line for line in place.python(code).splitlines() if line.startswith("WORKERS"))
    for pid in told.split()[1:]:
        os.kill(int(pid), signal.SIGKILL)


def test_a_failing_stage_and_a_cancelled_campaign(workplace):
    """One crystal fails by design; the others go on.  What was cancelled goes on with the same command."""
    workplace.run("verdi", "daemon", "start", "1")
    overrides = argon_settings(md_sampling={"md_crystal": {"ensemble": "NPT"}})
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    unstable = {"md_sampling": {"md_crystal": {"max_force": 1e-9}}}
    conditions = {"temperatures_K": [25.0], "overrides": overrides, "overrides_by_crystal": {"ar_526": unstable}}
    path = write_file(workplace, "failing", **conditions)
    workplace.succeed("aiida-mbetrain", "campaign", "run", path)
    wait_until(workplace, "failing", "'running' in found")
    assert "killed WorkGraph" in workplace.succeed("aiida-mbetrain", "campaign", "cancel", "failing")
    wait_until(workplace, "failing", NOTHING_RUNS)
    workplace.succeed("aiida-mbetrain", "campaign", "run", path)
    wait_until(workplace, "failing", NOTHING_RUNS)
    found = {row["stage"]: row for row in states(workplace, "failing")}
    failed = found.pop("ar_526/lj/25K_0.0001GPa/md_sampling")
    assert failed["state"] == "failed"
    assert "[450]" in failed["reason"]
    assert {row["state"] for row in found.values()} == {"finished"}
    (workplace.folder / "repair.yaml").write_text(yaml.safe_dump({"md_sampling": {"md_crystal": {"max_force": 100.0}}}))
    workplace.succeed("aiida-mbetrain", "campaign", "retry", "failing", "--override", "repair.yaml")
    wait_until(workplace, "failing", ALL_FINISHED)


EXTENDED = """
import sys
from aiida import load_profile
from own_task import count_stages
from aiida_mbetrain.campaigns import build

load_profile()
graph = build(sys.argv[1])
crystal = graph.tasks["c0_ar_534_lj"]
own = graph.add_task(count_stages, name="own", structure=crystal.inputs.structure.value)
crystal >> own
graph.submit()
print("GRAPH", graph.process.pk)
"""


def test_a_task_of_ones_own_waits_for_the_crystal_it_is_about(workplace):
    workplace.run("verdi", "daemon", "start", "1")
    write_argon(workplace.folder / "own", 5.34)
    path = write_file(workplace, "extended", temperatures_K=[26.0], crystals=["own/ar_534.cif"])
    graph = workplace.python(EXTENDED, path).split()[-1]
    assert "nothing to start" in workplace.succeed("aiida-mbetrain", "campaign", "run", path), "known, whoever submits"
    code = """
import sys, time
from aiida import load_profile, orm
load_profile()
graph = orm.load_node(int(sys.argv[1]))
until = time.monotonic() + 240
while not graph.is_terminated:
    assert time.monotonic() < until
    time.sleep(1)
assert graph.is_finished_ok, graph.exit_message
[own] = [node for node in graph.called if node.process_label == "count_stages"]
print("COUNT", own.outputs.result.value)
"""
    assert int(workplace.python(code, graph).split()[-1]) == 2, "force constants and dynamics were there before it"
    assert {row["state"] for row in states(workplace, "extended")} == {"finished"}


@pytest.mark.slow
def test_phonons_at_the_volume_of_their_temperature(workplace):
    """Thermal expansion: force constants are taken from outputs that exist only after the fit, or not even then."""
    workplace.run("verdi", "daemon", "start", "1")
    write_argon(workplace.folder / "wide", 5.42)
    overrides = argon_settings(
        md_sampling={"md_crystal": {"ensemble": "NPT"}},
        quasi_harmonic={"thermal_expansion": True, "volume_range": [0.98, 1.0, 1.02, 1.04, 1.06, 1.08]},
    )
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    conditions = {"crystals": ["wide"], "temperatures_K": [10.0, 20.0, 150.0], "overrides": overrides}
    workplace.succeed("aiida-mbetrain", "campaign", "run", write_file(workplace, "expanding", **conditions))
    wait_until(workplace, "expanding", NOTHING_RUNS, seconds=500.0)
    found = {row["stage"]: row for row in states(workplace, "expanding")}
    without_volume = found.pop("ar_542/lj/150K_0.0001GPa/phonon_sampling")
    assert without_volume["state"] == "blocked"
    assert "has no crystal[eq:T=150.00]" in without_volume["reason"]
    assert {row["state"] for row in found.values()} == {"finished"}, found
    exported = workplace.folder / "expanding.hdf5"
    workplace.succeed("aiida-mbetrain", "campaign", "export", "expanding", "-o", str(exported))
    with h5py.File(exported) as file:
        for temperature in (10, 20):
            section = file[f"ar_542/lj/{temperature}K_0.0001GPa/phonon_sampling"]
            key = section.attrs["force_constants_key"]
            assert f"crystal[eq:T={temperature}.00]" in key
            assert key in file
