"""Energies and forces computed elsewhere, as nodes beside the baseline's."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from aiida import orm
from ase.data import atomic_numbers, chemical_symbols

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.datasets.from_graph import dataset_of
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.training import (
    SOURCES,
    Entry,
    ExternalLabels,
    Label,
    entries_of,
    frame_uids,
    read_labels,
    with_labels,
)
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.clusters import ClusterSet

E0S = "e0s"
ROW = "row"


@calcfunction
@exit_codes
def import_labels(labels: orm.SinglefileData, settings: orm.Dict, **stages: Nodes) -> dict[str, orm.Data]:
    """Merge a labelled extended XYZ file with the frames it was exported from.

    settings: level_of_theory, energy_key, forces_key.  stages: as for ``build_dataset``.
    Outputs: a ClusterSetData or TrajectoryData of the labelled frames per place in the dataset (``md_n_3``,
    ``phonon_crystal``; attributes ``path``, ``level_of_theory``, ``energy_only``; origin ``row``, the frame's number
    there), those without forces by themselves, and ``e0s``, a Dict from symbols to eV labelled with the level of
    theory, where the file has isolated atoms.
    """
    wanted = settings.get_dict()
    with labels.as_path() as path:
        external = read_labels(path, energy_key=wanted["energy_key"], forces_key=wanted["forces_key"])
    dataset = dataset_of(stages)
    entries = with_labels(entries_of(dataset, sources=tuple(SOURCES)), external)
    outputs: dict[str, orm.Data] = {}
    for label, entry in zip(_labels(entries), entries, strict=True):
        outputs[label] = _node(dataset, entry)
        facts = {"path": entry.path, "energy_only": entry.configurations.forces is None}
        outputs[label].base.attributes.set_many(facts | {"level_of_theory": wanted["level_of_theory"]})
    if external.e0s:
        outputs[E0S] = orm.Dict({chemical_symbols[z]: energy for z, energy in external.e0s.items()})
        outputs[E0S].label = wanted["level_of_theory"]
    return outputs


def _labels(entries: Iterable[Entry]) -> Iterable[str]:
    """Link labels: the config_type, numbered where several places share it."""
    seen: dict[str, int] = {}
    for entry in entries:
        n = seen[entry.config_type] = seen.get(entry.config_type, 0) + 1
        yield entry.config_type if n == 1 else f"{entry.config_type}_{n}"


def _node(dataset: Dataset, entry: Entry) -> orm.Data:
    frames = entry.configurations.with_(
        velocities=None, dynamical_masses=None, origin={**entry.configurations.origin, ROW: entry.rows}
    )
    clusters = dataset.cluster_sets.get(entry.path)
    return as_node(frames if clusters is None else ClusterSet(clusters.cluster, frames))


def imported_labels(process: orm.ProcessNode) -> ExternalLabels:
    """The labels that a finished :func:`import_labels` brought.  Raises InvalidSettings for another process."""
    if process.process_label != "import_labels" or not process.is_finished_ok:
        raise InvalidSettings(
            f"{process.process_label}<{process.pk}> is not a finished import of labels: give the pk that "
            "`aiida-mbetrain labels import` printed."
        )
    frames: dict[str, Label] = {}
    e0s: dict[int, float] = {}
    for link in process.base.links.get_outgoing(node_class=orm.Data).all():
        if link.link_label == E0S:
            e0s = {atomic_numbers[symbol]: energy for symbol, energy in link.node.get_dict().items()}
        else:
            assert isinstance(link.node, orm.Data)
            frames |= _frames_of(link.node)
    return ExternalLabels(f"labels <{process.pk}>", frames, e0s)


def _frames_of(node: orm.Data) -> dict[str, Label]:
    known = as_science(node).configurations if isinstance(node, ClusterSetData) else as_science(node)
    assert known.energies is not None
    rows = np.asarray(known.origin[ROW], dtype=np.int64)
    uids = frame_uids(node.base.attributes.get("path"), known, rows)
    return {
        uid: Label(
            numbers=known.numbers,
            positions=known.positions[i],
            energy=float(known.energies[i]),
            forces=None if known.forces is None else known.forces[i],
            stress=None if known.stress is None else known.stress[i],
        )
        for i, uid in enumerate(uids)
    }
