"""Verdicts: each passes on data without the fault and fails on data with it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from dataset_examples import full_dataset
from report_datasets import expansion_section, md_section, phonon_section

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.inspection import Verdict, verdicts
from aiida_mbetrain.datasets.inspection.coverage import covered_share
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.science.tables import Table


def named(dataset: Dataset) -> dict[str, Verdict]:
    """Verdicts by name."""
    return {verdict.name: verdict for verdict in verdicts(dataset)}


def with_series(section, **columns):
    return replace(section, series=Table({**section.series.columns, **columns}))


def test_calm_dynamics_passes():
    found = named(Dataset((md_section(40),)))
    assert [name for name, verdict in found.items() if not verdict.passed] == ["Repeated molecules"]
    assert found["Settled"].section == "training/md/crystal[dyn:T=200.00,p=0.00000]"


def test_drifting_volume_is_seen_with_its_remedy():
    settled = named(Dataset((md_section(40, drifting=True),)))["Settled"]
    assert not settled.passed
    assert "V changes by" in settled.value
    assert "time_equilibration_fs" in settled.advice
    assert "volume still drifts" in settled.advice


def test_temperature_off_target_is_seen():
    section = md_section(40)
    hot = with_series(section, temperature_K=section.series["temperature_K"] + 20.0)
    found = named(Dataset((hot,)))
    assert not found["Mean temperature"].passed
    assert found["Settled"].passed
    assert "target 200 K" in found["Mean temperature"].value


def test_frames_of_a_slow_series_are_not_independent():
    section = md_section(40)
    time = section.series["time_fs"]
    slow = with_series(section, volume_A3=180 + np.sin(2 * np.pi * time / 2500.0))
    verdict = named(Dataset((slow,)))["Independent frames"]
    assert not verdict.passed
    assert "sampling_interval_fs" in verdict.advice
    assert "the volume" in verdict.value


def test_conserved_energy_that_drifts_is_seen():
    section = md_section(40)
    energies = section.series["conserved_energy_eV"] + 12 * 2e-3 * section.series["time_fs"] / 1000
    assert not named(Dataset((with_series(section, conserved_energy_eV=energies),)))["Conserved energy"].passed


def test_run_too_short_to_judge_says_so():
    section = md_section(4)
    short = replace(section, time_equilibration_fs=590.0, series=Table(
        {name: column[[0, 60, 70, 80, 90]] for name, column in section.series.columns.items()}))  # fmt: skip
    assert "fewer than" in named(Dataset((short,)))["Settled"].value


@pytest.mark.parametrize(("n_left_out", "passed"), [(0, True), (3, False)])
def test_modes_left_out_of_the_free_energy(n_left_out, passed):
    section = full_dataset().quasi_harmonic[0]
    columns = section.thermodynamics_fixed_volume.columns | {names.N_LEFT_OUT_MODES: np.array([0, n_left_out])}
    changed = replace(section, thermodynamics_fixed_volume=Table(columns), thermodynamics_equilibrium_volume=None)
    found = named(Dataset((changed,)))["Modes left out of the free energy"]
    assert found.passed == passed
    assert passed or found.value == f"3 of 189 modes on the mesh of {next(iter(section.structures))}"


@pytest.mark.parametrize(("n_imaginary", "passed"), [(0, True), (3, False)])
def test_imaginary_modes(n_imaginary, passed):
    found = named(Dataset((phonon_section(n_imaginary=n_imaginary),)))["Imaginary modes"]
    assert found.passed is passed
    assert str(n_imaginary) in found.value


def test_modes_below_the_window_and_repeated_frames():
    section = replace(phonon_section(), n_below_window=2, n_repeated_frames=5)
    found = named(Dataset((section,)))
    assert not found["Modes left out"].passed
    assert not found["Repeated frames"].passed


def test_broken_molecules_are_counted_once_per_frame():
    section = md_section(12)
    molecules = section.molecules
    assert molecules is not None
    intact = np.ones(12, dtype=bool)
    intact[[2, 7]] = False
    sets = tuple(
        replace(one, configurations=one.configurations.with_(origin={**one.configurations.origin, "intact": intact}))
        for one in molecules.clusters
    )
    found = named(Dataset((replace(section, molecules=replace(molecules, clusters=sets)),)))["Broken molecules"]
    assert not found.passed
    assert found.value.startswith("2 of 12 frames")


def test_residual_force_above_the_allowed_one_is_seen():
    section = expansion_section()
    assert named(Dataset((section,)))["Residual force"].passed
    ((label, relaxed),) = section.structures.items()
    pulled = {label: relaxed.with_(forces=relaxed.forces + 0.01)}
    assert not named(Dataset((replace(section, structures=pulled),)))["Residual force"].passed


@pytest.mark.parametrize("label", ["crystal[opt:atoms,shape,V]", "crystal[opt:atoms,shape]"])
def test_stress_of_what_was_relaxed_is_judged(label):
    """At constant volume a pressure is no fault, a deviatoric stress is."""
    section = expansion_section()
    (relaxed,) = section.structures.values()
    at_rest, per_GPa = np.zeros((1, 3, 3)), 1.0 / 160.21766208
    pressed, sheared = at_rest - per_GPa * np.eye(3), at_rest + per_GPa * np.diag([1.0, -1.0, 0.0])

    def judged(stress):
        structures = {label: relaxed.with_(stress=stress)}
        return named(Dataset((replace(section, structures=structures, force_constants={}, bands={}),)))

    assert judged(at_rest)["Residual stress"].passed
    assert judged(pressed)["Residual stress"].passed == (label == "crystal[opt:atoms,shape]")
    assert "1.000 GPa" in judged(pressed)["Residual stress"].value
    assert not judged(sheared)["Residual stress"].passed


def test_independent_frames_are_counted_for_every_quantity():
    value = named(Dataset((md_section(60),)))["Independent frames"].value
    assert re.search(r"about \d+ of 60 \(T \d+, .*E \d+\)", value)


def test_facts_of_a_verdict_are_plain_and_advise_only_where_it_is_needed():
    passed, failed = (Verdict("Name", np.bool_(p), "1 of 2", "Do it.").facts() for p in (True, False))
    assert json.loads(json.dumps([passed, failed]))[0]["passed"] is True
    assert (passed["advice"], failed["advice"]) == ("", "Do it.")


def test_temperature_without_a_minimum_is_named():
    found = named(Dataset((expansion_section(),)))["Minimum of the free energy"]
    assert not found.passed
    assert "none at 250 K" in found.value


def test_coverage_of_one_distribution_and_of_two_islands():
    overlapping = named(Dataset((md_section(60), phonon_section(60))))["Coverage"]
    islands = named(Dataset((md_section(60), phonon_section(60, shift=30.0))))["Coverage"]
    assert overlapping.passed
    assert not islands.passed
    assert islands.value.startswith("0%")


def with_features(section, values):
    """The section with other features on every cluster."""
    assert section.molecules is not None
    sets = tuple(
        replace(one, configurations=one.configurations.with_(features=values(one.configurations.positions.shape)))
        for one in section.molecules.clusters
    )
    return replace(section, molecules=replace(section.molecules, clusters=sets))


@pytest.mark.parametrize("rounding", [0.0, 1e-9])
def test_features_that_do_not_vary_say_nothing_of_coverage(rounding):
    """Single atoms in a potential of short range have features of one value."""

    def constant(shape):
        return 3.0 + rounding * np.random.default_rng(7).normal(size=(*shape[:2], 4))

    sections = (md_section(60), phonon_section(60))
    assert "Coverage" in named(Dataset(sections))
    assert "Coverage" not in named(Dataset(tuple(with_features(section, constant) for section in sections)))


def test_a_source_of_one_value_does_not_cover_one_that_varies():
    def constant(shape):
        return np.full((*shape[:2], 4), 3.0)

    found = named(Dataset((md_section(60), with_features(phonon_section(60), constant))))["Coverage"]
    assert not found.passed


def test_covered_share_is_that_of_brute_force():
    rng = np.random.default_rng(0)
    points, others = rng.normal(size=(60, 3)), 0.5 + rng.normal(size=(40, 3))
    between = np.linalg.norm(points[:, None] - points, axis=-1)
    radii = np.sort(between, axis=1)[:, 5]
    nearest = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1)
    assert covered_share(points, others) == np.mean(nearest <= radii)


def test_file_and_dataset_have_the_same_verdicts(tmp_path):
    dataset = Dataset((md_section(12), expansion_section(), phonon_section()))
    write_dataset(tmp_path / "set.hdf5", dataset)
    assert verdicts(tmp_path / "set.hdf5") == verdicts(dataset)


def test_every_failed_verdict_has_advice():
    for dataset in (full_dataset(), Dataset((md_section(40, drifting=True), phonon_section(n_imaginary=2)))):
        assert all(verdict.advice for verdict in verdicts(dataset) if not verdict.passed)


def test_empty_dataset_has_none():
    assert verdicts(Dataset()) == []
