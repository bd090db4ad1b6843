"""Sources of a report: the tree of a file, and what is known around it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.inspection import sections_of
from aiida_mbetrain.datasets.tree import Attribute, Group
from aiida_mbetrain.report.run_facts import RunFacts
from aiida_mbetrain.report.trained_models import TrainedModel

StatedSettings = Mapping[str, Any]
"""Settings of a stage by name, as a file states them."""


@dataclass(frozen=True)
class Source:
    """Source of a report.

    root: tree of the dataset; arrays of a file are read when they are asked for.
    file_name: of the HDF5 file, as commands name it.  file_bytes: its size; None where there is no file.
    run: the run behind it, where a profile knows it.  trained_models: those trained on its clusters, likewise.
    seed: of every choice of what is embedded.  explore: with the viewer of chemiscope.
    """

    root: Group
    file_name: str
    file_bytes: int | None = None
    run: RunFacts | None = None
    trained_models: Sequence[TrainedModel] = ()
    seed: int = 42
    explore: bool = False

    @property
    def short_name(self) -> str:
        """The file without its folder."""
        return Path(self.file_name).name

    def sections(self, kind: str) -> Iterator[tuple[str, Group]]:
        """Sections of a kind (``md_sampling``, ``quasi_harmonic``, ``phonon_sampling``) with their paths."""
        for path, section in sections_of(self.root):
            if section.attributes[names.SECTION] == kind:
                yield path, section

    def stated(self, name: str) -> Attribute | None:
        """The first thing any group says of its provenance under this name."""
        return next((group.provenance[name] for _, group in self.root.walk() if name in group.provenance), None)


def settings_of(section: Group) -> StatedSettings:
    """Settings of a section's stage; empty where the file does not have them."""
    text = section.provenance.get("settings")
    return json.loads(text) if isinstance(text, str) else {}
