"""Campaigns in this process, in the session's profile: what is there is used, what fails holds up nobody."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from argon import ARGON_SETTINGS, LENNARD_JONES, argon_settings, merged
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from campaign_files import argon_campaign
from click.testing import CliRunner, Result

from aiida_mbetrain.campaigns.found import found_stages
from aiida_mbetrain.campaigns.inputs import WORKCHAINS, stage_inputs
from aiida_mbetrain.campaigns.run import graph_of, prepare
from aiida_mbetrain.campaigns.state import stage_states
from aiida_mbetrain.datasets.hdf5 import opened
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.report.campaign import members, part_of, results

Call = Callable[..., Result]


@pytest.fixture
def campaign(profile: Any, tmp_path: Path, write_campaign: Any) -> Callable[..., Result]:
    """``campaign("run", ...)``: run a command of the group; a file is written from the keyword arguments first."""

    def call(*words: str, **changes: Any) -> Result:
        arguments = list(words)
        if words[0] == "run":
            small = {"temperatures_K": [20.0], "pressures_GPa": [0.0001], "crystals": ["crystals/ar_526.cif"]}
            arguments += [str(write_campaign(**(small | changes))), "--here"]
        return CliRunner().invoke(main(), ["campaign", *arguments])

    return call


def main() -> Any:
    from aiida_mbetrain.cli import main

    return main


def states(name: str) -> dict[str, str]:
    """State of every stage of a campaign, as the command prints it."""
    result = CliRunner().invoke(main(), ["campaign", "status", name, "--format", "json"])
    assert result.exit_code == 0, result.output
    return {row["stage"]: row["state"] for row in json.loads(result.output)}


@calcfunction
def refused_supercell(structure: orm.StructureData, settings: orm.Dict) -> Any:
    """In place of the supercell: a refusal."""
    return ExitCode(206, "the supercell is too large")


def n_stages() -> int:
    return len(found_stages())


def test_the_same_file_again_starts_nothing_and_one_crystal_more_starts_that_crystal(campaign):
    own = {"name": "again", "lattice_constants": (5.41, 5.43)}  # of no other test of the session's profile
    result = campaign("run", **own, crystals=["crystals/ar_541.cif"])
    assert result.exit_code == 0, result.output
    assert set(states("again").values()) == {"finished"}
    before = n_stages()
    assert "nothing to start" in campaign("run", **own, crystals=["crystals/ar_541.cif"]).output
    assert n_stages() == before
    result = campaign("run", **own, crystals=["crystals/ar_541.cif", "crystals/ar_543.cif"])
    assert result.exit_code == 0, result.output
    assert n_stages() == before + 3
    assert len(states("again")) == 6


def test_another_campaign_and_another_condition_use_what_is_there(campaign):
    own = {"lattice_constants": (5.45,), "crystals": ["crystals/ar_545.cif"]}
    assert campaign("run", **own, name="first", temperatures_K=[21.0]).exit_code == 0
    before = n_stages()
    assert "nothing to start" in campaign("run", **own, name="second", temperatures_K=[21.0]).output
    assert campaign("run", **own, name="second", temperatures_K=[21.0, 22.0]).exit_code == 0
    assert n_stages() == before + 2, "dynamics and phonon sampling, and no force constants"


def test_lattice_energy_of_a_campaign_is_that_of_the_static_crystal(campaign, tmp_path):
    overrides = argon_campaign()["overrides"]
    overrides["quasi_harmonic"] |= {"sublimation": True}
    own = {"lattice_constants": (5.37,), "crystals": ["crystals/ar_537.cif"], "overrides": overrides}
    result = campaign("run", name="bound", **own)
    assert result.exit_code == 0, result.output
    done = CliRunner().invoke(main(), ["campaign", "export", "bound", "-o", str(tmp_path / "set.hdf5")])
    assert done.exit_code == 0, done.output
    with opened(tmp_path / "set.hdf5") as root:
        [member] = members(root)
        found = results(part_of(root, member), member.temperature_K).lattice_energy_kJ_per_mol
    crystal = bulk("Ar", "fcc", a=5.37)
    crystal.calc = LennardJones(**LENNARD_JONES["parameters"])
    assert found == pytest.approx(crystal.get_potential_energy() * units.mol / units.kJ, rel=1e-6)


def test_stages_of_single_training_sets_are_used(campaign, finished):
    settings = merged(ARGON_SETTINGS, {})
    for section in ("md_sampling", "phonon_sampling"):
        del settings[section]["temperature_K"]
    crystal = finished.inputs.structure.uuid
    result = campaign("run", name="single", crystals=[{"node": crystal, "name": "argon"}], overrides=settings)
    assert "nothing to start" in result.output, result.output


def test_a_failing_stage_holds_up_those_that_need_it_and_a_repair_goes_on(campaign, tmp_path):
    overrides = argon_settings(md_sampling={"md_crystal": {"ensemble": "NPT"}}, quasi_harmonic={"max_n_steps": 1})
    overrides["quasi_harmonic"] |= {"relax_input_cell": "full", "max_force_on_atom": 1e-13}
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    result = campaign("run", name="failing", temperatures_K=[23.0], overrides=overrides)
    assert result.exit_code == 0, result.output
    assert states("failing") == {
        "ar_526/lj/0.0001GPa/quasi_harmonic": "failed",
        "ar_526/lj/23K_0.0001GPa/phonon_sampling": "blocked",
        "ar_526/lj/23K_0.0001GPa/md_sampling": "finished",
    }
    assert "[451]" in result.output
    assert "nothing to start" in campaign("run", name="failing", temperatures_K=[23.0], overrides=overrides).output
    repair = tmp_path / "repair.yaml"
    repair.write_text(yaml.safe_dump({"quasi_harmonic": {"max_n_steps": 500, "max_force_on_atom": 1e-4}}))
    assert campaign("retry", "failing", "--override", str(repair), "--here").exit_code == 0
    assert set(states("failing").values()) == {"finished"}
    again = campaign("run", name="failing", temperatures_K=[23.0], overrides=overrides)
    assert "nothing to start" in again.output, "the file without the repair is still the same campaign"


def processes(label: str) -> list[orm.ProcessNode]:
    """All processes of a label, oldest first."""
    query = orm.QueryBuilder().append(orm.ProcessNode, filters={"attributes.process_label": label}, tag="it")
    return query.order_by({"it": "id"}).all(flat=True)


def test_dynamics_made_together_are_found_again_as_by_themselves(campaign, tmp_path):
    own = {"name": "together", "lattice_constants": (5.47,), "crystals": ["crystals/ar_547.cif"]}
    own |= {"temperatures_K": [20.0, 30.0, 40.0]}
    before = len(processes("md_replicas")), len(processes("molecular_dynamics"))
    result = campaign("run", **own, replicas_per_job=2)
    assert result.exit_code == 0, result.output
    assert set(states("together").values()) == {"finished"}
    assert len(processes("md_replicas")) == before[0] + 1
    assert len(processes("molecular_dynamics")) == before[1] + 1, "the third by itself"
    assert "nothing to start" in campaign("run", **own, replicas_per_job=1).output
    assert "nothing to start" in campaign("run", **own | {"name": "other"}, replicas_per_job=3).output
    done = CliRunner().invoke(main(), ["campaign", "export", "together", "-o", str(tmp_path / "set.hdf5")])
    assert done.exit_code == 0, done.output
    assert "3 of 3 members" in done.output


def test_graph_has_one_task_for_the_dynamics_that_are_made_together(profile, write_campaign):
    from aiida_workgraph import WorkGraph  # needs a loaded profile

    from aiida_mbetrain.campaigns.graph import crystal_graph

    path = write_campaign(
        name="graph",
        lattice_constants=(5.53,),
        crystals=["crystals/ar_553.cif"],
        replicas_per_job=3,
        temperatures_K=[44.0],
    )
    plan, record, _ = prepare(path)
    graph = graph_of(plan, record, stage_states(plan), list(plan.stages))
    [task] = [task for task in graph.tasks if task.name.startswith("c0")]
    stages = task.inputs["stages"].value
    with WorkGraph("of_the_crystal") as made:
        crystal_graph(orm.load_node(record.crystals["ar_553"]), orm.load_node(record.models["lj"]), stages.get_dict())
    names = {task.name for task in made.tasks if not task.name.startswith("graph_")}
    assert names == {"quasi_harmonic", "phonon_sampling_44K", "replica_sampling_44K_0_0001GPa"}
    together = made.tasks["replica_sampling_44K_0_0001GPa"].inputs["settings"].value
    assert sorted(together.get_dict()["replicas"]) == ["at_44K_0_0001GPa", "at_44K_0_01GPa"]
    keys = {key for stage in stages.get_dict()["stages"] for key in stage["keys"]}
    assert keys == {stage.key for stage in plan.stages.values()}


def test_labels_of_every_sampling_are_shared_among_the_jobs_asked_for(profile, write_campaign):
    inference, code = orm.Dict({}), object()
    of = {kind: stage_inputs(kind, {}, inference, {}, code, label_jobs=3) for kind in WORKCHAINS}
    assert {kind: inputs["n_jobs"].value for kind, inputs in of.items() if "n_jobs" in inputs} == {
        "md_sampling": 3, "phonon_sampling": 3, "replica_sampling": 3,
    }  # fmt: skip
    assert all("n_jobs" in WORKCHAINS[kind].spec().inputs for kind, inputs in of.items() if "n_jobs" in inputs)
    plan, record, _ = prepare(write_campaign(name="shared"))
    record = replace(record, settings=record.settings.model_copy(update={"label_jobs": 3}))
    graph = graph_of(plan, record, stage_states(plan), list(plan.stages))
    tasks = [task for task in graph.tasks if task.name.startswith("c0")]
    assert {facts["label_jobs"] for task in tasks for facts in task.inputs["stages"].value["stages"]} == {3}
    with pytest.raises(InvalidSettings, match="label_jobs = 3: give code too"):
        prepare(write_campaign(name="shared", label_jobs=3))


def test_one_of_several_dynamics_that_fails_fails_alone_and_is_repaired(campaign, tmp_path):
    overrides = argon_settings(md_sampling={"md_crystal": {"max_force": 0.5}})
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    own = {"name": "unstable", "temperatures_K": [20.0, 30.0, 20000.0], "overrides": overrides}
    own |= {"lattice_constants": (5.49,), "crystals": ["crystals/ar_549.cif"], "replicas_per_job": 16}
    result = campaign("run", **own)
    assert "[450]" in result.output, result.output
    found = {name.split("/")[2]: state for name, state in states("unstable").items() if name.endswith("md_sampling")}
    assert found == {"20K_0.0001GPa": "finished", "30K_0.0001GPa": "finished", "20000K_0.0001GPa": "failed"}
    assert "nothing to start" in campaign("run", **own).output
    repair = tmp_path / "repair.yaml"
    repair.write_text(yaml.safe_dump({"md_sampling": {"md_crystal": {"max_force": 1e6, "time_step_fs": 1.0}}}))
    n_together = len(processes("md_replicas"))
    retried = CliRunner().invoke(main(), ["campaign", "retry", "unstable", "--override", str(repair), "--here"])
    assert retried.exit_code == 0, retried.output
    assert states("unstable")["ar_549/lj/20000K_0.0001GPa/md_sampling"] == "finished"
    assert len(processes("md_replicas")) == n_together


def test_dynamics_that_never_began_together_have_failed_all(campaign):
    overrides = argon_settings(md_sampling={"relax_first": True, "md_crystal": {"max_atoms": 4000}})
    for section in ("md_sampling", "phonon_sampling"):
        del overrides[section]["temperature_K"]
    own = {"name": "never", "temperatures_K": [20.0, 30.0], "overrides": overrides, "replicas_per_job": 2}
    own |= {"lattice_constants": (5.51,), "crystals": ["crystals/ar_551.cif"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiida_mbetrain.workflows.supercell_start.md_supercell", refused_supercell)
        assert campaign("run", **own).exit_code == 0
    found = [state for name, state in states("never").items() if name.endswith("md_sampling")]
    assert found == ["failed", "failed"]
    assert "nothing to start" in campaign("run", **own).output


def test_a_change_that_contradicts_what_is_finished_is_refused(campaign):
    assert campaign("run", name="changed").exit_code == 0
    longer = merged(argon_campaign()["overrides"], {"md_sampling": {"md_crystal": {"time_total_fs": 80.0}}})
    result = campaign("run", name="changed", overrides=longer)
    assert result.exit_code == 1
    assert "ar_526/lj/20K_0.0001GPa/md_sampling" in result.output
    assert "'time_total_fs': 60.0" in result.output
    assert "give the campaign another name" in result.output


def test_a_stage_whose_process_is_gone_is_started_again(campaign, monkeypatch):
    def killed(*_: Any, **inputs: Any) -> Any:
        node = orm.WorkChainNode()
        raise KeyboardInterrupt(node)

    monkeypatch.setattr("aiida_mbetrain.campaigns.run.run_get_node", killed)
    assert campaign("run", name="killed", temperatures_K=[24.0]).exit_code != 0
    monkeypatch.undo()
    assert campaign("run", name="killed", temperatures_K=[24.0]).exit_code == 0
    assert set(states("killed").values()) == {"finished"}


def test_an_unknown_campaign_is_named_with_those_there_are(campaign):
    assert campaign("run", name="known").exit_code == 0
    result = campaign("status", "unknown")
    assert result.exit_code == 1
    assert "There is no campaign unknown in this profile; there are" in result.output
    assert "known" in result.output
