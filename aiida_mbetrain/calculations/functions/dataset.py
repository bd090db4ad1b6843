"""The HDF5 dataset as a node."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.datasets.from_graph import dataset_of, stage_nodes
from aiida_mbetrain.datasets.hdf5 import write_dataset
from aiida_mbetrain.datasets.inspection import verdicts

FILENAME = "training_set.hdf5"


def dataset_inputs(stages: Sequence[orm.WorkChainNode]) -> dict[str, Nodes]:
    """Inputs of :func:`build_dataset` from finished stage WorkChains."""
    return stage_nodes(stages)


@calcfunction
@exit_codes
def build_dataset(**stages: Nodes) -> dict[str, orm.Data]:
    """Write the HDF5 file of collected stages, the same that ``export`` rebuilds from the graph, and judge it.

    Returns the file as ``result``, and as ``verdicts`` a list with name, passed, value, advice and section of each.
    """
    dataset = dataset_of(stages)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILENAME
        digest = write_dataset(path, dataset)
        node = orm.SinglefileData(path)
    node.base.attributes.set("content_sha256", digest)
    return {"result": node, "verdicts": orm.List([dict(verdict.facts()) for verdict in verdicts(dataset)])}
