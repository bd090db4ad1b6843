"""The files of setup_computers: accepted by verdi as they are, and equal to the script that they translate."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from computer_setups import EXAMPLE, SETUP_COMPUTERS, SETUPS

# The header of the script that users of a GPU cluster start from
REFERENCE_SCRIPT = """\
#!/usr/bin/env python3
#SBATCH --job-name="MACE"
#SBATCH -A pl0415-02
#SBATCH --partition=tesla
#SBATCH --nodes 1
#SBATCH --ntasks-per-node=1 --constraint=h100
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --mem=180gb
"""


def find_files(pattern: str) -> set[str]:
    """Names of the files, relative to setup_computers."""
    return {path.relative_to(SETUP_COMPUTERS).as_posix() for path in SETUP_COMPUTERS.rglob(pattern)}


FILES = {
    path.relative_to(SETUP_COMPUTERS).as_posix(): (setup, role)
    for setup in SETUPS
    for role, path in setup.files.items()
}


@pytest.fixture(scope="session")
def answers(ask_verdi):
    """verdi's answer to every file, all asked in one throw-away profile."""
    requests = {(setup, role): request for setup in SETUPS for role, request in setup.requests().items()}
    return dict(zip(requests, ask_verdi(*requests.values()), strict=True))


def parse_directives(script: str) -> dict[str, object]:
    """The options that sbatch reads: lines before the first command, units of time and memory removed."""
    header = []
    for line in script.splitlines():
        if line.strip() and not line.startswith("#"):
            break
        header += re.findall(r"^#SBATCH\s+(.*)$", line)
    parser = argparse.ArgumentParser()
    parser.add_argument("-A", "--account")
    parser.add_argument("--partition")
    parser.add_argument("--constraint")
    for name in ["--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task"]:
        parser.add_argument(name, type=int)
    parser.add_argument("--time", type=parse_seconds)
    parser.add_argument("--mem", type=parse_megabytes)
    known, _ = parser.parse_known_args(" ".join(header).split())
    return vars(known)


def parse_seconds(text: str) -> int:
    """[days-]hours:minutes:seconds."""
    days, _, clock = text.rpartition("-")
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def parse_megabytes(text: str) -> int:
    """A number in MB, or with a unit; SLURM's units are powers of 1024."""
    number, unit = re.fullmatch(r"(\d+)([a-z]*)", text.lower()).groups()
    return int(number) * {"": 1, "mb": 1, "gb": 1024}[unit]


def test_every_yaml_file_is_tested():
    assert find_files("*.yaml") == set(FILES)


@pytest.mark.parametrize("name", sorted(name for name, (_, role) in FILES.items() if role != "options"))
def test_verdi_accepts_file(answers, name):
    answer = answers[FILES[name]]
    assert answer["exit_code"] == 0, answer["output"]


def test_verdi_computer_test_of_this_machine_succeeds(ask_verdi):
    localhost = next(setup for setup in SETUPS if setup.folder == "localhost")
    requests = localhost.requests()
    answer = ask_verdi(requests["computer"], requests["configure"], ["verdi", "computer", "test", localhost.label])[-1]
    assert answer["exit_code"] == 0, answer["output"]
    assert "all" in answer["output"]
    assert "succeeded" in answer["output"]


@pytest.mark.parametrize("name", sorted(name for name, (_, role) in FILES.items() if role == "options"))
def test_options_become_a_submit_script(answers, name):
    directives = parse_directives(answers[FILES[name]]["script"])
    options = yaml.safe_load((SETUP_COMPUTERS / name).read_text())
    assert directives["gpus_per_node"] == 1
    assert directives["partition"] == options["queue_name"]
    assert directives["time"] == options["max_wallclock_seconds"]
    assert directives["mem"] * 1024 == options["max_memory_kb"]


