"""Rounds as a WorkGraph through a real daemon, whose worker is killed: they go on, and nothing is finished twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from profiles import Workplace
from rounds_files import write_rounds

pytestmark = pytest.mark.daemon

COUNT = """
import json
from collections import Counter
from aiida import load_profile, orm
load_profile()
finished = {"attributes.exit_status": 0}
query = orm.QueryBuilder().append(orm.ProcessNode, filters=finished, project="attributes.process_label")
print(json.dumps(Counter(query.all(flat=True))))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile whose daemon verdi stops afterwards."""
    place = Workplace(tmp_path_factory.mktemp("rounds"))
    place.create_profile()
    yield place
    place.run("verdi", "daemon", "stop", "--timeout", "60")


def finished(place: Workplace) -> dict[str, int]:
    return json.loads(place.python(COUNT).splitlines()[-1])


def wait_for(place: Workplace, label: str, number: int, seconds: float = 900.0) -> None:
    until = time.monotonic() + seconds
    while finished(place).get(label, 0) < number:
        assert time.monotonic() < until, finished(place)
        time.sleep(2.0)


@pytest.mark.long
def test_rounds_go_on_after_the_daemon_was_stopped(workplace):
    path = str(write_rounds(workplace.folder))
    workplace.succeed("verdi", "daemon", "start", "1")
    assert "submitted WorkGraph<rounds_argon>" in workplace.succeed("aiida-mbetrain", "improve", path)
    refused = workplace.run("aiida-mbetrain", "improve", path)
    assert "runs these rounds: wait for it, or kill it" in refused.stderr
    wait_for(workplace, "choose_clusters", 1)
    workplace.succeed("verdi", "daemon", "stop", "--timeout", "60")
    workplace.succeed("verdi", "daemon", "start", "1")
    wait_for(workplace, "ActiveLearningRoundWorkChain", 2)
    said: dict[str, Any] = json.loads(
        workplace.succeed("aiida-mbetrain", "improve", path, "--status", "--format", "json")
    )
    assert len(said["rounds"]) == 2
    assert said["reason_to_stop"]
    counts = finished(workplace)
    for label in ("MDSamplingWorkChain", "choose_clusters", "DeltaModelWorkChain", "round_summary"):
        assert counts[label] == 2, label
