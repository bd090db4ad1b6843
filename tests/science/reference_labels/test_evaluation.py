"""Fragments one after another: interruptions, kills, failures, and labels of several runs put together."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from cluster_examples import shaken_clusters
from crystals import carbon_dioxide
from reference_potentials import Pairwise, label

from aiida_mbetrain.errors import InvalidSettings, ReferenceCalculationFailed, StoppedEarly
from aiida_mbetrain.science.potentials import NoPotential
from aiida_mbetrain.science.reference_labels import Fragment, Fragments, expand, label_fragments, merge_labels
from aiida_mbetrain.science.stages import STAGES, Job, Walltime, reference_labels
from aiida_mbetrain.settings import AseMethod, ReferenceLabels, TbliteMethod

SETTINGS = ReferenceLabels(method=AseMethod(method="lj", parameters={"sigma": 1.5}), order=2)


@pytest.fixture(scope="module")
def fragments() -> Fragments:
    crystal, (clusters,) = shaken_clusters(carbon_dioxide(), [3], n_frames=2)
    return expand({"n_3": clusters}, {"n_3": crystal}, SETTINGS).fragments


def job_of(fragments: Fragments, settings: ReferenceLabels = SETTINGS) -> Job:
    return Job(inputs={"fragments": fragments}, potential=NoPotential(), settings=settings.to_dict())


def arrays(outputs):
    return outputs["labels"].to_arrays()


def test_the_stage_labels_every_fragment(fragments):
    outputs = STAGES["reference_labels"](job_of(fragments))
    assert outputs["labels"].labelled.all()
    assert np.isfinite(outputs["labels"].forces).all()
    assert outputs["labels"].method_hash == SETTINGS.method.hash
    assert outputs["summary"]["n_failed"] == 0
    assert outputs["summary"]["programs"][0].startswith("ase ")


def test_a_job_stopped_after_every_fragment_gives_the_same_arrays(fragments, tmp_path):
    expected = arrays(STAGES["reference_labels"](job_of(fragments)))
    job = replace(job_of(fragments), checkpoint=tmp_path / "checkpoint", should_stop=lambda: True)
    n_jobs = 0
    while n_jobs < 100:
        n_jobs += 1
        try:
            found = arrays(STAGES["reference_labels"](job))
            break
        except StoppedEarly:
            continue
    assert n_jobs == len(fragments)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("killed_after", [1, 4, 9])
def test_a_job_killed_after_any_fragment_goes_on_from_there(fragments, tmp_path, killed_after):
    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == killed_after + 1:
            raise Killed

    job = replace(job_of(fragments), checkpoint=tmp_path / "checkpoint", checkpoint_interval_s=0.0)
    with pytest.raises(Killed):
        STAGES["reference_labels"](replace(job, report=kill))
    told: list[int] = []
    outputs = STAGES["reference_labels"](replace(job, report=lambda done, _: told.append(done)))
    assert told[0] == killed_after
    expected = arrays(STAGES["reference_labels"](job_of(fragments)))
    for name, array in arrays(outputs).items():
        np.testing.assert_array_equal(array, expected[name])


class FailsForDimers(Pairwise):
    def evaluate(self, fragment: Fragment):
        if len(fragment.numbers) > 3:
            raise ReferenceCalculationFailed("SCF not converged in 100 cycles")
        return super().evaluate(fragment)


def test_a_failure_is_recorded_with_the_message_and_the_rest_goes_on(fragments):
    labels = label_fragments(fragments, FailsForDimers(), "hash")
    dimers = np.flatnonzero(fragments.n_atoms > 3)
    assert sorted(labels.failures) == dimers.tolist()
    assert set(labels.failures.values()) == {"SCF not converged in 100 cycles"}
    np.testing.assert_array_equal(labels.labelled, fragments.n_atoms == 3)
    again = type(labels).from_arrays(labels.to_arrays())
    assert again.failures == labels.failures


def test_failures_and_programs_survive_a_stop(fragments, tmp_path, monkeypatch):
    """As do their forces, which a checkpoint holds up to the last fragment that was tried."""
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: FailsForDimers())
    expected = STAGES["reference_labels"](job_of(fragments))["labels"]
    job = replace(job_of(fragments), checkpoint=tmp_path / "checkpoint", should_stop=lambda: True)
    for _ in range(len(fragments) - 1):
        with pytest.raises(StoppedEarly):
            STAGES["reference_labels"](job)
    found = STAGES["reference_labels"](job)["labels"]
    assert 0 < len(found.failures) < len(fragments)
    assert (found.failures, found.programs) == (expected.failures, expected.programs)
    np.testing.assert_array_equal(found.energies, expected.energies)
    np.testing.assert_array_equal(found.forces, expected.forces)


class KillsItsJob(Pairwise):
    """As the system does where memory is short; a fragment of ``size`` atoms, or a larger one."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self._sizes = sizes

    def evaluate(self, fragment: Fragment):
        if len(fragment.numbers) in self._sizes:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate(fragment)