@pytest.mark.parametrize("directive", sorted(parse_directives(REFERENCE_SCRIPT)))
def test_example_asks_for_what_the_reference_script_asks_for(answers, directive):
    expected = parse_directives(REFERENCE_SCRIPT)[directive]
    assert expected is not None
    assert parse_directives(answers[EXAMPLE, "options"]["script"])[directive] == expected


def test_example_prepares_the_environment_before_the_program_runs(answers):
    script = answers[EXAMPLE, "options"]["script"]
    order = [
        "export OMP_NUM_THREADS='8'",
        "export MKL_NUM_THREADS='8'",
        "module load python/3.11.9-gcc-11.5.0-5l7rvgy cuda/12.8.0_570.86.10",
        ". ~/.virtualenvs/compute-env/bin/activate",
        "'mbetrain-worker'",
    ]
    positions = [script.find(text) for text in order]
    assert -1 not in positions
    assert positions == sorted(positions)


def test_readme_translates_every_line_of_the_reference_script():
    readme = (SETUP_COMPUTERS / "README.md").read_text()
    for option in re.findall(r"(?<=\s)(-A|--[a-z-]+)", REFERENCE_SCRIPT):
        assert f"| `{option}" in readme, option


@pytest.mark.parametrize("name", sorted(find_files("*.sh")))
def test_shell_script_parses(name):
    subprocess.run(["bash", "-n", str(SETUP_COMPUTERS / name)], check=True)


def run_installer(*arguments: str) -> subprocess.CompletedProcess[str]:
    installer = SETUP_COMPUTERS / "slurm-gpu" / "install_worker.sh"
    return subprocess.run([str(installer), *arguments], capture_output=True, text=True, check=False)


def test_installer_refuses_a_missing_interpreter(tmp_path):
    process = run_installer("/nonexistent/python", str(tmp_path / "environment"))
    assert process.returncode == 1
    assert "/nonexistent/python is not Python 3.11 or newer" in process.stderr
    assert not (tmp_path / "environment").exists()


@pytest.mark.long
def test_installer_makes_an_environment_with_a_worker_that_runs(tmp_path):
    """With the versions of constraints.txt, twice: the second run only repairs."""
    target = tmp_path / "environment"
    for _ in range(2):
        process = run_installer(sys.executable, str(target))
        assert process.returncode == 0, process.stdout + process.stderr
    assert f"filepath_executable: {target}/bin/mbetrain-worker" in process.stdout
    worker = subprocess.run([str(target / "bin" / "mbetrain-worker"), "--version"], capture_output=True, text=True)
    assert worker.stdout.startswith("mbetrain-worker ")


def test_installer_explains_itself_without_arguments():
    process = run_installer()
    assert process.returncode == 2
    assert "PYTHON TARGET" in process.stderr


MEMORY_CONTROLLER = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    not os.access(MEMORY_CONTROLLER / "cgroup.procs", os.W_OK), reason="needs cgroup version 1 and root"
)
def test_memory_controller_is_mounted_anew_where_the_cgroup_of_an_earlier_start_is_gone(tmp_path):
    """As after a session that ended without stop.sh: SLURM started all the same, and no job did."""
    gone, folder = MEMORY_CONTROLLER / f"mbetrain-{os.getpid()}", tmp_path / "memory"
    gone.mkdir()
    folder.mkdir()
    try:
        subprocess.run(["mount", "--bind", str(gone), str(folder)], check=True)
    finally:
        gone.rmdir()
    try:
        assert folder.is_mount()
        assert not list(folder.iterdir())
        library = SETUP_COMPUTERS / "slurm-local" / "lib.sh"
        for _ in range(2):
            subprocess.run(["bash", "-euc", f". {library}; mount_memory_controller {folder}"], check=True)
        assert (folder / "cgroup.procs").read_text()
        mounts = Path("/proc/mounts").read_text()
        assert mounts.count(str(folder)) == 1
    finally:
        subprocess.run(["umount", str(folder)], check=True)
