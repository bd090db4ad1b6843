"""Rounds of active learning: choice of clusters, packing of their labels, and what a round has brought."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.calculations.functions.reference_labels import ROW
from aiida_mbetrain.calculations.functions.training import identity_of_model
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.datasets.training import Lineage, Split, frame_uids, subset_of_units
from aiida_mbetrain.science.active_learning import SUBSET, UNIT, Candidates, judge_round
from aiida_mbetrain.science.active_learning import choose_clusters as choose
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations, IntArray
from aiida_mbetrain.science.reference_labels import cluster_costs
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import TRAIN, LabelledClusters, LabelledFrames, frames_of_clusters
from aiida_mbetrain.settings import ActiveLearning, ReferenceLabels

PHONONS = "phonon_sampling"


@calcfunction
@exit_codes
def choose_clusters(settings: orm.Dict, reference: orm.Dict, number: orm.Int, **inputs: Nodes) -> dict[str, orm.Data]:
    """Choose the clusters of a round that are worth a label.

    settings: an ActiveLearning; reference: a ReferenceLabels, for the costs.  inputs: namespaces ``sets``
    (ClusterSetData with features) and ``crystals`` (the reference of each, under its name), and ``labelled`` with the
    LabelledFramesData of the rounds before as ``frames``.
    Outputs: ``clusters``, the chosen frames of each set; ``picks``, a row for each of them; ``candidates``, features
    and sizes of all.  Raises NotEnoughFrames, FeaturesMissing, InvalidSettings.
    """
    wanted = ActiveLearning(**settings.get_dict())
    sets = {name: as_science(node) for name, node in inputs["sets"].items()}
    crystals = {name: as_science(node) for name, node in inputs["crystals"].items()}
    labelled = {name: as_science(node) for name, node in inputs.get("labelled", {}).items()}.get("frames")
    costs = cluster_costs(sets, crystals, ReferenceLabels(**reference.get_dict()), wanted.cost_exponent)
    units = {name: _units(name, item.configurations) for name, item in sets.items()}
    if labelled is None:
        subsets = split_units(units, wanted)
    else:
        subsets = {name: np.full(len(values), TRAIN) for name, values in units.items()}
    candidates = Candidates.of(sets, costs, units, subsets)
    chosen = choose(candidates, wanted, labelled=labelled, number=number.value)
    columns = {"features": candidates.features, "n_molecules": candidates.n_molecules, "cost": candidates.costs}
    return {f"clusters.{name}": as_node(item) for name, item in chosen.cut(sets, candidates).items()} | {
        "picks": as_node(chosen.picks(candidates)),
        "candidates": as_node(Table(columns)),
    }


def _units(name: str, frames: Configurations) -> IntArray:
    """Units of related frames: a frame of the dynamics, all frames of a mode; phonons count from 2^31."""
    origin = frames.origin
    if not name.startswith(PHONONS):
        return np.asarray(origin["frame"], dtype=np.int64)
    if np.all(origin["q_index"] < 0):
        return np.asarray(origin["frame"], dtype=np.int64) + 2**31
    return np.asarray(origin["q_index"] * 2**20 + origin["mode"], dtype=np.int64) + 2**31


def split_units(units: dict[str, IntArray], settings: ActiveLearning) -> dict[str, IntArray]:
    """Part of the split of every frame, by name: blocks of the dynamics, modes of the phonons."""
    validation, test = settings.held_out
    split = Split((1.0 - validation - test, validation, test), seed=settings.rng_seed, gap=settings.gap)
    found: dict[str, IntArray] = {}
    for key in ("md_sampling", PHONONS):
        own = {name: values for name, values in units.items() if name.startswith(key)}
        if own:
            known = np.unique(np.concatenate(list(own.values())))
            lineage = Lineage(key, len(known), np.arange(len(known)), ordered=key != PHONONS)
            subsets = subset_of_units(lineage, split)
            found |= {name: subsets[np.searchsorted(known, values)] for name, values in own.items()}
    return found


@calcfunction
@exit_codes
def add_labelled_clusters(baseline: orm.Data, number: orm.Int, **inputs: Nodes) -> LabelledFramesData:
    """Labelled frames of this round and of those before it.

    inputs: namespaces ``sets`` (chosen clusters with the labels of the baseline), ``labels`` and ``expansions`` (the
    same of the reference, complete frames alone), ``crystals``, all by the same names, and ``labelled``, as of
    :func:`choose_clusters`.  Raises InvalidSettings for labels of another method than before, LabelsMissing.
    """
    before = [as_science(node) for node in inputs.get("labelled", {}).values()]
    first_unit = 1 + max((int(frames.units.max()) for frames in before), default=-1)
    chosen = {name: as_science(inputs["sets"][name]) for name in inputs["labels"]}
    known = np.unique(np.concatenate([item.configurations.origin[UNIT] for item in chosen.values()]))
    parts, facts = [], {}
    for name, node in sorted(inputs["labels"].items()):
        reference, table = as_science(node).configurations, as_science(inputs["expansions"][name])
        rows = np.asarray(reference.origin[ROW], dtype=np.int64)
        frames = chosen[name].configurations.select(rows)
        path = f"round_{number.value}/{name}"
        parts.append(
            LabelledClusters(
                ClusterSet(chosen[name].cluster, frames),
                as_science(inputs["crystals"][name]),
                reference,
                table.columns.get("interaction_eV", np.full(len(rows), np.nan)),
                frames.origin[SUBSET],
                first_unit + np.searchsorted(known, frames.origin[UNIT]),
                np.array(frame_uids(path, frames, rows)),
                "phonons" if name.startswith(PHONONS) else "md",
                path,
            )
        )
        facts = {key: node.base.attributes.get(key) for key in ("level_of_theory", "method_hash")}
    added = frames_of_clusters(parts, **facts, baseline=identity_of_model(baseline))
    return LabelledFramesData.from_science(LabelledFrames.concatenate([*before, added]))


@calcfunction
@exit_codes
def round_summary(
    frames: LabelledFramesData,
    candidates: TableData,
    picks: TableData,
    valid: TableData,
    test: TableData,
    number: orm.Int,
) -> orm.Dict:
    """Labels, cost, error of the test set and calibrated uncertainty; valid, test: predictions of the delta model."""
    found = judge_round(
        as_science(frames),
        candidates=as_science(candidates),
        picks=as_science(picks),
        valid=as_science(valid),
        test=as_science(test),
        number=number.value,
    )
    return orm.Dict(found)