def killed_in_a_process_of_its_own(job: Job) -> bool:
    """True where the stage killed its process, False where it ended."""
    child = os.fork()
    if child == 0:
        try:
            STAGES["reference_labels"](job)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.fixture(scope="module")
def growing() -> Fragments:
    """Fragments of one to five molecules, each twice."""
    crystal, sets = shaken_clusters(carbon_dioxide(), [1, 2, 3, 4, 5], n_frames=2)
    clusters = {f"n_{n}": found for n, found in enumerate(sets, start=1)}
    whole = ReferenceLabels(method=AseMethod(method="lj"))
    return expand(clusters, dict.fromkeys(clusters, crystal), whole).fragments


def test_a_calculation_that_kills_its_job_twice_is_a_failure_and_the_rest_goes_on(growing, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: KillsItsJob(9))
    monkeypatch.setenv("MBETRAIN_MEMORY_MB", "1234")
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    n_killed = 0
    while killed_in_a_process_of_its_own(job):
        n_killed += 1
        assert n_killed < 10
    assert n_killed == 4
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    labels = STAGES["reference_labels"](job)["labels"]
    killed = np.flatnonzero(growing.n_atoms == 9)
    assert sorted(labels.failures) == killed.tolist()
    assert all("killed 2 times" in message and "1234 MB" in message for message in labels.failures.values())
    expected = STAGES["reference_labels"](job_of(growing))["labels"]
    kept = labels.labelled
    np.testing.assert_array_equal(kept, growing.n_atoms != 9)
    np.testing.assert_array_equal(labels.energies[kept], expected.energies[kept])


def test_one_kill_proves_nothing(growing, tmp_path, monkeypatch):
    """The machine may have failed: the next job tries the calculation again."""
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: KillsItsJob(6))
    assert killed_in_a_process_of_its_own(job)
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    told: list[int] = []
    labels = STAGES["reference_labels"](replace(job, report=lambda done, _: told.append(done)))["labels"]
    assert told[0] == np.count_nonzero(growing.n_atoms == 3)
    assert labels.labelled.all()


def test_after_three_kills_in_a_row_what_is_not_smaller_is_not_tried(growing, tmp_path, monkeypatch):
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: KillsItsJob(9, 12, 15))
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    n_killed = 0
    while n_killed < 20 and killed_in_a_process_of_its_own(job):
        n_killed += 1
    assert n_killed == 6
    labels = STAGES["reference_labels"](job)["labels"]
    messages = [labels.failures[row] for row in np.flatnonzero(growing.n_atoms > 6)]
    assert [message.split()[0] for message in messages] == ["killed"] * 3 + ["not"] * 3
    np.testing.assert_array_equal(labels.labelled, growing.n_atoms < 9)


class Slow(Pairwise):
    """A fragment of ``size`` atoms takes ``seconds``."""

    def __init__(self, size: int, seconds: float) -> None:
        super().__init__()
        self._size, self._seconds = size, seconds

    def evaluate(self, fragment: Fragment):
        if len(fragment.numbers) == self._size:
            time.sleep(self._seconds)
        return super().evaluate(fragment)


def killed_at_its_walltime(job: Job, max_seconds: float) -> bool:
    """True where a scheduler killed the job at its walltime, False where the stage ended or stopped before."""
    child = os.fork()
    if child == 0:
        end = time.monotonic() + 0.8 * max_seconds
        walltime = Walltime(max_seconds, seconds_left=0.8 * max_seconds)
        with suppress(StoppedEarly):
            STAGES["reference_labels"](replace(job, walltime=walltime, should_stop=lambda: time.monotonic() > end))
        os._exit(0)
    threading.Timer(max_seconds, os.kill, (child, signal.SIGKILL)).start()
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_calculation_that_outlasts_the_walltime_is_a_failure_that_names_it(growing, tmp_path, monkeypatch):
    """The first job comes to it late, and proves nothing; that of the second, which begins with it, is enough."""
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Slow(9, 60.0))
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    assert [killed_at_its_walltime(job, 0.5) for _ in range(2)] == [True, True]
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    labels = STAGES["reference_labels"](replace(job, walltime=Walltime(0.5, 60.0)))["labels"]
    (row,) = labels.failures
    assert row == np.flatnonzero(growing.n_atoms == 9)[0]
    assert labels.failures[row].startswith("out of walltime: not finished")
    assert "max_wallclock_seconds = 0.5" in labels.failures[row]
    assert "memory" not in labels.failures[row]
    assert labels.labelled.sum() == len(growing) - 1


