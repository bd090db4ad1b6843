"""Parser of trainings."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_mbetrain.calculations.functions.training import describe_trained
from aiida_mbetrain.parsers.stage import StageParser
from aiida_mbetrain.settings import JsonObject


class TrainingParser(StageParser):
    """The model says which labels and which baseline it was trained for, as that of the calcfunction."""

    def output_nodes(self, folder: Path, entries: dict[str, JsonObject]) -> dict[str, orm.Data]:
        """The nodes of the stage's outputs."""
        nodes = super().output_nodes(folder, entries)
        describe_trained(nodes)
        return nodes
