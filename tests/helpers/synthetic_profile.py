"""A profile of 10,000 nodes with the links of training sets, inserted in bulk, and the time of every question.

Run as a program: prints {question: seconds} as JSON, the wall time of the fastest of several answers, because other
programs of the machine can only make it longer.
"""

from __future__ import annotations

import inspect
import io
import json
import time
from typing import Any
from uuid import uuid4

import numpy as np

N_RUNS, N_FRAMES, N_ANSWERS = 560, 100, 5
KINDS = {
    "structure": "data.core.structure.StructureData.",
    "model": "data.mbetrain.mace_model.MaceModelData.",
    "settings": "data.core.dict.Dict.",
    "run": "process.workflow.workchain.WorkChainNode.",
    "job": "process.calculation.calcfunction.CalcFunctionNode.",
    "frames": "data.core.array.trajectory.TrajectoryData.",
    "clusters": "data.mbetrain.cluster_set.ClusterSetData.",
    "dataset": "data.core.singlefile.SinglefileData.",
}
ARGON = {
    "cell": (5 * np.eye(3)).tolist(),
    "pbc1": True,
    "pbc2": True,
    "pbc3": True,
    "kinds": [{"name": "Ar", "symbols": ["Ar"], "mass": 39.9, "weights": [1.0]}],
    "sites": [{"kind_name": "Ar", "position": [0.0, 0.0, 0.0]}],
}
ALL = f"0-{N_FRAMES - 1}"
SECTION = "training/md_sampling/crystal[dyn:T=300.00,p=0.00010]"
ARRAYS = {
    "origin_frame": np.arange(N_FRAMES),
    "molecule_indices": np.zeros(2, dtype=int),
    "translations": np.zeros((2, 3), dtype=int),
}
"""Of every cluster set; the objects in the repository are the same for all."""


class Bulk:
    """Rows of nodes and links, for one insertion."""

    def __init__(self, user: int, repository: Any) -> None:
        from datetime import UTC, datetime

        self.user, self.now = user, datetime.now(UTC)
        self.objects = {f"{name}.npy": {"k": _stored(repository, array)} for name, array in ARRAYS.items()}
        self.nodes: list[dict[str, Any]] = []
        self.links: list[dict[str, Any]] = []

    def node(self, kind: str, **attributes: Any) -> int:
        """Number of a new node, from 1."""
        self.nodes.append(
            {
                "uuid": str(uuid4()), "node_type": KINDS[kind], "process_type": "",
                "label": "", "description": "", "ctime": self.now, "mtime": self.now, "attributes": attributes,
                "extras": {}, "repository_metadata": {}, "user_id": self.user, "dbcomputer_id": None,
            }
        )  # fmt: skip
        return len(self.nodes)

    def clusters(self, **attributes: Any) -> int:
        """A cluster set with its arrays."""
        number = self.node("clusters", **attributes, **{f"array|{name}": list(a.shape) for name, a in ARRAYS.items()})
        self.nodes[-1]["repository_metadata"] = {"o": self.objects}
        return number

    def link(self, source: int, target: int, kind: str, label: str) -> None:
        """A link between two nodes."""
        self.links.append({"input_id": source, "output_id": target, "label": label, "type": kind})


