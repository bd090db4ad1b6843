"""Rounds as a WorkGraph through a real daemon that is stopped: they go on, and nothing is finished twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from job_runs import worker_path
from profiles import Workplace
from rounds_files import write_rounds

pytestmark = pytest.mark.daemon

WAIT = """
import json, sys, time
from collections import Counter
from aiida import load_profile, orm
load_profile()
label, number, until = sys.argv[1], int(sys.argv[2]), time.monotonic() + float(sys.argv[3])
facts = ("process_label", "process_state", "exit_status", "exit_message")
query = orm.QueryBuilder().append(orm.ProcessNode, project=[f"attributes.{name}" for name in facts])
while True:
    rows = query.all()
    finished = Counter(name for name, _, status, _ in rows if status == 0)
    failed = [row for row in rows if row[2] or row[1] in ("excepted", "killed")]
    if failed or finished[label] >= number or time.monotonic() > until:
        print(json.dumps({"finished": finished, "failed": failed}))
        break
    time.sleep(1.0)
"""
"""Counts finished processes; one program that waits, because every start of AiiDA costs seconds."""
AS_JOBS = {"name": "jobs", "code": "mbetrain@localhost", "overrides": {"md_sampling": {"temperature_K": 21.0}}}
"""At another temperature, because rounds are known by what they compute, not by where."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile whose daemon verdi stops afterwards, with mbetrain-worker as a code."""
    place = Workplace(tmp_path_factory.mktemp("rounds"))
    place.create_profile()
    place.succeed(
        "verdi", "code", "create", "core.code.installed", "--non-interactive", "--label", "mbetrain",
        "--computer", "localhost", "--filepath-executable", worker_path(),
    )  # fmt: skip
    yield place
    place.run("verdi", "daemon", "stop", "--timeout", "60")


def wait_for(place: Workplace, label: str, number: int, seconds: float = 900.0) -> dict[str, int]:
    """Finished processes by label, as soon as there are so many of one."""
    said = json.loads(place.python(WAIT, label, str(number), str(seconds), timeout=seconds + 60.0).splitlines()[-1])
    assert not said["failed"]
    assert said["finished"].get(label, 0) >= number, said["finished"]
    return said["finished"]


@pytest.mark.long
@pytest.mark.parametrize("changes", [{}, AS_JOBS], ids=["in the daemon", "as jobs"])
def test_rounds_go_on_after_the_daemon_was_stopped(workplace, changes):
    before = wait_for(workplace, "", 0)
    path = str(write_rounds(workplace.folder, **changes))
    workplace.succeed("verdi", "daemon", "start", "1")
    said = workplace.succeed("aiida-mbetrain", "improve", path)
    assert f"submitted WorkGraph<rounds_{changes.get('name', 'argon')}>" in said
    refused = workplace.run("aiida-mbetrain", "improve", path)
    assert "runs these rounds: wait for it, or kill it" in refused.stderr
    wait_for(workplace, "choose_clusters", 1 + before.get("choose_clusters", 0))
    workplace.succeed("verdi", "daemon", "stop", "--timeout", "60")
    workplace.succeed("verdi", "daemon", "start", "1")
    counts = wait_for(workplace, "ActiveLearningRoundWorkChain", 2 + before.get("ActiveLearningRoundWorkChain", 0))
    status: dict[str, Any] = json.loads(
        workplace.succeed("aiida-mbetrain", "improve", path, "--status", "--format", "json")
    )
    assert len(status["rounds"]) == 2
    assert status["reason_to_stop"]
    for label in ("MDSamplingWorkChain", "choose_clusters", "ModelTrainingWorkChain", "round_summary"):
        assert counts[label] == 2 + before.get(label, 0), label
