"""Parser of reference labels."""

from __future__ import annotations

from pathlib import Path

from aiida import orm

from aiida_mbetrain.calculations.functions.reference_labels import try_failures_again
from aiida_mbetrain.parsers.stage import StageParser
from aiida_mbetrain.settings import JsonObject


class ReferenceLabelsParser(StageParser):
    """A job with failures is not taken from the cache, as a calcfunction with failures is not."""

    def output_nodes(self, folder: Path, entries: dict[str, JsonObject]) -> dict[str, orm.Data]:
        """The nodes of the stage's outputs."""
        nodes = super().output_nodes(folder, entries)
        try_failures_again(self.node, nodes)
        return nodes
