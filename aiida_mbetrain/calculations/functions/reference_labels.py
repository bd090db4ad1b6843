"""Reference labels: fragments of cluster sets, their calculation in process, and clusters composed from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import current_process, exit_codes, run_stage
from aiida_mbetrain.calculations.functions.subsampling import picked_sets
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.reference_labels import FragmentsData, ReferenceLabelsData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import InvalidSettings, LabelsMissing
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import IntArray
from aiida_mbetrain.science.reference_labels import (
    ClusterExpansion,
    ExpandedEnergies,
    Expansion,
    expand,
    merge_labels,
    split_by_cost,
)
from aiida_mbetrain.science.reference_labels.elsewhere import SETTINGS_FILE, folder_settings, read_outputs
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import ReferenceLabels

SOURCES = {"md": "md_sampling", "phonons": "phonon_sampling"}
"""Stages that cut clusters, by the words for them in settings and options."""
ROW = "row"
"""Origin of a composed frame: its number in the set that it was cut from."""


class ClusterInputs(NamedTuple):
    """Inputs of the WorkChain: cluster sets, the crystal of each, and the picks that choose some of their frames."""

    sets: dict[str, ClusterSetData]
    crystals: dict[str, MolecularCrystalData]
    picks: TableData | None

    def inputs(self) -> Nodes:
        """By the names of the ports."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def cluster_sets(
    stages: Mapping[str, Nodes],
    *,
    sizes: Sequence[int] | None = None,
    sources: Sequence[str] | None = None,
    choice: orm.Node | None = None,
) -> ClusterInputs:
    """Cluster sets of finished stages and the crystal of each, under names such as ``md_sampling_n_3``.

    sizes: numbers of molecules.  sources: some of ``md`` and ``phonons``.  choice: a finished ``subsample``, whose
    picked frames are labelled and whose names the sets then have.  None: all.
    Raises InvalidSettings for an unknown source, for what is no subsample, and where nothing is left.
    """
    if unknown := sorted(set(sources or ()) - SOURCES.keys()):
        raise InvalidSettings(
            f"sources = {unknown}: give some of {', '.join(SOURCES)}; `reference lattice` is for the static crystal."
        )
    wanted = [SOURCES[source] for source in sources or SOURCES]
    picked = None if choice is None else picked_sets(choice)
    sets: dict[str, ClusterSetData] = {}
    crystals: dict[str, MolecularCrystalData] = {}
    for stage, outputs in sorted((stage, outputs) for stage, outputs in stages.items() if stage in wanted):
        for label, node in sorted(outputs.get("clusters", {}).items()):
            name = f"{stage}_{label}" if picked is None else picked.get(node.uuid)
            if name is not None and (sizes is None or node.base.attributes.get("n_molecules") in sizes):
                sets[name], crystals[name] = node, outputs["molecular_crystal"]
    if not sets:
        given = {"sizes": sizes, "sources": sources, "picks": None if choice is None else [choice.pk]}
        asked = ", ".join(f"{name} = {list(value)}" for name, value in given.items() if value is not None)
        raise InvalidSettings(f"The run has no clusters{f' of {asked}' if asked else ''}.")
    return ClusterInputs(sets, crystals, None if choice is None else choice.outputs.picks)


def rows_of(picks: TableData | None, name: str, n_frames: int) -> IntArray:
    """Rows of a set that were picked, in ascending order; all where there are no picks.

    Raises InvalidSettings for a row that the set does not have.
    """
    if picks is None:
        return np.arange(n_frames)
    rows = np.unique(picks.get_array("row")[picks.get_array("set") == name])
    if len(rows) and not 0 <= rows[0] <= rows[-1] < n_frames:
        raise InvalidSettings(f"picks: {name} has {n_frames} frames, and not the row {rows[-1]}.")
    return rows


def expansion_of(settings: ReferenceLabels, sets: Nodes, crystals: Nodes, picks: TableData | None = None) -> Expansion:
    """The expansion of stored cluster sets, of their picked frames where ``picks`` are given.

    Raises InvalidSettings for impossible charges and multiplicities, and for picks of which the sets have none.
    """
    chosen = {}
    for name, node in sorted(sets.items()):
        clusters = as_science(node)
        rows = rows_of(picks, name, len(clusters.configurations))
        if len(rows):
            chosen[name] = ClusterSet(clusters.cluster, clusters.configurations.select(rows))
    if not chosen:
        raise InvalidSettings(f"picks has no frame of the sets {', '.join(sorted(sets))}: name them in its column set.")
    return expand(chosen, {name: as_science(node) for name, node in crystals.items()}, settings)


@calcfunction
@exit_codes
def reference_fragments(
    settings: orm.Dict, n_jobs: orm.Int, picks: TableData | None = None, **inputs: Nodes
) -> dict[str, orm.Data]:
    """Distinct fragments of cluster sets that have no label yet, in bundles of about equal cost.

    picks: columns ``set`` and ``row`` of the frames to be labelled; None: all frames.
    inputs: namespaces ``sets`` (ClusterSetData), ``crystals`` (the reference of each set, under the same name) and
    ``known`` (ReferenceLabelsData).  Outputs: ``bundle_0`` ... and ``summary``; no bundle where all is known.
    """
    wanted = ReferenceLabels(**settings.get_dict())
    expansion = expansion_of(wanted, inputs["sets"], inputs["crystals"], picks)
    known = [as_science(node) for _, node in sorted(inputs.get("known", {}).items())]
    missing = np.flatnonzero(~merge_labels(expansion.fragments, wanted.method.hash, known).labelled)
    bundles = split_by_cost(expansion.fragments.select(missing), n_jobs.value)
    summary = {
        "level_of_theory": wanted.method.name,
        "method_hash": wanted.method.hash,
        "n_clusters": expansion.n_clusters,
        "n_terms": expansion.n_terms,
        "n_fragments": len(expansion.fragments),
        "n_known": len(expansion.fragments) - len(missing),
    }
    return {f"bundle_{i}": as_node(bundle) for i, bundle in enumerate(bundles)} | {"summary": orm.Dict(summary)}