def _stored(repository: Any, array: np.ndarray) -> str:
    """Key of an array in the repository."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    content.seek(0)
    return repository.put_object_from_filelike(content)


def add_run(bulk: Bulk, structure: int, model: int) -> int:
    """One training set of molecular dynamics: 18 nodes.  Gives its trajectory."""
    whole = bulk.node("run", process_label="TrainingSetWorkChain", exit_status=0, process_state="finished")
    stage = bulk.node("run", process_label="MDSamplingWorkChain", exit_status=0, process_state="finished")
    settings = bulk.node("settings", temperature_K=300.0)
    bulk.link(whole, stage, "call_work", "md_sampling")
    for run in (whole, stage):
        bulk.link(structure, run, "input_work", "structure")
        bulk.link(model, run, "input_work", "model")
    bulk.link(settings, stage, "input_work", "settings")
    jobs = {
        label: bulk.node("job", process_label=label, exit_status=0)
        for label in ("molecular_dynamics", "extract_clusters", "labels", "build_dataset")
    }
    for job in jobs.values():
        bulk.link(stage, job, "call_calc", "step")
    frames = bulk.node("frames", **{"array|positions": [N_FRAMES, 8, 3]})
    dataset = bulk.node("dataset", content_sha256=uuid4().hex)
    bulk.link(structure, jobs["molecular_dynamics"], "input_calc", "supercell")
    bulk.link(model, jobs["molecular_dynamics"], "input_calc", "model")
    bulk.link(settings, jobs["molecular_dynamics"], "input_calc", "settings")
    bulk.link(jobs["molecular_dynamics"], frames, "create", "trajectory")
    bulk.link(frames, jobs["extract_clusters"], "input_calc", "frames")
    for size in range(1, 5):
        cut, labelled = bulk.clusters(key=f"n={size}"), bulk.clusters(key=f"n={size}", labelled=True)
        bulk.link(jobs["extract_clusters"], cut, "create", f"n_{size}")
        bulk.link(cut, jobs["labels"], "input_calc", f"n_{size}")
        bulk.link(jobs["labels"], labelled, "create", f"n_{size}")
        bulk.link(labelled, jobs["build_dataset"], "input_calc", f"n_{size}")
    bulk.link(jobs["build_dataset"], dataset, "create", "result")
    bulk.link(whole, dataset, "return", "dataset")
    return frames


def fill() -> int:
    """Insert everything into the loaded profile; gives the number of nodes."""
    from aiida import orm
    from aiida.manage import get_manager
    from aiida.orm.entities import EntityTypes

    backend = get_manager().get_profile_storage()
    bulk = Bulk(orm.User.collection.get_default().pk, backend.get_repository())
    models = [bulk.node("model", sha256=f"{i:064x}", filename=f"{i}.model") for i in range(5)]
    structures = [bulk.node("structure", **ARGON) for _ in range(N_RUNS)]
    for i in range(N_RUNS):
        add_run(bulk, structures[i], models[i % 5])
    with backend.transaction():
        pks = dict(enumerate(backend.bulk_insert(EntityTypes.NODE, bulk.nodes), start=1))
        ends = ({"input_id": pks[link["input_id"]], "output_id": pks[link["output_id"]]} for link in bulk.links)
        backend.bulk_insert(EntityTypes.LINK, [link | end for link, end in zip(bulk.links, ends, strict=True)])
    return len(bulk.nodes)


def questions() -> dict[str, Any]:
    """What is asked, by name."""
    from aiida import orm

    from aiida_mbetrain import provenance
    from aiida_mbetrain.data.cluster_set import ClusterSetData

    def first(kind: Any, **filters: Any) -> Any:
        return orm.QueryBuilder().append(kind, filters=filters).first(flat=True)

    model = first(orm.Data, **{"attributes.sha256": f"{3:064x}"})
    crystal, clusters = first(orm.StructureData), first(ClusterSetData, **{"attributes.labelled": True})
    run = first(orm.WorkChainNode, **{"attributes.process_label": "TrainingSetWorkChain"})
    return {
        "whole profile": lambda: len(provenance.datasets()) == 2 * N_RUNS,
        "of a model": lambda: len(provenance.datasets(model=model)) == 2 * N_RUNS // 5,
        "of a crystal": lambda: len(provenance.datasets(structure=crystal)) == 2,
        "origin": lambda: len(provenance.origin_of(clusters, 7)["jobs"]) == 3,
        "frames": lambda: [row["frames"] for row in provenance.destinations_of(first(orm.TrajectoryData))] == 8 * [ALL],
        "facts": lambda: set(provenance.facts_of(run).sections) == {SECTION},
    }


def seconds_of(ask: Any) -> float:
    """Wall time of a question that must be answered rightly."""
    start = time.perf_counter()
    right = ask()
    spent = time.perf_counter() - start
    assert right, inspect.getsource(ask)
    return spent


def main() -> None:
    from aiida import load_profile
    from aiida.storage.sqlite_temp import SqliteTempBackend

    load_profile(SqliteTempBackend.create_profile("synthetic"), allow_switch=True)
    result: dict[str, Any] = {"nodes": fill()}
    for name, ask in questions().items():
        result[name] = min(seconds_of(ask) for _ in range(N_ANSWERS))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
