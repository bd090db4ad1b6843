"""A campaign file becomes members and the stages they share, without a profile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argon import merged
from ase.build import bulk
from campaign_files import argon_campaign
from click.testing import CliRunner

from aiida_mbetrain import demo
from aiida_mbetrain.campaigns.costs import estimate_plan
from aiida_mbetrain.campaigns.plan import Plan, make_plan
from aiida_mbetrain.campaigns.reading import read_sources
from aiida_mbetrain.campaigns.replicas import made_together, replicas_of
from aiida_mbetrain.campaigns.settings import read_campaign
from aiida_mbetrain.cli import main
from aiida_mbetrain.errors import InvalidCampaign, InvalidSettings


def planned(path: Path, **repairs: Any) -> Plan:
    """The plan of a campaign file."""
    settings = read_campaign(path)
    return make_plan(settings, *read_sources(settings, path.parent), **repairs)


def refusals(path: Path) -> str:
    """All refusals of a campaign file, one per line."""
    with pytest.raises(InvalidCampaign) as caught:
        estimate_plan(planned(path))
    return "\n".join(caught.value.refusals)


def kinds(plan: Plan) -> Counter[str]:
    return Counter(stage.kind for stage in {stage.key: stage for stage in plan.stages.values()}.values())


def test_members_share_force_constants_and_phonons(write_campaign):
    plan = planned(write_campaign())
    assert len(plan.members) == 3 * 2 * 2
    assert kinds(plan) == {"quasi_harmonic": 3, "phonon_sampling": 6, "md_sampling": 12}
    assert "ar_526/lj/20K_0.0001GPa/md_sampling" in plan.stages


def dynamics_together(path: Path, replicas_per_job: int) -> list[list[str]]:
    """Names of the dynamics that are made together."""
    stages = [stage for stage in planned(path).stages.values() if stage.kind == "md_sampling"]
    lists = made_together(stages, replicas_per_job)
    return [[stage.name.removesuffix("/md_sampling") for stage in made] for made in lists]


def test_dynamics_of_one_crystal_are_made_together_and_no_more_than_wanted(write_campaign):
    path = write_campaign(lattice_constants=(5.26, 5.30))
    single = dynamics_together(path, 1)
    assert [len(names) for names in single] == [1] * 8
    threes = dynamics_together(path, 3)
    assert [len(names) for names in threes] == [3, 1, 3, 1]
    assert [name for names in threes for name in names] == [name for [name] in single]
    assert dynamics_together(path, 16)[0] == [
        "ar_526/lj/20K_0.0001GPa", "ar_526/lj/30K_0.0001GPa", "ar_526/lj/20K_0.01GPa", "ar_526/lj/30K_0.01GPa",
    ]  # fmt: skip


def test_dynamics_made_together_have_the_keys_that_they_have_by_themselves(write_campaign):
    plan = planned(write_campaign(rng_seed=3))
    for together in made_together(plan.stages.values(), 16):
        if together[0].kind == "md_sampling":
            settings = replicas_of(together)
            assert [settings.of(name) for name in settings.replicas] == [
                stage.settings for stage in sorted(together, key=lambda stage: settings_name(stage.name))
            ]
            assert "at_20K_0_01GPa" in settings.replicas


def settings_name(stage: str) -> str:
    return stage.split("/")[2].replace(".", "_")


def test_only_dynamics_that_differ_in_conditions_and_seed_are_made_together(write_campaign):
    path = write_campaign(lattice_constants=(5.26,), crystals=["crystals/ar_526.cif"])
    longer = {"md_sampling": {"md_crystal": {"time_total_fs": 80.0}}}
    plan = planned(path, repairs={"ar_526/lj/20K_0.01GPa/md_sampling": longer})
    lists = [made for made in made_together(plan.stages.values(), 16) if made[0].kind == "md_sampling"]
    assert sorted(len(made) for made in lists) == [1, 3]
    relaxed = planned_overrides(md_sampling={"relax_first": True})
    path = write_campaign(lattice_constants=(5.26,), crystals=["crystals/ar_526.cif"], overrides=relaxed)
    assert [len(names) for names in dynamics_together(path, 16)] == [2, 2]


def test_equal_dynamics_are_made_once(write_campaign):
    constant_volume = {"md_crystal": {"ensemble": "NVT"}}
    overrides = planned_overrides(md_sampling=constant_volume, quasi_harmonic={"relax_input_cell": "full"})
    path = write_campaign(lattice_constants=(5.26,), crystals=["crystals/ar_526.cif"], overrides=overrides)
    assert [len(names) for names in dynamics_together(path, 16)] == [2]


def test_cells_that_follow_the_pressure_have_force_constants_of_their_own(write_campaign):
    overrides = planned_overrides(quasi_harmonic={"relax_input_cell": "full"})
    plan = planned(write_campaign(overrides=overrides))
    assert kinds(plan) == {"quasi_harmonic": 6, "phonon_sampling": 12, "md_sampling": 12}
    stage = plan.stages["ar_526/lj/0.01GPa/quasi_harmonic"]
    assert stage.settings.pressure_GPa == 0.01


def planned_overrides(**changes: Any) -> dict[str, Any]:
    from argon import merged
    from campaign_files import argon_campaign

    return merged(argon_campaign()["overrides"], changes)


def test_with_thermal_expansion_phonons_are_sampled_at_the_volume_of_their_temperature(write_campaign):
    expansion = {"thermal_expansion": True, "volume_range": [0.96, 0.98, 1.0, 1.02, 1.04]}
    plan = planned(write_campaign(overrides=planned_overrides(quasi_harmonic=expansion), pressures_GPa=[0.0]))
    phonons = [stage for stage in plan.stages.values() if stage.kind == "phonon_sampling"]
    assert {stage.constants_label for stage in phonons} == {"crystal[eq:T=20.00]", "crystal[eq:T=30.00]"}
    assert phonons[0].parent.settings.temperatures_K == (20.0, 30.0)


def test_a_key_changes_with_what_decides_the_result_and_with_nothing_else(write_campaign):
    def keys(**changes: Any) -> dict[str, str]:
        return {name: stage.key for name, stage in planned(write_campaign(**changes)).stages.items()}

    before = keys()
    same = planned_overrides(md_sampling={"root_key": "elsewhere"}, inference={"batch_atoms": 100})
    assert keys(overrides=same, max_jobs=3) == before
    more = keys(temperatures_K=[20.0, 30.0, 40.0])
    assert {name: more[name] for name in before} == before
    shorter = keys(overrides=planned_overrides(md_sampling={"md_crystal": {"time_total_fs": 50.0}}))
    changed = {name for name in before if shorter[name] != before[name]}
    assert changed == {name for name in before if name.endswith("md_sampling")}
    relaxed = keys(overrides=planned_overrides(quasi_harmonic={"supercell_displacement": 0.02}))
    assert {name for name in before if relaxed[name] == before[name]} == changed


def test_overrides_of_some_crystals_and_of_one(write_campaign):
    by_crystal = {
        "ar_53*": {"phonon_sampling": {"n_frames": 3}},
        "ar_534": {"phonon_sampling": {"n_frames": 4}},
    }
    plan = planned(write_campaign(overrides_by_crystal=by_crystal))
    frames = {stage.crystal.name: stage.settings.n_frames for stage in plan.stages.values() if stage.parent}
    assert frames == {"ar_526": 2, "ar_530": 3, "ar_534": 4}


def test_a_repair_changes_one_stage_and_those_that_need_it(write_campaign):
    path = write_campaign()
    before = planned(path).stages
    name = "ar_526/lj/quasi_harmonic"
    after = planned(path, repairs={name: {"quasi_harmonic": {"max_n_steps": 900}}}).stages
    changed = {stage for stage in before if after[stage].key != before[stage].key}
    assert changed == {name, "ar_526/lj/20K/phonon_sampling", "ar_526/lj/30K/phonon_sampling"}


def test_a_seed_of_the_campaign_gives_every_stage_its_own(write_campaign):
    def seeds(**changes: Any) -> list[int]:
        stages = planned(write_campaign(**changes)).stages.values()
        return [stage.settings.md_crystal.rng_seed for stage in stages if stage.kind == "md_sampling"]

    assert set(seeds()) == {42}
    assert len(set(seeds(rng_seed=1))) == 12
    assert seeds(rng_seed=1) == seeds(rng_seed=1) != seeds(rng_seed=2)


def test_every_refusal_of_every_crystal_is_listed(write_campaign, tmp_path):
    crystals = ["crystals", "missing/*.cif", "molecule.xyz", "nowhere.cif"]
    path = write_campaign(crystals=crystals, models={"lj": {"name": "lennard_jones"}, "emt": {"name": "emt"}})
    bulk("Ar", "fcc", a=5.0).write(tmp_path / "molecule.xyz", plain=True)
    lines = refusals(path).splitlines()
    assert len(lines) == 3
    assert "missing/*.cif matches no file" in lines[0]
    assert lines[1].startswith("molecule: A crystal is one frame with a cell")
    assert "nowhere.cif does not exist" in lines[2]
    text = refusals(write_campaign(models={"emt": {"name": "emt"}}))
    assert text.count("it contains Ar, the model emt knows") == 3


def test_sublimation_of_a_mixture_is_refused(write_campaign, tmp_path):
    unequal = {"finite_subsystem_filter": {"assert_identical_composition": False}}
    changes = {"quasi_harmonic": {"sublimation": True}, "md_sampling": unequal, "phonon_sampling": unequal}
    path = write_campaign(overrides=merged(argon_campaign()["overrides"], changes))
    mixture = bulk("Ar", "fcc", a=5.26, cubic=True)
    mixture.symbols[0] = "Ne"
    mixture.write(tmp_path / "crystals" / "mixture.cif")
    assert "mixture: The molecule Ne does not make up the crystal, whose cell is Ar3Ne" in refusals(path)


def test_two_crystals_of_one_name_are_refused(write_campaign, tmp_path):
    path = write_campaign(crystals=["crystals", "other/ar_526.cif"])
    (tmp_path / "other").mkdir()
    bulk("Ar", "fcc", a=5.5).write(tmp_path / "other" / "ar_526.cif")
    assert "ar_526: 2 crystals have this name" in refusals(path)


def test_one_crystal_under_two_names_is_refused_in_another_cell_and_orientation(write_campaign, tmp_path):
    path = write_campaign(crystals=["crystals", "turned.cif"])
    cell = bulk("Ar", "fcc", a=5.26, cubic=True)
    cell.positions += np.array([0.1, 0.2, 0.3])
    cell.write(tmp_path / "turned.cif")
    assert "are the same crystal" in refusals(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crystals": ["empty"]}, "has no structure file"),
        ({"overrides_by_crystal": {"krypton": {}}}, "overrides_by_crystal: krypton: no crystal has such a name"),
        ({"overrides": {"md_sampling": {"md_crystal": {"ensemble": "NVT"}}}}, "md_crystal.ensemble = 'NVT' has none"),
        ({"overrides": {"dynamics": {}}}, "overrides has no section 'dynamics'"),
        ({"models": {"mace": "my.model"}}, "mace: my.model is no file"),
    ],
)
def test_bad_campaigns_are_refused_with_a_remedy(write_campaign, tmp_path, changes, message):
    (tmp_path / "empty").mkdir()
    assert message in refusals(write_campaign(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": [20]}, "did you mean 'temperatures_K'"),
        ({"temperatures_K": [20, 20]}, "give each of them once"),
        ({"temperatures_K": []}, "temperatures_K"),
        ({"name": "a/b"}, "a name has letters"),
        ({"overrides": {"md_sampling": {"temperature_K": 30}}}, "is said by temperatures_K"),
        ({"overrides_by_crystal": {"ar_526": {"md_sampling": {"pressure_GPa": 1}}}}, "is said by pressures_GPa"),
        ({"options": {"queue_name": "gpu"}}, "give code too"),
        ({"crystals": [{"files": "a.cif", "node": 3}]}, "an entry has one of files, node and group"),
    ],
)
def test_bad_files_are_refused_when_they_are_read(write_campaign, changes, message):
    with pytest.raises(InvalidSettings, match=message):
        read_campaign(write_campaign(**changes))


def test_the_command_prints_plan_and_costs(write_campaign):
    path = write_campaign()
    result = CliRunner().invoke(main, ["campaign", "plan", str(path), "--format", "json", "--ms-per-atom", "2"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert len(facts["members"]) == facts["total"]["members"] == 12
    assert facts["total"]["evaluations"] == sum(row["evaluations"] for row in facts["costs"])
    table = CliRunner().invoke(main, ["campaign", "plan", str(path)])
    assert "12 members, 21 stages" in table.output


def test_the_example_file_takes_the_structures_of_a_folder(tmp_path):
    shutil.copy(Path(__file__).parents[2] / "examples" / "campaign.yaml", tmp_path)
    (tmp_path / "crystals").mkdir()
    demo.crystal().write(tmp_path / "crystals" / "urotropine.cif")
    shutil.copy(demo.model_path(), tmp_path / "my.model")
    words = ["campaign", "plan", str(tmp_path / "campaign.yaml"), "--format", "json", "--ms-per-atom", "1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert [row["member"] for row in json.loads(result.output)["members"]] == [
        f"urotropine/mace/{temperature}K_0.0001GPa" for temperature in ("100", "200", "298.15")
    ]


def test_the_command_lists_all_refusals_and_starts_nothing(write_campaign):
    result = CliRunner().invoke(main, ["campaign", "plan", str(write_campaign(models={"emt": {"name": "emt"}}))])
    assert result.exit_code == 1
    assert result.output.count("it contains Ar") == 3
    assert "3 refused; nothing was started." in result.output


def test_a_plan_needs_no_aiida(write_campaign, tmp_path):
    path = write_campaign()
    code = f"""
import sys
from click.testing import CliRunner
from aiida_mbetrain.cli import main
assert CliRunner().invoke(main, ["campaign", "plan", {str(path)!r}, "--ms-per-atom", "1"]).exit_code == 0
assert not {{"aiida", "aiida_workgraph", "torch"}} & set(sys.modules), sorted(sys.modules)
"""
    home = tmp_path / "home"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"HOME": str(home)}, timeout=120)
    assert not home.exists() or not (home / ".aiida").exists()
    shutil.rmtree(home, ignore_errors=True)