@pytest.mark.parametrize("walltime", [Walltime(0.6, 60.0), None])
def test_a_job_with_a_longer_walltime_tries_again(growing, tmp_path, monkeypatch, walltime):
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Slow(3, 60.0))
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    assert killed_at_its_walltime(job, 0.5)
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    assert STAGES["reference_labels"](replace(job, walltime=walltime))["labels"].labelled.all()


def test_a_calculation_that_ends_after_all_counts(growing, tmp_path, monkeypatch):
    """Near the end of the walltime, or where nobody enforces it."""
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Slow(3, 0.3))
    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint", walltime=Walltime(0.2, 0.1))
    with pytest.raises(StoppedEarly):
        STAGES["reference_labels"](replace(job, should_stop=lambda: True))
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    assert STAGES["reference_labels"](job)["labels"].labelled.all()


def test_an_error_in_the_midst_of_a_calculation_is_no_kill(growing, tmp_path, monkeypatch):
    class Raises(Pairwise):
        def evaluate(self, fragment: Fragment):
            raise KeyboardInterrupt

    job = replace(job_of(growing), checkpoint=tmp_path / "checkpoint")
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Raises())
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            STAGES["reference_labels"](job)
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Pairwise())
    assert STAGES["reference_labels"](job)["labels"].labelled.all()


def test_a_calculation_without_memory_is_a_failure_that_names_the_memory(growing, monkeypatch):
    class Huge(Pairwise):
        def evaluate(self, fragment: Fragment):
            if len(fragment.numbers) == 9:
                np.empty(2**56)
            return super().evaluate(fragment)

    monkeypatch.setenv("MBETRAIN_MEMORY_MB", "1234")
    monkeypatch.setattr(reference_labels, "backend_of", lambda *args, **kwargs: Huge())
    labels = STAGES["reference_labels"](job_of(growing))["labels"]
    np.testing.assert_array_equal(labels.labelled, growing.n_atoms != 9)
    (message,) = set(labels.failures.values())
    assert re.search(r"out of memory of 1234 MB \(Unable to allocate 512. PiB", message)


def test_what_was_tried_is_not_tried_again(fragments):
    labels, backend = label_fragments(fragments, FailsForDimers(), "hash"), Pairwise()
    label_fragments(fragments, backend, "hash", done=labels)
    assert backend.n_evaluated == 0


def test_nothing_is_calculated_where_the_program_refuses_one_fragment(fragments):
    pytest.importorskip("tblite", reason="tblite is not installed")
    heavy = Fragment(np.array([92]), np.zeros((1, 3)), np.zeros(1, bool))
    both = Fragments.of([*(fragments[row] for row in range(len(fragments))), heavy])
    with pytest.raises(InvalidSettings, match="no parameters for U"):
        STAGES["reference_labels"](job_of(both, ReferenceLabels(method=TbliteMethod())))


def test_labels_of_several_runs_are_put_together(fragments):
    whole = label(fragments, Pairwise())
    first, second = (label(fragments.select(rows), Pairwise()) for rows in ([4, 0, 2], [1, 3, 2]))
    merged = merge_labels(fragments, whole.method_hash, [first, second])
    np.testing.assert_array_equal(merged.labelled[:5], True)
    np.testing.assert_array_equal(merged.labelled[5:], False)
    np.testing.assert_array_equal(merged.energies[:5], whole.energies[:5])
    end = fragments.offsets[5]
    np.testing.assert_array_equal(merged.forces[:end], whole.forces[:end])


def test_labels_of_another_method_do_not_count(fragments):
    merged = merge_labels(fragments, "another", [label(fragments, Pairwise())])
    assert not merged.labelled.any()


def test_a_success_elsewhere_replaces_a_failure(fragments):
    failed = label_fragments(fragments, FailsForDimers(), "0" * 32)
    succeeded = label(fragments, Pairwise())
    assert merge_labels(fragments, "0" * 32, [failed, succeeded]).failures == {}
    assert merge_labels(fragments, "0" * 32, [failed]).failures == failed.failures


def test_the_last_of_several_failures_is_told(fragments):
    first = label_fragments(fragments, FailsForDimers(), "0" * 32)
    second = replace(first, failures=dict.fromkeys(first.failures, "out of walltime"))
    assert set(merge_labels(fragments, "0" * 32, [first, second]).failures.values()) == {"out of walltime"}
