"""``aiida-mbetrain demo``: what it says to try next works as pasted, and a refusal leaves the home as it was."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HELPERS = Path(__file__).parents[1] / "helpers"

RUN_AND_SAY = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(HELPERS)!r})
from aiida_mbetrain.cli.profile import load_local_profile
place = Path(sys.argv[1]).resolve()
load_local_profile(place)
from argon import run_argon
from aiida_mbetrain.cli.demo import next_commands
node = run_argon()
dataset = place / "training_set.hdf5"
dataset.write_bytes(node.outputs.dataset.get_content("rb"))
print("PK", node.pk)
for command in next_commands(node.pk, dataset, place):
    print("COMMAND", command)
"""


TWICE = """
import sys
import aiida_mbetrain.cli.demo
from aiida_mbetrain.cli import main
demo = sys.modules["aiida_mbetrain.cli.demo"]
demo.OVERRIDES["md_sampling"]["md_crystal"] |= {
    "time_total_fs": 6.0, "time_equilibration_fs": 2.0, "sampling_interval_fs": 2.0, "thermostat_time_fs": 10.0,
}
demo.OVERRIDES["quasi_harmonic"] |= {"supercell_radius": 5.0, "keep_point_group": False}
for part in ("md_sampling", "phonon_sampling"):
    demo.OVERRIDES[part]["finite_subsystem_filter"] = {"n_molecules": [1]}
for _ in range(2):
    assert main(["demo"], prog_name="aiida-mbetrain", standalone_mode=False) is None
from aiida import orm
query = orm.QueryBuilder().append(orm.CalcFunctionNode, filters={"attributes.process_label": "molecular_dynamics"})
print("CACHED", sorted(node.base.caching.is_created_from_cache for node in query.all(flat=True)))
"""


def bare_environment(home: Path) -> dict[str, str]:
    """That of a user who has activated nothing: no program of this environment on the PATH, no AIIDA_PATH."""
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


def test_refused_folder_leaves_the_home_as_it_was(tmp_path):
    code = "from aiida_mbetrain.cli import main; main(prog_name='aiida-mbetrain')"
    command = [sys.executable, "-c", code, "demo", "--folder", "/dev/null/x"]
    environment = bare_environment(tmp_path / "home")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: The folder /dev/null/x cannot be written (Not a directory): give another one.\n"
    assert not list((tmp_path / "home").iterdir())


@pytest.fixture
def finished_demo(tmp_path_factory) -> tuple[Path, str, list[str]]:
    """A folder with a finished run of argon in a profile of its own, its pk, and what is printed."""
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-c", RUN_AND_SAY, "-a folder's"]
    done = subprocess.run(
        command, env=bare_environment(folder / "home"), cwd=folder, capture_output=True, text=True, check=True
    )
    pk = re.search(r"^PK (\d+)$", done.stdout, re.MULTILINE)
    assert pk is not None
    return folder, pk[1], re.findall(r"^COMMAND (.*)$", done.stdout, re.MULTILINE)


def test_commands_to_try_next_work_as_pasted(finished_demo):
    folder, pk, commands = finished_demo
    told = []
    for command in commands:
        environment = bare_environment(folder / "home")
        done = subprocess.run(["sh", "-c", command], env=environment, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        told.append(done.stdout)
    trace, status, export = told
    assert "mode = " in trace
    assert "(pk " in trace  # the profile of the demo was found
    assert f"TrainingSetWorkChain<{pk}> finished" in status
    assert "content sha256" in export
    [written] = folder.glob("*/training_set_without_features.hdf5")
    assert written.stat().st_size > 10_000
    assert not list((folder / "home").iterdir())


@pytest.mark.slow
def test_second_demo_in_a_folder_takes_what_the_first_has_computed(tmp_path):
    command = [sys.executable, "-c", TWICE]
    environment = bare_environment(tmp_path / "home")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "CACHED [False, True]" in done.stdout, done.stderr


def test_paths_are_written_in_the_shorter_way(tmp_path, monkeypatch):
    from aiida_mbetrain.cli.demo import next_commands

    (tmp_path / "deep" / "below").mkdir(parents=True)
    place = tmp_path / "demo"
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.chdir(tmp_path)
    assert next_commands(7, place / "set.hdf5", place)[1] == "AIIDA_PATH=./demo .venv/bin/aiida-mbetrain status 7"
    monkeypatch.chdir(tmp_path / "deep" / "below")
    monkeypatch.setattr(sys, "executable", "/v/bin/python")
    assert next_commands(7, Path("/s.hdf5"), Path("/d"))[0].startswith(
        "AIIDA_PATH=/d /v/bin/aiida-mbetrain trace /s.hdf5 training/"
    )


def test_clusters_of_the_demo_repeat_no_molecule():
    from aiida_mbetrain.cli.demo import OVERRIDES
    from aiida_mbetrain.demo import ROOM_TEMPERATURE, crystal
    from aiida_mbetrain.science.clusters import select_clusters
    from aiida_mbetrain.science.configurations import Configurations
    from aiida_mbetrain.science.crystal import make_supercell
    from aiida_mbetrain.science.molecules import detect_molecules
    from aiida_mbetrain.science.stages import estimate_all
    from aiida_mbetrain.workflows.protocols import protocol_settings

    cell = Configurations.from_atoms([crystal(ROOM_TEMPERATURE)])
    settings = protocol_settings("fast", OVERRIDES)
    sections = [settings[name] for name in ("md_sampling", "quasi_harmonic", "phonon_sampling")]
    dynamics, _, phonons = estimate_all(cell, *sections)
    for stage, section in ((dynamics, sections[0]), (phonons, sections[2])):
        molecules = detect_molecules(make_supercell(cell, stage.supercell_matrix))
        clusters = select_clusters(molecules, section.finite_subsystem_filter)
        assert [len(set(one.molecule_indices.tolist())) for one in clusters] == list(range(1, 9))


def test_crystal_at_another_volume_has_the_molecule_as_it_was():
    from aiida_mbetrain.demo import crystal

    small, large = crystal(), crystal(1.05)
    assert large.cell.volume == pytest.approx(1.05 * small.cell.volume)
    bonded = [(i, j) for i in range(22) for j in range(i) if small.get_distance(i, j, mic=True) < 1.7]
    assert len(bonded) == 24
    for i, j in bonded:
        assert large.get_distance(i, j) == pytest.approx(small.get_distance(i, j, mic=True), abs=1e-10)


@pytest.mark.long
def test_demo_passes_the_checks_of_its_tutorial(tmp_path):
    """Temperature and volume settled, no repeated molecule, real modes, and nothing from libraries."""
    import json

    environment = bare_environment(tmp_path / "home")
    code = "from aiida_mbetrain.cli import main; main(prog_name='aiida-mbetrain')"
    program = [sys.executable, "-c", code]
    run = subprocess.run([*program, "demo"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stdout + run.stderr
    path = "mbetrain-demo/training_set.hdf5"
    judged = subprocess.run(
        [*program, "verdicts", path, "--json"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    found = [one for one in json.loads(judged.stdout) if one["passed"]]
    passed = {(one["name"], *one["section"].split("/")[1:2]) for one in found}
    for name in ("Settled", "Mean temperature", "Mean pressure", "Independent frames", "Conserved energy"):
        assert (name, "md_sampling") in passed
    for section in ("md_sampling", "phonon_sampling"):
        assert ("Repeated molecules", section) in passed
        assert ("Broken molecules", section) in passed
    assert ("Imaginary modes", "phonon_sampling") in passed
