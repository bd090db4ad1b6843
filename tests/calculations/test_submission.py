"""What a job looks like before it leaves: submit script and job.json of every stage, as regression files.

To accept a wanted change, delete the file and run the test twice.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from aiida import orm
from aiida.engine import run_get_node
from aiida.plugins import CalculationFactory
from argon import LENNARD_JONES, argon_atoms

from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.demo import model_path
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.settings import Inference

EXPECTED = Path(__file__).with_name("expected_submission")
EXAMPLE = Path(__file__).parents[2] / "setup_computers" / "slurm-gpu" / "example-athena-like"


@pytest.fixture(scope="module")
def code(profile, tmp_path_factory) -> orm.InstalledCode:
    """A code on a cluster that nobody will ask."""
    folder = tmp_path_factory.mktemp("cluster")
    computer = orm.Computer(
        label="cluster",
        hostname="localhost",
        transport_type="core.local",
        scheduler_type="core.slurm",
        workdir=str(folder),
    ).store()
    computer.configure(use_login_shell=False, safe_interval=0)
    program = "/home/user/mbetrain-env/bin/mbetrain-worker"
    return orm.InstalledCode(computer=computer, filepath_executable=program, label="mbetrain").store()


def inputs_of(stage: str) -> dict:
    """Small inputs; labels with the demo model, everything else with a named calculator."""
    inference = orm.Dict(Inference().to_dict())
    if stage == "labels":
        frames = as_node(Configurations.from_atoms(argon_atoms()))
        return {"model": MaceModelData.get_or_create(model_path()), "inference": inference, "sets": {"frames": frames}}
    port = "supercell" if stage in ("molecular_dynamics", "md_replicas") else "structure"
    replicas = {"replicas": {"cold": {"temperature_K": 20.0}, "warm": {"temperature_K": 40.0}}}
    of_dynamics = {"molecular_dynamics": {"temperature_K": 20.0}, "md_replicas": replicas}
    settings = of_dynamics.get(stage, {"thermal_expansion": False})
    structure = orm.StructureData(ase=argon_atoms())
    return {"model": orm.Dict(LENNARD_JONES), "inference": inference, port: structure, "settings": orm.Dict(settings)}


@pytest.fixture(
    scope="module",
    params=["relaxation", "isolated_molecule", "molecular_dynamics", "md_replicas", "force_constants", "labels"],
)
def submission(request, code, tmp_path_factory) -> tuple[str, Path]:
    """Stage, and the folder that would be sent."""
    stage = request.param
    options = yaml.safe_load((EXAMPLE / "options.yaml").read_text())
    metadata = {"dry_run": True, "store_provenance": False, "options": options}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(stage))
        _, node = run_get_node(
            CalculationFactory(f"mbetrain.{stage}"), code=code, metadata=metadata, **inputs_of(stage)
        )
        return stage, Path(node.dry_run_info["folder"]).resolve()


@pytest.mark.parametrize("name", ["_aiidasubmit.sh", "job.json"])
def test_files_are_those_on_record(submission, name):
    stage, folder = submission
    found = re.sub("[0-9a-f]{64}", "SHA256", (folder / name).read_text())  # of the demo model, which may improve
    expected = EXPECTED / f"{stage}.{name.removeprefix('_')}"
    if not expected.exists():
        expected.parent.mkdir(exist_ok=True)
        expected.write_text(found)
        pytest.fail(f"{expected} was written: check it, then run the test again")
    assert found == expected.read_text()


def test_every_file_that_the_job_names_is_sent(submission):
    _, folder = submission
    job = json.loads((folder / "job.json").read_text())
    assert job["inputs"]
    for entry in job["inputs"].values():
        assert (folder / entry["file"]).is_file()
    if job["model"]["kind"] == "mace":
        assert (folder / job["model"]["file"]).is_file()


def test_worker_knows_the_walltime_that_the_scheduler_is_told(submission):
    _, folder = submission
    assert json.loads((folder / "job.json").read_text())["max_seconds"] == 86400
    assert "#SBATCH --time=1-00:00:00" in (folder / "_aiidasubmit.sh").read_text()