@calcfunction
@exit_codes
def reference_labels(fragments: FragmentsData, settings: orm.Dict) -> dict[str, orm.Data]:
    """Calculate fragments in this process."""
    outputs = run_stage("reference_labels", None, None, settings.get_dict(), fragments=fragments)
    process = current_process()
    if process is not None:
        try_failures_again(process.node, outputs)
    return outputs


def try_failures_again(process: orm.ProcessNode, outputs: Mapping[str, orm.Data]) -> None:
    """Keep the cache from giving failures again: options of jobs, such as the walltime, are no part of its key."""
    labels = outputs.get("labels")
    if labels is not None and labels.base.attributes.get("n_failed"):
        process.base.caching.is_valid_cache = False


@calcfunction
@exit_codes
def import_reference_labels(
    fragments: FragmentsData, settings: orm.Dict, outputs: orm.FolderData
) -> dict[str, orm.Data]:
    """Read the outputs of a program that was run elsewhere.

    outputs: files of a folder that ``reference export`` wrote, named after the fragments.  Outputs: ``labels`` and
    ``summary``, as of :func:`reference_labels`; fragments without an output have no label.
    Raises InvalidSettings for outputs of another method, UnreadableFile.
    """
    wanted, value = ReferenceLabels(**settings.get_dict()), as_science(fragments)
    with TemporaryDirectory() as name:
        folder = Path(name)
        outputs.base.repository.copy_tree(folder)
        if folder_settings(folder).method.hash != wanted.method.hash:
            raise InvalidSettings(f"The outputs are not those of {wanted.method.name}, see their {SETTINGS_FILE}.")
        labels = read_outputs(folder, value, wanted)
    facts = {"n_fragments": len(value), "n_failed": len(labels.failures), "programs": list(labels.programs)}
    return {"labels": ReferenceLabelsData.from_science(labels), "summary": orm.Dict(facts)}


@calcfunction
@exit_codes
def compose_reference_labels(
    settings: orm.Dict, picks: TableData | None = None, **inputs: Nodes
) -> dict[str, orm.Data]:
    """Energies and forces of clusters from those of their fragments.

    Frames that are not among the ``picks`` get a label too where all their fragments are known.
    inputs: namespaces ``sets`` and ``crystals`` as for :func:`reference_fragments`, and ``labels``
    (ReferenceLabelsData).  Outputs: ``labels``, those of all fragments; ``clusters``, the complete frames of each set
    with energies and, where the method gives them, forces of the reference (``origin`` has their numbers in the set as
    ``row``); ``expansions``, interaction and m-body energies of the same frames; ``missing``, the ids of missing
    fragments by set and frame that was to be labelled, with the messages of those that failed.
    Raises LabelsMissing where not a single frame is complete.
    """
    wanted = ReferenceLabels(**settings.get_dict())
    expansion = expansion_of(wanted, inputs["sets"], inputs["crystals"])
    parts = [as_science(node) for _, node in sorted(inputs["labels"].items())]
    labels = merge_labels(expansion.fragments, wanted.method.hash, parts)
    messages = {str(labels.ids[row]): message for row, message in labels.failures.items()}
    outputs: dict[str, orm.Data] = {}
    missing: dict[str, dict[str, list[str]]] = {}
    for name, cluster in expansion.clusters.items():
        composed = cluster.compose(labels)
        asked = rows_of(picks, name, len(composed.energies)).tolist()
        if incomplete := {str(frame): list(composed.missing[frame]) for frame in asked if composed.missing[frame]}:
            missing[name] = incomplete
        rows = np.flatnonzero(~np.isnan(composed.energies))
        if len(rows):
            node = as_node(_labelled(as_science(inputs["sets"][name]), composed, rows))
            node.base.attributes.set_many({"level_of_theory": wanted.name, "method_hash": wanted.method.hash})
            outputs |= {f"clusters.{name}": node, f"expansions.{name}": as_node(_table(cluster, composed, rows))}
    if not outputs:
        reasons = "; ".join(sorted(set(messages.values()))[:3]) or "not calculated"
        raise LabelsMissing(f"No cluster has all of its fragments at {wanted.name}: {reasons}.")
    return outputs | {
        "labels": ReferenceLabelsData.from_science(labels),
        "missing": orm.Dict({"fragments": missing, "failures": messages}),
    }


def _labelled(clusters: ClusterSet, composed: ExpandedEnergies, rows: IntArray) -> ClusterSet:
    """The complete frames, with labels of the reference in place of the baseline's."""
    frames, forces = clusters.configurations.select(rows), composed.forces[rows]
    labelled = frames.with_(
        energies=composed.energies[rows],
        forces=None if np.isnan(forces).any() else forces,
        features=None,
        origin={**frames.origin, ROW: rows},
    )
    return ClusterSet(clusters.cluster, labelled)


def _table(cluster: ClusterExpansion, composed: ExpandedEnergies, rows: IntArray) -> Table:
    """Energies, and of an expansion interaction and m-body energies, of the complete frames."""
    columns = {ROW: rows, "energy_eV": composed.energies[rows]}
    if cluster.fragmented and composed.interaction is not None:
        columns["interaction_eV"] = composed.interaction[rows]
        orders = enumerate(composed.contributions[rows].T, start=1)
        columns |= {f"body_{order}_eV": values for order, values in orders}
    return Table(columns)
