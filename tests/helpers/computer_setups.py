"""The computers that the files of setup_computers describe, and what to ask verdi about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

SETUP_COMPUTERS = Path(__file__).parents[2] / "setup_computers"


@dataclass(frozen=True)
class Setup:
    """The files that together describe one computer, relative to setup_computers."""

    folder: str
    computer: str = "computer.yaml"
    configure: str = "configure.yaml"
    code: str | None = "code.yaml"
    options: str | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Path of each file by its role."""
        names = {"computer": self.computer, "configure": self.configure, "code": self.code, "options": self.options}
        return {role: SETUP_COMPUTERS / self.folder / name for role, name in names.items() if name}

    @property
    def label(self) -> str:
        """Label of the computer."""
        return self.read("computer")["label"]

    def read(self, role: str) -> dict:
        """Content of one file."""
        return yaml.safe_load(self.files[role].read_text())

    def requests(self) -> dict[str, list]:
        """What to ask of verdi_session.py, by role, in the order in which a user types the commands."""
        transport = self.read("computer")["transport"]
        config = {role: str(path) for role, path in self.files.items()}
        requests = {
            "computer": ["verdi", "computer", "setup", "-n", "--config", config["computer"]],
            "configure": [
                *["verdi", "computer", "configure", transport, self.label],
                *["-n", "--config", config["configure"]],
            ],
        }
        if self.code:
            requests["code"] = ["verdi", "code", "create", "core.code.installed", "-n", "--config", config["code"]]
        if self.options:
            code = f"{self.read('code')['label']}@{self.label}"
            requests["options"] = ["render_submit_script", code, config["options"]]
        return requests


EXAMPLE = Setup("slurm-gpu/example-athena-like", options="options.yaml")
SLURM_LOCAL = Setup("slurm-local", options="options.yaml")
SLURM_LOCAL_SSH = Setup("slurm-local", "computer-ssh.yaml", "configure-ssh.yaml", "code-ssh.yaml")
SETUPS = [
    Setup("localhost"),
    Setup("slurm-gpu", options="options.yaml"),
    Setup("slurm-gpu", "computer-login-node.yaml", "configure-login-node.yaml", code=None),
    EXAMPLE,
    SLURM_LOCAL,
    SLURM_LOCAL_SSH,
]
