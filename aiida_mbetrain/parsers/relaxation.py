"""Parser of relaxations, with the relaxed crystal as a StructureData."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_mbetrain.data.structures import structure_from_configurations
from aiida_mbetrain.parsers.stage import StageParser
from aiida_mbetrain.settings import JsonObject
from aiida_mbetrain.worker import codec


class RelaxationParser(StageParser):
    """The parser of a stage, with the additional output ``structure``."""

    def output_nodes(self, folder: Path, entries: dict[str, JsonObject]) -> dict[str, orm.Data]:
        """The nodes of the stage's outputs."""
        relaxed = codec.load(folder, entries["relaxed"])
        return super().output_nodes(folder, entries) | {"structure": structure_from_configurations(relaxed)}
