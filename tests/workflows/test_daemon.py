"""``submit`` on the profile of a user without services: a real daemon carries the training set to its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from profiles import Workplace

pytestmark = pytest.mark.daemon

SUBMIT = """
import sys, time
from aiida import load_profile, orm
load_profile()
from aiida.engine import submit
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_atoms
from aiida_mbetrain.workflows.training_set import TrainingSetWorkChain
builder = TrainingSetWorkChain.get_builder_from_protocol(
    orm.StructureData(ase=argon_atoms()), orm.Dict(LENNARD_JONES), protocol="fast", overrides=ARGON_SETTINGS
)
node = submit(builder)
until = time.monotonic() + float(sys.argv[1])
while not node.is_terminated and time.monotonic() < until:
    time.sleep(1.0)
print(node.uuid, node.process_state.value, node.exit_status, node.exit_message)
"""

RUN = """
from aiida import load_profile
load_profile()
from argon import run_argon
print(run_argon().uuid)
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile with its daemon, which verdi stops afterwards."""
    place = Workplace(tmp_path_factory.mktemp("daemon"))
    place.create_profile()
    place.succeed("verdi", "daemon", "start", "1")
    yield place
    place.succeed("verdi", "daemon", "stop", "--timeout", "60")


@pytest.fixture(scope="module")
def submitted(workplace: Workplace) -> str:
    """The uuid of a training set that the daemon has finished."""
    words = workplace.python(SUBMIT, "400", timeout=500.0).split()
    assert words[1:3] == ["finished", "0"], words
    return words[0]


def test_the_daemon_finishes_a_submitted_training_set(workplace, submitted):
    workplace.succeed("aiida-mbetrain", "export", submitted, "-o", "set.hdf5")
    assert (workplace.folder / "set.hdf5").stat().st_size > 10000


def test_the_daemon_computes_what_run_computes(workplace, submitted):
    run = workplace.python(RUN).split()[-1]
    for uuid in (submitted, run):
        workplace.succeed("aiida-mbetrain", "export", uuid, "--no-provenance", "-o", f"{uuid}.hdf5")
    first, second = ((workplace.folder / f"{uuid}.hdf5").read_bytes() for uuid in (submitted, run))
    assert first == second
