"""Phonon bands as a core BandsData, so that ``verdi data core.bands`` shows and exports them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from aiida import orm

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.phonons import BandStructure


def bands_from_structure(bands: BandStructure, cell: FloatArray | None = None) -> orm.BandsData:
    """A BandsData in THz; segments, distances and connections are extra arrays.

    cell: primitive cell (3, 3), Å, whose reciprocal lattice the q-points refer to.
    """
    node = orm.BandsData()
    if cell is not None:
        node.set_cell(cell, pbc=[True] * 3)
    lengths = [len(segment) for segment in bands.qpoints]
    node.set_kpoints(np.concatenate(bands.qpoints), labels=list(_labelled_points(bands, lengths)))
    node.set_bands(np.concatenate(bands.frequencies_THz), units="THz")
    node.set_array("distances", np.concatenate(bands.distances))
    node.set_array("segment_lengths", np.array(lengths))
    node.set_array("path_connections", np.array(bands.path_connections, dtype=bool))
    node.base.attributes.set("path_labels", list(bands.labels))
    return node


def bands_to_structure(node: orm.BandsData) -> BandStructure:
    """The inverse of :func:`bands_from_structure`."""
    cuts = np.cumsum(node.get_array("segment_lengths"))[:-1]
    return BandStructure(
        qpoints=np.split(node.get_kpoints(), cuts),
        distances=np.split(node.get_array("distances"), cuts),
        frequencies_THz=np.split(node.get_bands(), cuts),
        labels=node.base.attributes.get("path_labels"),
        path_connections=node.get_array("path_connections").tolist(),
    )


def _labelled_points(bands: BandStructure, lengths: list[int]) -> Iterator[tuple[int, str]]:
    """Index and label of every special point; a connected segment starts where the one before ended."""
    labels = iter(bands.labels)
    start = 0
    for segment, length in enumerate(lengths):
        if segment == 0 or not bands.path_connections[segment - 1]:
            yield start, next(labels)
        yield start + length - 1, next(labels)
        start += length
