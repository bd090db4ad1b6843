"""Labels of cluster sets by reference methods, from the nodes that composed them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from aiida import orm

from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import ClusterReference, Dataset, MDSection, PhononSection, Section
from aiida_mbetrain.datasets.tree import Attribute, Provenance
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.reference_labels import expand
from aiida_mbetrain.settings import JsonObject, ReferenceLabels

COMPOSE = "compose_reference_labels"
"""Process label of the calcfunction that makes labels of clusters from those of their fragments."""
EVERY = "all"
"""Stands for all methods whose labels the profile has."""
STAGE_OF_SECTION: dict[type, str] = {MDSection: "md_sampling", PhononSection: "phonon_sampling"}


@dataclass(frozen=True)
class Composition:
    """A finished composition of a cluster set: its process, the name of the set there, and the settings."""

    process: orm.CalcFunctionNode
    name: str
    settings: ReferenceLabels

    @property
    def identifiers(self) -> set[str]:
        """Pks and uuids of the composition and of the WorkChain that called it."""
        nodes = [node for node in (self.process, self.process.caller) if node is not None]
        return {str(node.pk) for node in nodes} | {node.uuid for node in nodes}

    def output(self, namespace: str) -> orm.ArrayData | None:
        """The output for this set; None where no frame is complete."""
        link = self.process.base.links.get_outgoing(link_label_filter=f"{namespace}__{self.name}").first()
        return None if link is None else cast("orm.ArrayData", link.node)

    def jobs(self) -> list[orm.ProcessNode]:
        """The calculations whose labels were used, oldest first, those of earlier runs included."""
        links = self.process.base.links.get_incoming(link_label_filter="labels__%").all()
        creators = {link.node.creator for link in links if isinstance(link.node, orm.Data) and link.node.creator}
        return sorted(creators, key=lambda process: process.ctime)


def compositions_of(clusters: ClusterSetData) -> dict[str, list[Composition]]:
    """Finished compositions of a cluster set by name of the labels, oldest first."""
    query = orm.QueryBuilder().append(ClusterSetData, filters={"id": clusters.pk}, tag="set")
    query.append(
        orm.CalcFunctionNode,
        with_incoming="set",
        edge_project="label",
        filters={"attributes.process_label": COMPOSE, "attributes.exit_status": 0},
        project="*",
        tag="process",
    )
    query.order_by({"process": {"ctime": "asc"}})
    found: dict[str, list[Composition]] = {}
    for process, label in query.all():
        settings = ReferenceLabels(**process.inputs.settings.get_dict())
        composition = Composition(process, str(label).removeprefix("sets__"), settings)
        found.setdefault(settings.name, []).append(composition)
    return found


def chosen_composition(found: Mapping[str, Sequence[Composition]], word: str) -> Composition | None:
    """The newest composition of a name, or that of a pk or uuid; None where there is none.

    Raises InvalidSettings for a name that labels of different settings share.
    """
    if word in found:
        if len({json.dumps(item.settings.to_dict(), sort_keys=True) for item in found[word]}) > 1:
            runs = ", ".join(str((item.process.caller or item.process).pk) for item in found[word])
            raise InvalidSettings(f"{word} names labels with different settings: give the pk of one of {runs}.")
        return found[word][-1]
    everything = (item for items in found.values() for item in items)
    return next((item for item in everything if word in item.identifiers), None)


def with_references(
    dataset: Dataset, stages: Mapping[str, Nodes], wanted: Iterable[str], *, required: bool = True
) -> Dataset:
    """The dataset of these stages with labels by reference methods beside the baseline's.

    wanted: names such as ``GFN2-xTB[order=2]``, pks or uuids of runs that made labels, or ``all``.
    Raises InvalidSettings for a method that labelled no cluster of the stages, unless it is not ``required``, and for
    an ambiguous name.
    """
    of_stages = {
        stage: {node.key: compositions_of(node) for node in nodes.get("clusters", {}).values()}
        for stage, nodes in stages.items()
    }
    found = [compositions for by_key in of_stages.values() for compositions in by_key.values()]
    known = sorted({name for compositions in found for name in compositions})
    words = list(dict.fromkeys(name for word in wanted for name in (known if word == EVERY else [word])))
    if required:
        _require_labels(found, words)
    sections = tuple(
        _with_labels(section, stages[stage], of_stages[stage], words)
        if (stage := STAGE_OF_SECTION.get(type(section))) in of_stages
        else section
        for section in dataset.sections
    )
    return Dataset(sections, dataset.provenance)


def require_labels(nodes: Iterable[ClusterSetData], wanted: Iterable[str]) -> None:
    """Raise InvalidSettings for a name, pk or uuid of labels that none of the cluster sets has."""
    _require_labels([compositions_of(node) for node in nodes], [word for word in wanted if word != EVERY])


def _require_labels(found: Sequence[Mapping[str, Sequence[Composition]]], words: Iterable[str]) -> None:
    for word in words:
        if not any(chosen_composition(compositions, word) for compositions in found):
            known = sorted({name for compositions in found for name in compositions})
            raise InvalidSettings(
                f"No cluster of the run has labels of {word!r}: there are those of {', '.join(known) or 'no method'}; "
                "`aiida-mbetrain reference run` makes others."
            )


def _with_labels(
    section: Section, nodes: Nodes, compositions: Mapping[str, Mapping[str, Sequence[Composition]]], words: list[str]
) -> Section:
    if not isinstance(section, MDSection | PhononSection) or section.molecules is None:
        return section
    references: dict[str, dict[str, ClusterReference]] = {}
    provenance: dict[str, Provenance] = dict(section.provenance)
    for node in nodes["clusters"].values():
        for item in filter(None, (chosen_composition(compositions[node.key], word) for word in words)):
            name = item.settings.name
            references.setdefault(node.key, {})[name] = reference_of(node, item)
            group = f"{names.FINITE_SUBSYSTEMS}/{node.key}/{names.REFERENCE_LABELS}/{names.method_group(name)}"
            provenance[group] = _provenance(item)
    return replace(section, molecules=replace(section.molecules, references=references), provenance=provenance)


def fragments_of(composition: Composition, frame: int) -> list[JsonObject]:
    """Fragments of the label of a frame of the set, one row each.

    ``coefficient``, ``molecules`` and ``ghosts`` (numbers within the cluster), ``charge``, ``id``, ``energy_eV``, and
    ``made_by``, ``uuid`` and ``programs`` of the calculation that gave the energy, None where there is none.
    """
    inputs, name = composition.process.inputs, composition.name
    clusters, crystal = inputs.sets[name].to_science(), inputs.crystals[name].to_science()
    one = ClusterSet(clusters.cluster, clusters.configurations.select(np.array([frame])))
    expansion = expand({name: one}, {name: crystal}, composition.settings)
    sources = [(node, node.to_science()) for _, node in sorted(inputs.labels.items())]
    rows = []
    for term, row in zip(expansion.clusters[name].terms, expansion.clusters[name].rows[0], strict=True):
        fragment = expansion.fragments[int(row)]
        node, energy = next(
            ((node, float(labels.energies[at[0]])) for node, labels in sources
             if len(at := np.flatnonzero((labels.ids == fragment.id) & labels.labelled))),
            (None, None),
        )  # fmt: skip
        job = None if node is None else node.creator
        rows.append(
            {
                "coefficient": sum(term.contributions),
                "molecules": list(term.real),
                "ghosts": list(term.ghosts),
                "charge": fragment.charge,
                "id": fragment.id,
                "energy_eV": energy,
                "made_by": None if job is None else f"{job.process_label}<{job.pk}>",
                "uuid": None if job is None else job.uuid,
                "programs": None if node is None else list(node.base.attributes.get("programs")),
            }
        )
    return rows


def composition_of(process: orm.CalcFunctionNode, name: str) -> Composition:
    """The composition of a set by a stored process."""
    return Composition(process, name, ReferenceLabels(**process.inputs.settings.get_dict()))


def reference_of(clusters: ClusterSetData, composition: Composition) -> ClusterReference:
    """The labels of all frames of a cluster set, NaN where a frame has none."""
    frames = clusters.to_science().configurations
    labelled, table = composition.output("clusters"), composition.output("expansions")
    energies, forces, interaction = np.full(len(frames), np.nan), None, None
    if labelled is not None and table is not None:
        found = labelled.to_science().configurations
        rows = found.origin["row"]
        energies[rows] = found.energies
        if found.forces is not None:
            forces = np.full(frames.positions.shape, np.nan)
            forces[rows] = found.forces
        if "interaction_eV" in table.get_arraynames():
            interaction = np.full(len(frames), np.nan)
            interaction[rows] = table.get_array("interaction_eV")
    missing = composition.process.outputs.missing.get_dict()["fragments"].get(composition.name, {})
    return ClusterReference(
        level_of_theory=composition.settings.name,
        method_hash=composition.settings.method.hash,
        energies=energies,
        forces=forces,
        interaction=interaction,
        missing=tuple(" ".join(missing.get(str(frame), [])) for frame in range(len(frames))),
    )


def _provenance(composition: Composition) -> Provenance:
    """Settings, programs with versions, and the processes that made the labels."""
    process = composition.process
    jobs = composition.jobs()
    hosts = {
        str(info.node.get_dict().get("hostname"))
        for job in jobs
        if (info := job.base.links.get_outgoing(link_label_filter="run_info").first()) is not None
    }
    found: dict[str, Attribute | None] = {
        "settings": json.dumps(composition.settings.to_dict(), sort_keys=True),
        "process_uuid": process.uuid,
        "process_label": process.process_label,
        "set_name": composition.name,
        "workflow_uuid": None if process.caller is None else process.caller.uuid,
        "programs": list(process.outputs.labels.base.attributes.get("programs")),
        "job_uuids": [job.uuid for job in jobs],
        "hostnames": sorted(hosts),
    }
    labelled = composition.output("clusters")
    return found | ({} if labelled is None else {"node_uuid": labelled.uuid, "node_type": type(labelled).__name__})
