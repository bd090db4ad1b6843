"""Campaigns as jobs of SLURM: the files of campaigns in process, and nothing is computed twice after faults."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from argon import argon_settings
from campaign_files import argon_campaign, write_argon
from crystals import ammonia, carbon_dioxide
from profiles import Workplace
from shortened import SHORT
from slurm_session import OPTIONS, SLURM_LOCAL, shell

from aiida_mbetrain import demo

pytestmark = [pytest.mark.slurm, pytest.mark.daemon, pytest.mark.long]

ON_SLURM = {"code": "mbetrain@slurm-local", "options": OPTIONS, "max_jobs": 4}
MOLECULAR = {
    "temperatures_K": [100.0, 150.0],
    "protocol": "fast",
    "overrides": {name: SHORT[name] for name in ("md_sampling", "quasi_harmonic", "phonon_sampling")},
}
"""One unit cell and 20 fs."""


@pytest.fixture(scope="module")
def workplace(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile with a daemon and mbetrain-worker on the local SLURM."""
    place = Workplace(tmp_path_factory.mktemp("slurm_campaigns"))
    place.create_profile()
    place.succeed("verdi", "config", "set", "daemon.timeout", "120")
    computer, configure = str(SLURM_LOCAL / "computer.yaml"), str(SLURM_LOCAL / "configure.yaml")
    place.succeed("verdi", "computer", "setup", "-n", "--config", computer)
    place.succeed("verdi", "computer", "configure", "core.local", "slurm-local", "-n", "--config", configure)
    place.succeed("verdi", "code", "create", "core.code.installed", "-n", "--config", str(SLURM_LOCAL / "code.yaml"))
    quick = "from aiida import load_profile, orm; load_profile()\n"
    place.python(quick + "orm.load_computer('slurm-local').set_minimum_job_poll_interval(0.5)")
    place.succeed("verdi", "daemon", "start", "1")
    yield place
    place.run("verdi", "daemon", "stop", "--timeout", "60")


def run(place: Workplace, campaign: dict[str, Any]) -> None:
    """Write a campaign file, and run it."""
    path = place.folder / f"{campaign['name']}.yaml"
    path.write_text(yaml.safe_dump(campaign))
    place.succeed("aiida-mbetrain", "campaign", "run", str(path), timeout=1200)


def stages(place: Workplace, name: str) -> dict[str, dict[str, Any]]:
    """States by stage, asked again where SQLite's lock was held for long by the daemon of a busy machine."""
    words = ("aiida-mbetrain", "campaign", "status", name, "--format", "json")
    done = place.run(*words)
    while "database is locked" in done.stderr:
        done = place.run(*words)
    assert done.returncode == 0, done.stderr
    return {row.pop("stage"): row for row in json.loads(done.stdout)}


def wait_until(place: Workplace, name: str, enough: Callable[[list[str]], bool]) -> None:
    """Wait until the states of a campaign's stages are as wanted."""
    until = time.monotonic() + 1200
    while not enough([row["state"] for row in stages(place, name).values()]):
        assert time.monotonic() < until, stages(place, name)
        time.sleep(2.0)


def ended(found: list[str]) -> bool:
    return not {"running", "scheduled", "missing"} & set(found)


def n_nodes(place: Workplace, kind: str) -> int:
    code = "from aiida import load_profile, orm; load_profile()\n"
    return int(place.python(code + f"print(orm.QueryBuilder().append(orm.{kind}).count())").split()[-1])


def molecular_campaigns(folder: Path) -> list[dict[str, Any]]:
    """The demo's crystal with its model; ammonia and carbon dioxide with GFN1-xTB."""
    (folder / "small").mkdir()
    demo.crystal().write(folder / "urotropine.xyz", format="extxyz")
    shutil.copy(demo.model_path(), folder / "demo.model")
    ammonia().write(folder / "small" / "ammonia.xyz", format="extxyz")
    carbon_dioxide().write(folder / "small" / "carbon_dioxide.xyz", format="extxyz")
    tblite = {"name": "tblite", "parameters": {"method": "GFN1-xTB"}}
    return [
        MOLECULAR | {"name": "urotropine", "crystals": ["urotropine.xyz"], "models": {"demo": "demo.model"}},
        MOLECULAR | {"name": "small", "crystals": ["small"], "models": {"gfn1": tblite}},
    ]


def test_molecular_crystals_give_the_same_bytes_on_slurm_and_in_process(workplace: Workplace) -> None:
    pytest.importorskip("tblite")
    here = Workplace(workplace.folder / "here")
    here.create_profile()
    for campaign in molecular_campaigns(workplace.folder):
        run(workplace, campaign | ON_SLURM)
    for campaign in molecular_campaigns(here.folder):
        name, file = campaign["name"], f"{campaign['name']}.hdf5"
        run(here, campaign)
        wait_until(workplace, name, ended)
        for place in (here, workplace):
            assert {row["state"] for row in stages(place, name).values()} == {"finished"}, stages(place, name)
            place.succeed("aiida-mbetrain", "campaign", "export", name, "--no-provenance", "-o", file)
        assert (workplace.folder / file).read_bytes() == (here.folder / file).read_bytes()
    assert n_nodes(workplace, "CalcJobNode") > 0
    assert n_nodes(here, "CalcJobNode") == 0


def test_a_drained_node_and_a_restarted_daemon_and_a_failing_stage_repeat_nothing(workplace: Workplace) -> None:
    write_argon(workplace.folder / "crystals", 5.26, 5.30)
    overrides = argon_settings(md_sampling={"md_crystal": {"ensemble": "NPT"}})
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    unstable = {"ar_526": {"md_sampling": {"md_crystal": {"max_force": 1e-9}}}}
    conditions = {"temperatures_K": [25.0, 30.0], "pressures_GPa": [0.0001], "overrides": overrides}
    before = n_stage_nodes(workplace)
    run(workplace, argon_campaign(name="faults", overrides_by_crystal=unstable, **conditions) | ON_SLURM)
    wait_until(workplace, "faults", lambda found: "finished" in found)
    node = shell("sinfo", "--noheader", "--Node", "--format=%N").split()[0]
    shell("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    try:
        early = {name: row["pk"] for name, row in stages(workplace, "faults").items() if row["state"] == "finished"}
        workplace.succeed("verdi", "daemon", "restart")
    finally:
        shell("scontrol", "update", f"nodename={node}", "state=resume")
    wait_until(workplace, "faults", ended)
    found = stages(workplace, "faults")
    assert early
    assert all(found[name]["pk"] == pk for name, pk in early.items())
    failed = {name for name, row in found.items() if row["state"] == "failed"}
    assert failed == {f"ar_526/lj/{temperature}K_0.0001GPa/md_sampling" for temperature in (25, 30)}
    assert all("[450]" in found[name]["reason"] for name in failed)
    assert {row["state"] for name, row in found.items() if name not in failed} == {"finished"}
    assert n_stage_nodes(workplace) - before == len(found) == 10, "one node for each stage, the failed ones too"


def n_stage_nodes(place: Workplace) -> int:
    code = "from aiida import load_profile; load_profile()\n"
    code += "from aiida_mbetrain.campaigns.found import found_stages; print(len(found_stages()))"
    return int(place.python(code).split()[-1])
