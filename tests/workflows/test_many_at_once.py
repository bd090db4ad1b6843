"""Fifty training sets submitted at once to one daemon, with its one worker, on SQLite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from profiles import Workplace

pytestmark = [pytest.mark.daemon, pytest.mark.long]

N_TRAINING_SETS = 50
PATIENCE_s = 3600

SUBMIT = """
import sys, time
from aiida import load_profile, orm
load_profile()
from aiida.engine import submit
from argon import LENNARD_JONES, argon_atoms, argon_settings
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain

crystal, model = orm.StructureData(ase=argon_atoms()).store(), orm.Dict(LENNARD_JONES).store()
begun, nodes = time.monotonic(), []
for number in range(int(sys.argv[1])):
    overrides = argon_settings(md_sampling={"md_crystal": {"rng_seed": number}})
    nodes.append(submit(TrainingSetWorkChain.get_builder_from_protocol(
        crystal, model, protocol="fast", overrides=overrides
    )))
while not all(node.is_terminated for node in nodes) and time.monotonic() < begun + float(sys.argv[2]):
    time.sleep(2.0)
print(f"{time.monotonic() - begun:.0f} s")
for node in nodes:
    print(node.pk, node.process_state.value, node.exit_status, node.exit_message)
"""


@pytest.fixture
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile with its daemon, which verdi stops afterwards."""
    place = Workplace(tmp_path_factory.mktemp("many"))
    place.create_profile()
    place.succeed("verdi", "daemon", "start", "1")
    yield place
    place.succeed("verdi", "daemon", "stop", "--timeout", "60")


def test_fifty_training_sets_at_once_all_finish_without_a_lock_error(workplace):
    told = workplace.python(SUBMIT, str(N_TRAINING_SETS), str(PATIENCE_s), timeout=PATIENCE_s + 600.0)
    seconds, *lines = told.splitlines()
    print(f"{N_TRAINING_SETS} training sets of argon in {seconds}")
    assert len(lines) == N_TRAINING_SETS
    assert [line for line in lines if line.split()[1:3] != ["finished", "0"]] == []
    log = "\n".join(path.read_text() for path in workplace.folder.rglob("*.log"))
    assert "database is locked" not in log
    first = lines[0].split()[0]
    workplace.succeed("aiida-mbetrain", "export", first, "-o", "first.hdf5")
