"""Thermal expansion in a real daemon: volumes that do not depend on one another are submitted at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from profiles import Workplace

pytestmark = [pytest.mark.daemon, pytest.mark.slow]

SUBMIT = """
import json, sys, time
from aiida import load_profile, orm
load_profile()
from pathlib import Path
from aiida.engine import submit
from argon import LENNARD_JONES, argon_atoms
from job_runs import local_code
from aiida_mbetrain.workflows.quasi_harmonic import QuasiHarmonicWorkChain
builder = QuasiHarmonicWorkChain.get_builder_from_protocol(
    orm.StructureData(ase=argon_atoms()), orm.Dict(LENNARD_JONES), protocol="fast", code=local_code(Path.cwd()),
    overrides={"quasi_harmonic": {
        "thermal_expansion": True, "relax_input_cell": "full", "supercell_radius": 7.0,
        "fourier_interpolation_mesh": [2, 2, 2], "temperatures_K": [10.0], "volume_range": [0.98, 1.02, 1.06, 1.10],
    }},
)
node = submit(builder)
until = time.monotonic() + float(sys.argv[1])
while not node.is_terminated and time.monotonic() < until:
    time.sleep(1.0)
times = {link.link_label: (link.node.ctime.timestamp(), link.node.mtime.timestamp())
         for link in node.base.links.get_outgoing(node_class=orm.WorkChainNode).all()
         if link.node.process_label == "HarmonicCrystalWorkChain"}
print(json.dumps([node.process_state.value, node.exit_status, node.exit_message, times]))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A profile with its daemon, which verdi stops afterwards."""
    place = Workplace(tmp_path_factory.mktemp("daemon"))
    place.create_profile()
    place.succeed("verdi", "config", "set", "daemon.timeout", "60")
    place.succeed("verdi", "daemon", "start", "1")
    yield place
    place.succeed("verdi", "daemon", "stop")


def test_all_volumes_start_before_the_first_one_ends(workplace):
    state, status, message, times = json.loads(workplace.python(SUBMIT, "500", timeout=560.0).splitlines()[-1])
    assert (state, status) == ("finished", 0), message
    volumes = {name: when for name, when in times.items() if name.startswith("V_")}
    assert len(volumes) == 4
    assert max(start for start, _ in volumes.values()) < min(end for _, end in volumes.values())
    assert times["T_10_00"][0] > max(end for _, end in volumes.values())
