"""Progress of in-process stages: bars on a terminal, lines elsewhere, both with rate and time left."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from argon import LENNARD_JONES as CALCULATOR
from ase import Atoms
from ase.build import bulk
from rich.console import Console

from aiida_mbetrain.cli.progress import STAGES, StageBars, StageLines, progress_bars
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import calculate_force_constants, sample_phonons
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.stages import Job, estimate_force_constants
from aiida_mbetrain.science.stages import table as stages
from aiida_mbetrain.settings import FreeEnergy, NamedCalculator, PhononFilter, PhononSampling

LENNARD_JONES = named_calculator(NamedCalculator(**CALCULATOR))


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=140, color_system=None, legacy_windows=False)


def lines_of(reports: list[tuple[float, str, int, int]]) -> list[str]:
    """What StageLines prints for reports (time in s, stage, done, total)."""
    out, clock = console(), Clock()
    with StageLines(out, clock) as report:
        for seconds, stage, done, total in reports:
            clock.now = 100.0 + seconds
            report(stage, done, total)
    return out.file.getvalue().splitlines()


def test_every_stage_has_a_name_and_a_unit():
    assert set(STAGES) == {*stages.STAGES, "phonon_sampling", "evaluation"}  # the last two are no jobs: seconds each


def test_lines_tell_rate_and_time_left_and_at_the_end_the_time_it_took():
    reports = [(float(i), "molecular_dynamics", 50 * i, 4000) for i in range(81)]
    lines = lines_of(reports)
    assert lines[0] == "Molecular dynamics: 0 of 4,000 steps"
    assert lines[1] == "Molecular dynamics: 400 of 4,000 steps, 50.0 steps/s, 0:01:12 left"
    assert lines[-1] == "Molecular dynamics: 4,000 of 4,000 steps, 50.0 steps/s, took 0:01:20"
    assert len(lines) == 11


def test_rate_counts_only_what_this_process_did():
    """A continued run reports first where it goes on."""
    lines = lines_of([(0.0, "molecular_dynamics", 900, 1000), (5.0, "molecular_dynamics", 1000, 1000)])
    assert lines == [
        "Molecular dynamics: 900 of 1,000 steps",
        "Molecular dynamics: 1,000 of 1,000 steps, 20.0 steps/s, took 0:00:05",
    ]


def test_stage_that_starts_again_is_timed_anew():
    one_run = [(0.0, 0), (2.0, 10)]
    reports = [(start + time, "force_constants", done, 10) for start in (0.0, 60.0) for time, done in one_run]
    lines = lines_of(reports)
    assert lines[:2] == lines[2:]
    assert lines[1] == "Force constants: 10 of 10 supercells, 5.0 supercells/s, took 0:00:02"


def test_stages_at_the_same_time_are_kept_apart():
    lines = lines_of(
        [(0.0, "labels", 0, 100), (1.0, "isolated_molecule", 0, 10), (2.0, "labels", 50, 100), (3.0, "labels", 51, 100)]
    )
    assert lines == [
        "Labels: 0 of 100 atoms",
        "Isolated molecule: 0 of 10 steps",
        "Labels: 50 of 100 atoms, 25.0 atoms/s, 0:00:02 left",
    ]


def test_stage_without_work_is_one_line():
    assert lines_of([(0.0, "phonon_sampling", 0, 0)]) == ["Phonon sampling: 0 of 0 q-points"]


def bars_of(reports: list[tuple[float, str, int, int]]) -> list[str]:
    """The bars that StageBars leaves on the terminal; reports as for ``lines_of``."""
    out, clock = console(terminal=True), Clock()
    with StageBars(out, clock) as report:
        for seconds, stage, done, total in reports:
            clock.now = 100.0 + seconds
            report(stage, done, total)
    last_picture = out.file.getvalue().rpartition("\x1b[2K")[2]
    return last_picture.replace("\x1b[?25h", "").splitlines()


def test_bar_shows_name_count_rate_and_times():
    [bar] = bars_of([(seconds, "isolated_molecule", int(10 * seconds), 80) for seconds in (0.0, 2.0, 4.0)])
    assert re.search(r"^Isolated molecule .* 40/80 10.0 steps/s 0:00:04 left 0:00:04", bar)


def test_stage_that_starts_again_gets_a_bar_of_its_own():
    relaxations = [(float(i), "relaxation", done, 6) for i, done in enumerate((0, 6, 0, 2))]
    bars = bars_of([*relaxations, (5.0, "labels", 1, 5)])
    assert [re.search(r"\d/\d", bar)[0] for bar in bars] == ["6/6", "2/6", "1/5"]


@pytest.mark.parametrize("terminal", [True, False])
def test_display_is_chosen_by_the_output_and_hears_the_stages(terminal):
    from aiida_mbetrain.calculations.functions.in_process import report_for

    out = console(terminal=terminal)
    with progress_bars(out):
        report_for("labels")(3, 3)
    text = out.file.getvalue()
    assert ("Labels: 3 of 3 atoms" in text) == (not terminal)
    assert ("3/3" in text) == terminal
    report_for("labels")(2, 3)
    assert out.file.getvalue() == text


def reports_of(stage: str, argon: Any, settings: dict[str, Any]) -> list[tuple[int, int]]:
    """What a stage reports on slightly strained argon."""
    reports: list[tuple[int, int]] = []
    structure = Configurations.from_atoms(argon)
    job = Job({"structure": structure}, LENNARD_JONES, settings, report=lambda *counts: reports.append(counts))
    stages.STAGES[stage](job)
    return reports


@pytest.mark.parametrize("periodic", [True, False])
def test_bar_of_a_relaxation_ends_with_its_steps(periodic):
    """It ends before the largest allowed number of steps: what is left then is nothing."""
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True) if periodic else Atoms("Ar2", [[0, 0, 0], [4.2, 0, 0]])
    stage = "relaxation" if periodic else "isolated_molecule"
    settings = {"relax_input_cell": "full", "max_force_on_atom": 1e-3}
    reports = reports_of(stage, atoms, settings)
    done, total = reports[-1]
    assert done == total > 1
    [bar] = bars_of([(float(i), stage, *counts) for i, counts in enumerate(reports)])
    assert f"{done}/{done}" in bar
    assert "0:00:00" in bar


def test_bar_of_force_constants_counts_what_the_estimate_calls_evaluations():
    """All displaced supercells and the one at rest: not displacements, of which there is one less."""
    settings = FreeEnergy(thermal_expansion=False, supercell_radius=7.0)
    reports = reports_of("force_constants", bulk("Ar", "fcc", a=5.26), settings.to_dict())
    estimate = estimate_force_constants(Configurations.from_atoms(bulk("Ar", "fcc", a=5.26)), settings)
    assert reports[-1] == (estimate.n_evaluations, estimate.n_evaluations)
    assert estimate.n_evaluations == estimate.n_displacements + 1
    assert STAGES["force_constants"][1] == "supercells"


def test_bar_of_phonon_sampling_counts_q_points():
    """Of which one gives many frames."""
    crystal = Configurations.from_atoms(bulk("Ar", "fcc", a=5.26))
    constants = calculate_force_constants(crystal, LENNARD_JONES, FreeEnergy(supercell_radius=7.0))
    reports: list[tuple[int, int]] = []
    wanted = PhononSampling(phonon_filter=PhononFilter(k_point_mesh="commensurate"), n_frames=3)
    sampled = sample_phonons(constants, wanted, report=lambda *counts: reports.append(counts))
    assert reports[-1][0] == reports[-1][1] < sampled.frames.n_frames
    assert STAGES["phonon_sampling"][1] == "q-points"
