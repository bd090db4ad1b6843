"""Frames of a dataset picked by a subsampling, with their uids in the whole dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.training.frames import Entry
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import IntArray


def picked_entries(entries: Sequence[Entry], dataset: Dataset, picks: Mapping[str, IntArray]) -> list[Entry]:
    """The picked frames of the entries; entries without any are left out.

    picks: rows of the picked frames by uuid of the node that they were picked from.
    Raises InvalidSettings if no entry was made from any of these nodes.
    """
    uuids = {
        f"{section.group}/{path}": str(said.get("node_uuid"))
        for section in dataset.sections
        for path, said in section.provenance.items()
    }
    rows = {entry.path: picks.get(uuids.get(entry.path, ""), np.empty(0, np.int64)) for entry in entries}
    chosen = [entry.select(np.flatnonzero(np.isin(entry.rows, rows[entry.path]))) for entry in entries]
    chosen = [entry for entry in chosen if entry.configurations.n_frames]
    if not chosen:
        raise InvalidSettings(
            "None of the picked frames is in the chosen part of the dataset: give the run that they were picked from "
            "(a file needs its provenance), and sources and sizes that hold some."
        )
    return chosen
