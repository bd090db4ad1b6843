"""Queries on the provenance graph of the loaded profile, an imported archive included.

Every question is a fixed number of queries: nodes are never loaded one by one.  The same questions to a file alone are
in :mod:`aiida_mbetrain.datasets.inspection`.  Answers are rows of plain values, ready for a table, JSON or CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from numpy.typing import NDArray

from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.datasets.from_graph import STAGE_OF, TRAINING_SET, crystal_behind
from aiida_mbetrain.datasets.inspection import Facts, Row, SectionFacts, flat, frame_facts, ranges, section_path
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings import JsonObject, PhononSampling

__all__ = ["datasets", "destinations_of", "facts_of", "origin_of"]

Rows = list[Any]
"""Of a query, each with what it projects."""

RUNS = (TRAINING_SET, *STAGE_OF)
SETS = "sets"
"""Input namespace of the job for the sets that the calcfunction ``labels`` takes as plain keyword arguments."""
OLDEST_FIRST = {"ctime": "asc"}
"""Order by time of creation, because an import assigns pks in any order."""
MODEL_FACTS = ["id", "attributes.filename", "attributes.name", "attributes.sha256"]


def datasets(*, model: orm.Node | None = None, structure: orm.StructureData | None = None) -> list[Row]:
    """Every training set and stage of the profile, or those made from a model, a crystal or both, oldest first.

    A phonon sampling that was started from force constants belongs to the crystal they descend from.
    """
    runs = {row["pk"]: row for row in _runs()}
    for pks in (_fed_by(model), _made_from(structure)):
        if pks is not None:
            runs = {pk: row for pk, row in runs.items() if pk in pks}
    _add_models(runs)
    _add_structures(runs)
    _add_files(runs)
    return list(runs.values())


def _runs() -> Iterable[Row]:
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        tag="run",
        filters={"attributes.process_label": {"in": list(RUNS)}},
        project=["id", "uuid", "attributes.process_label", "ctime", "attributes.exit_status"],
    )
    query.order_by({"run": OLDEST_FIRST})
    for pk, uuid, label, created, exit_status in query.all():
        yield {
            "pk": pk, "uuid": uuid, "process": label, "created": created.isoformat(timespec="seconds"),
            "exit_status": exit_status, "model": None, "model_sha256": None, "structure": None, "structure_uuid": None,
            "dataset": None, "content_sha256": None,
        }  # fmt: skip


def _fed_by(model: orm.Node | None) -> set[int] | None:
    """Runs with this model as input, or with another copy of the same file."""
    if model is None:
        return None
    sha256 = model.base.attributes.get("sha256", None)
    same = {"id": model.pk} if sha256 is None else {"attributes.sha256": sha256}
    query = orm.QueryBuilder().append(orm.Data, filters=same, tag="model")
    query.append(orm.WorkChainNode, with_incoming="model", edge_filters={"label": "model"}, project="id")
    return set(query.all(flat=True))


def _made_from(structure: orm.StructureData | None) -> set[int] | None:
    if structure is None:
        return None
    direct = orm.QueryBuilder().append(orm.StructureData, filters={"id": structure.pk}, tag="crystal")
    direct.append(orm.WorkChainNode, with_incoming="crystal", edge_filters={"label": "structure"}, project="id")
    later = orm.QueryBuilder().append(orm.StructureData, filters={"id": structure.pk}, tag="crystal")
    later.append(ForceConstantsData, with_ancestors="crystal", tag="constants")
    later.append(orm.WorkChainNode, with_incoming="constants", project="id")
    return set(direct.all(flat=True)) | set(later.all(flat=True))


def _inputs(runs: Mapping[int, Row], label: str, kind: type[orm.Data], project: list[str]) -> Rows:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=_among(runs), tag="run", project="id")
    query.append(kind, with_outgoing="run", edge_filters={"label": label}, project=project)
    return query.all()


def _among(runs: Mapping[int, Row]) -> dict[str, object]:
    return {"attributes.process_label": {"in": list(RUNS)}, "id": {"in": list(runs) or [-1]}}


def _add_models(runs: Mapping[int, Row]) -> None:
    wanted = ["attributes.filename", "attributes.name", "attributes.sha256"]
    for pk, filename, name, sha256 in _inputs(runs, "model", orm.Data, wanted):
        runs[pk].update(model=filename or name, model_sha256=sha256)


def _add_structures(runs: Mapping[int, Row]) -> None:
    for pk, uuid, kinds, sites in _inputs(
        runs, "structure", orm.StructureData, ["uuid", "attributes.kinds", "attributes.sites"]
    ):
        runs[pk].update(structure=_formula(kinds, sites), structure_uuid=uuid)


def _formula(kinds: list[JsonObject], sites: list[JsonObject]) -> str:
    from aiida.orm.nodes.data.structure import get_formula

    symbols = {kind["name"]: kind["symbols"][0] for kind in kinds}
    formula: str = get_formula([symbols[site["kind_name"]] for site in sites])
    return formula


def _add_files(runs: Mapping[int, Row]) -> None:
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=_among(runs), tag="run", project="id")
    wanted = ["uuid", "attributes.content_sha256"]
    query.append(orm.SinglefileData, with_incoming="run", edge_filters={"label": "dataset"}, project=wanted)
    for pk, uuid, digest in query.all():
        runs[pk].update(dataset=uuid, content_sha256=digest)


def origin_of(node: orm.Node, frame: int) -> Row:
    """Origin of one frame of a cluster set or trajectory.

    The frame's source (MD step, or q-point, mode and amplitude), the cluster's molecules and translations, the
    processes, models, structures and settings that it descends from.
    Raises InvalidSettings for another node and for a frame that the node does not have.
    """
    facts: Row = {"node": f"{type(node).__name__}<{node.pk}>", "uuid": node.uuid}
    facts |= frame_facts(_origin_arrays(node), frame, str(facts["node"]))
    if isinstance(node, ClusterSetData):
        facts["cluster"] = node.key
        facts["molecule_indices"] = node.get_array("molecule_indices").tolist()
        facts["lattice_translations"] = node.get_array("translations").tolist()
    return facts | _history(node)


def _origin_arrays(node: orm.Node) -> dict[str, NDArray[Any]]:
    if not isinstance(node, ClusterSetData | orm.TrajectoryData):
        raise InvalidSettings(f"<{node.pk}> is a {type(node).__name__}: give a ClusterSetData or a TrajectoryData.")
    names = [name for name in node.get_arraynames() if name.startswith("origin_")]
    arrays = {name.removeprefix("origin_"): node.get_array(name) for name in names}
    return arrays or {"frame": np.arange(node.base.attributes.get("array|positions")[0])}


def _history(node: orm.Node) -> Row:
    """Jobs, models, structures and settings among the ancestors, each in one query."""

    def ancestors(kind: type[orm.Node], project: list[str]) -> Rows:
        query = orm.QueryBuilder().append(type(node), filters={"id": node.pk}, tag="it")
        query.append(kind, with_descendants="it", project=["id", "uuid", *project], tag="before")
        return query.distinct().order_by({"before": OLDEST_FIRST}).all()

    jobs = ancestors(orm.CalculationNode, ["attributes.process_label"])
    structures = ancestors(orm.StructureData, ["attributes.kinds", "attributes.sites"])
    pks = [pk for pk, *_ in jobs]
    return {
        "jobs": [f"{label}<{pk}> {uuid}" for pk, uuid, label in jobs],
        "models": sorted({_model_line(*facts) for _, _, *facts in _around(pks, "model", MODEL_FACTS, orm.Data)}),
        "structures": [f"{_formula(kinds, sites)}<{pk}> {uuid}" for pk, uuid, kinds, sites in structures],
        "settings": {f"{label}<{pk}>": values for pk, label, values in _around(pks, "settings", ["attributes"])},
        "runs": {f"{label}<{pk}>": info for pk, label, info in _around(pks, "run_info", ["attributes"])},
    }


def _around(jobs: list[int], label: str, project: list[str], kind: type[orm.Data] = orm.Dict) -> Rows:
    """Nodes at the links of this label of jobs: pk and process label of the job, then the projections."""
    query = orm.QueryBuilder().append(
        orm.CalculationNode, filters={"id": {"in": jobs or [-1]}}, tag="job", project=["id", "attributes.process_label"]
    )
    side: dict[str, Any] = {"with_incoming": "job"} if label == "run_info" else {"with_outgoing": "job"}
    query.append(kind, edge_filters={"label": label}, project=project, **side)
    return query.all()


def _model_line(pk: int, filename: str | None, name: str | None, sha256: str | None) -> str:
    return f"{filename or name}<{pk}>" + (f" sha256 {sha256}" if sha256 else "")


def destinations_of(trajectory: orm.Node) -> list[Row]:
    """Cluster sets and trajectories that descend from a trajectory, one row each.

    frames: indices into the trajectory; missing: those left out (broken molecules, not selected).
    """
    if not isinstance(trajectory, orm.TrajectoryData):
        raise InvalidSettings(f"<{trajectory.pk}> is a {type(trajectory).__name__}: give a TrajectoryData.")
    n_frames = int(trajectory.base.attributes.get("array|positions")[0])
    query = orm.QueryBuilder().append(orm.TrajectoryData, filters={"id": _unlabelled(trajectory).pk}, tag="it")
    query.append((ClusterSetData, orm.TrajectoryData), with_ancestors="it", tag="set", project="*")
    rows = []
    for node in query.distinct().order_by({"set": OLDEST_FIRST}).all(flat=True):
        if "origin_frame" in node.get_arraynames():
            frames = node.get_array("origin_frame")
            rows.append(_destination(node, frames, n_frames))
    return rows


def _unlabelled(trajectory: orm.TrajectoryData) -> orm.TrajectoryData:
    """The frames before labels were added, from which the clusters were cut."""
    if trajectory.creator is None:
        return trajectory
    inputs = trajectory.creator.base.links.get_incoming(node_class=orm.TrajectoryData).all()
    before = {link.link_label.removeprefix(f"{SETS}__"): link.node for link in inputs}
    frames = before.get("frames", trajectory)
    assert isinstance(frames, orm.TrajectoryData)
    return frames


def _destination(node: orm.Data, frames: NDArray[np.int64], n_frames: int) -> Row:
    return {
        "node": f"{type(node).__name__}<{node.pk}>",
        "uuid": node.uuid,
        "entry": node.base.attributes.get("path", None) or node.base.attributes.get("key", None),
        "made_by": node.creator.process_label if node.creator else None,
        "labelled": "energies" in node.get_arraynames(),
        "n_frames": len(frames),
        "frames": ranges(frames),
        "missing": ranges(np.setdiff1d(np.arange(n_frames), frames)),
    }


def facts_of(run: orm.WorkChainNode) -> Facts:
    """Facts about a run: settings and path of its stages, model, crystal, content; versions of its jobs.

    Raises InvalidSettings for a process that is no run.
    """
    if run.process_label not in RUNS:
        raise InvalidSettings(f"{run.process_label}<{run.pk}> is no run: give one of {', '.join(RUNS)}.")
    stages = _stages(run)
    sections: dict[str, SectionFacts] = {}
    for stage in stages:
        kind, settings = STAGE_OF[str(stage.process_label)], stage.inputs.settings.get_dict()
        if "force_constants" in stage.inputs and len(stages) == 1:  # its file holds them too
            sections[_place_of_constants(settings)] = SectionFacts("quasi_harmonic", None)
        sections[section_path(kind, settings)] = SectionFacts(kind, flat(settings))
    return Facts("run", _shared_facts(run), _own_facts(run, stages), sections)


def _stages(run: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    if run.process_label != TRAINING_SET:
        return [run]
    children = [link.node for link in run.base.links.get_outgoing(node_class=orm.WorkChainNode).all()]
    return [node for node in children if isinstance(node, orm.WorkChainNode) and node.process_label in STAGE_OF]


def _place_of_constants(settings: JsonObject) -> str:
    return str(PhononSampling(**settings).force_constants_key).strip("/").rsplit("/", 3)[0]


def _shared_facts(run: orm.WorkChainNode) -> Row:
    model, inputs = run.inputs.model, run.inputs
    sha256 = model.base.attributes.get("sha256", None)
    crystal = crystal_behind(inputs.structure if "structure" in inputs else inputs.force_constants)
    formula = crystal.get_formula() if isinstance(crystal, orm.StructureData) else None
    assert run.pk is not None
    files: dict[int, Row] = {run.pk: {}}
    _add_files(files)
    return {
        "model_sha256": sha256,
        "model_uuid": model.uuid if sha256 is None else None,
        "structure": formula,
        "structure_uuid": crystal.uuid,
        **{name: value for name, value in files[run.pk].items() if name == "content_sha256"},
    }


def _own_facts(run: orm.WorkChainNode, stages: Sequence[orm.WorkChainNode]) -> Row:
    """The model by name and parameters, inference settings, and versions used by the jobs."""
    model = run.inputs.model.base.attributes.all
    facts: Row = {"model": model.get("filename") or model.get("name")}
    facts |= flat(model.get("parameters") or {}, "model")
    for stage in stages[:1]:
        facts |= flat(stage.inputs.inference.get_dict() if "inference" in stage.inputs else {}, "inference")
    seen: dict[str, set[str]] = {}
    for _, _, info in _around(_jobs_below(run), "run_info", ["attributes"]):
        told = {name: info[name] for name in ("aiida_mbetrain", "python") if name in info}
        for name, version in (told | info.get("versions", {})).items():
            seen.setdefault(f"versions.{name}", set()).add(str(version))
    return facts | {name: ", ".join(sorted(versions)) for name, versions in seen.items()}


def _jobs_below(run: orm.WorkChainNode) -> list[int]:
    """Pks of all that a run called, at any depth, in one query for each level."""
    found: list[int] = []
    assert run.pk is not None
    level = [run.pk]
    while level:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": {"in": level}}, tag="caller")
        query.append(orm.ProcessNode, with_incoming="caller", project="id")
        level = query.all(flat=True)
        found += level
    return found
