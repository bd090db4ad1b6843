"""A folder to run documents and examples in: short runs, a home and a profile of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TIMEOUT_S = 900

LIST = """python - <<'END'
from aiida import load_profile, orm
load_profile()
for node in orm.QueryBuilder().append(orm.WorkChainNode).all(flat=True):
    print(node.process_label, node.pk, node.uuid)
END"""


@dataclass(frozen=True)
class Workplace:
    """A folder with ``crystal.cif`` and ``my.model``, and the environment of its commands."""

    folder: Path
    environment: dict[str, str]

    def run(self, script: str, **variables: str) -> str:
        """Run a shell script and give its standard output; AssertionError with both streams where it fails."""
        result = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def at(self, folder: Path, **variables: str) -> Workplace:
        """The same environment in another folder, with the input files."""
        fill(folder)
        (folder / ".venv").symlink_to(self.folder / ".venv")
        return replace(self, folder=folder, environment=self.environment | variables)


def new_workplace(folder: Path) -> Workplace:
    """A workplace with an empty home and no profile."""
    programs = folder / ".venv" / "bin"  # where the README's first command has them
    programs.mkdir(parents=True)
    shorten = f"exec {sys.executable} {HERE / 'shortened.py'}"
    _program(programs / "aiida-mbetrain", f'{shorten} "$@"')
    _program(programs / "python", f'[ "$1" = - ] && exec {sys.executable} "$@"\n{shorten} "$@"')
    (folder / "home").mkdir()
    fill(folder)
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR", "PYTHONPATH") if name in os.environ}
    environment = kept | {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(folder / "home"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "MPLBACKEND": "agg",
        "COLUMNS": "200",
    }
    return Workplace(folder, environment)


def fill(folder: Path) -> None:
    """The input files that documents name: the demo's crystal and model."""
    from aiida_mbetrain import demo

    folder.mkdir(exist_ok=True)
    demo.crystal().write(folder / "crystal.cif")
    shutil.copy(demo.model_path(), folder / "my.model")


def what_the_demo_made(workplace: Workplace) -> dict[str, str]:
    """The variables by which documents name the finished run in ``mbetrain-demo``."""
    place = workplace.folder / "mbetrain-demo"
    labels = dict(line.split(maxsplit=1) for line in workplace.run(LIST, AIIDA_PATH=str(place)).splitlines())
    return {
        "AIIDA_PATH": str(place),
        "PK": labels["TrainingSetWorkChain"].split()[0],
        "UUID": labels["TrainingSetWorkChain"].split()[1],
        "MD_PK": labels["MDSamplingWorkChain"].split()[0],
    }


def _program(path: Path, command: str) -> None:
    path.write_text(f"#!/bin/bash\n{command}\n")
    path.chmod(0o755)
