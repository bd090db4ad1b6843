"""Parser of trainings."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_mbetrain.calculations.functions.training import describe_delta
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.parsers.stage import StageParser
from aiida_mbetrain.settings import JsonObject


class TrainingParser(StageParser):
    """The model says which labels and which baseline it was trained for, as that of the calcfunction."""

    def output_nodes(self, folder: Path, entries: dict[str, JsonObject]) -> dict[str, orm.Data]:
        """The nodes of the stage's outputs."""
        nodes = super().output_nodes(folder, entries)
        model, summary = nodes.get("model"), nodes.get("summary")
        if isinstance(model, MaceModelData) and isinstance(summary, orm.Dict):
            describe_delta(model, summary.get_dict())
        return nodes
