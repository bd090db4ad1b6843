#!/usr/bin/env python
"""Questions to the provenance graph, asked with AiiDA's own QueryBuilder.

python query_provenance.py

prints, for the default profile: the finished training sets with structure and model; the labelled clusters by
model; force constants with their lowest frequency; where the time went.
"""

from __future__ import annotations

from collections import Counter

from aiida import load_profile, orm
from aiida.plugins import DataFactory, WorkflowFactory


def training_sets() -> None:
    """Every finished training set, its crystal and its model."""
    query = orm.QueryBuilder()
    query.append(
        WorkflowFactory("mbetrain.training_set"), tag="run", filters={"attributes.exit_status": 0}, project="id"
    )
    query.append(orm.StructureData, with_outgoing="run", edge_filters={"label": "structure"}, project="*")
    query.append(DataFactory("mbetrain.mace_model"), with_outgoing="run", project="attributes.sha256")
    for pk, structure, sha256 in query.all():
        print(f"training set <{pk}> of {structure.get_formula()} <{structure.pk}> with model {sha256[:12]}")


def clusters_by_model() -> None:
    """Number of configurations labelled by each model, by cluster size."""
    query = orm.QueryBuilder()
    query.append(DataFactory("mbetrain.mace_model"), tag="model", project="attributes.sha256")
    query.append(orm.ProcessNode, with_incoming="model", tag="job")
    query.append(
        DataFactory("mbetrain.cluster_set"),
        with_incoming="job",
        filters={"attributes.labelled": True},
        project=["attributes.key", "attributes.n_frames"],
    )
    counts: Counter[tuple[str, str]] = Counter()
    for sha256, key, n_frames in query.all():
        counts[sha256, key] += n_frames
    for (sha256, key), number in sorted(counts.items()):
        print(f"model {sha256[:12]} labelled {number} configurations of {key}")


def force_constants() -> None:
    """Force constants, the crystal they belong to, and whether Γ is free of imaginary modes."""
    query = orm.QueryBuilder()
    query.append(orm.StructureData, tag="relaxed", project="id")
    query.append(orm.ProcessNode, with_incoming="relaxed", tag="job")
    query.append(
        DataFactory("mbetrain.force_constants"),
        with_incoming="job",
        project=["id", "attributes.space_group", "attributes.min_frequency_gamma_THz"],
    )
    for structure, pk, space_group, frequency in query.all():
        print(f"force constants <{pk}> of structure <{structure}>, {space_group}: from {frequency:.2f} THz at Γ")


def times() -> None:
    """Seconds by stage and host, from the run_info of every heavy step."""
    query = orm.QueryBuilder()
    query.append(orm.ProcessNode, tag="step")
    query.append(orm.Dict, with_incoming="step", edge_filters={"label": "run_info"}, project="*")
    seconds: Counter[tuple[str, str]] = Counter()
    for node in query.all(flat=True):
        info = node.get_dict()
        seconds[info["stage"], info["hostname"]] += info["wall_time_s"]
    for (stage, host), total in sorted(seconds.items()):
        print(f"{stage} on {host}: {total:.1f} s")


if __name__ == "__main__":
    load_profile()
    training_sets()
    clusters_by_model()
    force_constants()
    times()
