"""The words of ``aiida-mbetrain status``, and ``check`` on a code of this machine."""

from __future__ import annotations

import pytest
from aiida import orm
from click.testing import CliRunner
from job_runs import local_code

from aiida_mbetrain.cli.root import main
from aiida_mbetrain.cli.status import describe_progress

MD = {"stage": "molecular_dynamics", "done": 2500, "total": 10000, "rate": 2.5, "time": 1000.0}


def test_progress_tells_share_rate_and_time_left():
    line = describe_progress(MD, now=1001.0)
    assert line == "2,500 of 10,000 steps (25 %), 2.5 steps/s, 0:50:00 left"


def test_progress_of_dynamics_tells_temperature_and_volume():
    line = describe_progress(MD | {"temperature_K": 301.7, "volume_A3": 512.34}, now=1001.0)
    assert line.endswith("302 K, 512.3 Å³")


def test_progress_of_replicas_tells_how_many_run():
    line = describe_progress(MD | {"stage": "md_replicas", "n_running": 15.0}, now=1001.0)
    assert line == "2,500 of 10,000 steps (25 %), 2.5 steps/s, 0:50:00 left, 15 replicas"


def test_silence_is_told():
    assert "silent for 1:06:40" in describe_progress(MD, now=5000.0)


@pytest.mark.parametrize("change", [{"rate": None}, {"done": 0, "total": 0, "rate": None}])
def test_beginning_has_no_time_left(change):
    assert "left" not in describe_progress(MD | change, now=1001.0)


def test_tree_of_a_finished_run_names_every_stage(finished):
    result = CliRunner().invoke(main, ["status", str(finished.pk)])
    assert result.exit_code == 0, result.output
    for label in ("md_sampling", "molecular_dynamics", "quasi_harmonic", "relaxation", "force_constants", "labels"):
        assert label in result.output
    assert "failed" not in result.output


def test_reasons_with_brackets_are_told_as_they_are(profile):
    """Names of crystals and paths look like the markup of the terminal library."""
    node = orm.WorkChainNode()
    node.set_process_state("finished")
    node.set_exit_status(453)
    node.set_exit_message("crystal[eos:V=1.0200] has no minimum [/tmp]")
    node.set_process_label("HarmonicCrystalWorkChain")
    node.store()
    result = CliRunner().invoke(main, ["status", str(node.pk)])
    assert "failed [453] crystal[eos:V=1.0200] has no minimum [/tmp]" in " ".join(result.output.split())


def test_watching_ends_with_the_run(finished):
    result = CliRunner().invoke(main, ["status", str(finished.pk), "--watch", "--interval", "0.1"])
    assert result.exit_code == 0, result.output
    assert "md_sampling" in result.output


def test_watching_follows_a_run_until_it_ends(profile, monkeypatch):
    node = orm.WorkChainNode()
    node.set_process_state("running")
    node.set_process_label("MDSamplingWorkChain")
    node.store()

    def end(seconds: float) -> None:
        assert seconds == 0.5
        node.set_process_state("finished")
        node.set_exit_status(0)

    monkeypatch.setattr("time.sleep", end)
    result = CliRunner().invoke(main, ["status", str(node.pk), "--watch", "--interval", "0.5"])
    assert result.exit_code == 0, result.output
    assert "finished" in result.output


def test_check_of_an_unknown_code_says_only_that(profile):
    result = CliRunner().invoke(main, ["check", "no-such-code@nowhere"])
    assert result.exit_code == 1
    assert "no-such-code" in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_status_of_data_is_refused_in_one_line(profile):
    node = orm.Int(1).store()
    result = CliRunner().invoke(main, ["status", str(node.pk)])
    assert result.exit_code == 1
    assert "process" in result.output
    assert "Traceback" not in result.output


def test_check_prints_device_versions_and_speed(profile, tmp_path):
    code = local_code(tmp_path)
    result = CliRunner().invoke(main, ["check", f"{code.label}@{code.computer.label}"])
    assert result.exit_code == 0, result.output
    for word in ("cpu", "mace-torch", "atoms/s", "agree"):
        assert word in result.output


def test_check_of_a_broken_code_ends_with_one_line(profile, tmp_path):
    computer = local_code(tmp_path).computer
    orm.InstalledCode(computer=computer, filepath_executable="/bin/false", label="broken").store()
    result = CliRunner().invoke(main, ["check", f"broken@{computer.label}"])
    assert result.exit_code == 1
    assert "310" in result.output
    assert "Traceback" not in result.output
