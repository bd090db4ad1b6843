"""Facts about a run for its report, from the profile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aiida_mbetrain.cli.common import command_of
from aiida_mbetrain.cli.summary import run_infos, stage_times
from aiida_mbetrain.cli.trainings import evaluations_of, learning_curve_of, other_models, trainings
from aiida_mbetrain.datasets.names import CONTENT_SHA256
from aiida_mbetrain.report import Call, Judgement, RunFacts, TrainedModel

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.settings import JsonObject


def run_facts(process: orm.ProcessNode) -> RunFacts:
    """Calls, failure, time by stage and stored bytes of a process and all it called."""
    failed = process.is_terminated and not process.is_finished_ok
    reason = process.exit_message or process.exception or ""
    return RunFacts(
        call=_call(process),
        failure=" ".join(str(reason).split()) if failed else "",
        stage_seconds=stage_times(run_infos(process)),
        repository_bytes=_stored_bytes(process),
    )


def trained_models_of(*processes: orm.ProcessNode, content_sha256: str | None = None) -> list[TrainedModel]:
    """Models trained on clusters that the processes or their calls made, the newest first; those on parts left out.

    content_sha256: digest of the data of a dataset file; models that were trained on it are among them.
    """
    made = _made_by(processes)
    return [
        model
        for chain in trainings()
        if _is_of_processes(chain, made) or _is_of_file(chain, content_sha256)
        for model in models_of_training(chain)
    ]


def _made_by(processes: Sequence[orm.ProcessNode]) -> set[int | None]:
    calls = [call for process in processes for call in (process, *process.called_descendants)]
    return {node.pk for call in calls for node in _outputs(call)}


def _is_of_processes(chain: orm.WorkChainNode, made: set[int | None]) -> bool:
    maker = chain.inputs.frames.creator
    if maker is None or maker.process_label != "labelled_frames":
        return False
    return bool(made & {link.node.pk for link in maker.base.links.get_incoming().all()})


def _is_of_file(chain: orm.WorkChainNode, content_sha256: str | None) -> bool:
    facts = chain.inputs.frames.base.attributes.get("file", {})
    return content_sha256 is not None and facts.get(CONTENT_SHA256) == content_sha256


def _outputs(process: orm.ProcessNode) -> list[orm.Node]:
    from aiida.common import LinkType

    return process.base.links.get_outgoing(link_type=(LinkType.CREATE, LinkType.RETURN)).all_nodes()


def models_of_training(chain: orm.WorkChainNode, subset: str = "test") -> list[TrainedModel]:
    """Facts about the models of a training, one for every reference method."""
    return [_trained_model(chain, subset, head) for head in (None, *dict(other_models(chain)))]


def _trained_model(chain: orm.WorkChainNode, subset: str, head: str | None) -> TrainedModel:
    """Facts about a training, and its newest evaluation on a part of the split where there is one."""
    facts = chain.outputs.summary.get_dict()
    if head is not None:
        facts |= facts["methods"][head] | {"sha256": chain.outputs.other_models[head].sha256}
    evaluations = evaluations_of(chain, subset, head)
    return TrainedModel(
        name=f"{chain.process_label}<{chain.pk}>",
        level_of_theory=facts["level_of_theory"],
        kind=facts.get("kind", "delta"),
        baseline=facts["baseline"],
        sha256=facts["sha256"],
        n_frames=facts["n_frames"],
        n_epochs=facts["n_epochs"],
        command=command_of("evaluate", str(chain.pk)),
        judgement=_judgement(chain, evaluations[0], subset) if evaluations else None,
    )


def _judgement(chain: orm.WorkChainNode, evaluated: orm.ProcessNode, subset: str) -> Judgement:
    tables = {name: evaluated.outputs[name].to_science() for name in ("errors", "predictions", "forces")}
    return Judgement(subset, **tables, learning_curve=learning_curve_of(chain, evaluated, subset).to_science())


def root_of(process: orm.ProcessNode) -> orm.ProcessNode:
    """The outermost process that called this one, or the process itself."""
    while process.caller is not None:
        process = process.caller
    return process


def _call(process: Any, label: str = "") -> Call:
    from aiida.common import LinkType

    links = process.base.links.get_outgoing(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
    below = sorted(links, key=lambda link: link.node.ctime)
    failed = process.is_terminated and not process.is_finished_ok
    state = process.process_state.value if process.process_state else "created"
    if failed and process.exit_status is not None:
        state = f"failed with exit status {process.exit_status}"
    name = f"{label}: {process.process_label}" if label else process.process_label
    return Call(
        label=name,
        pk=process.pk,
        state=state,
        failed=failed,
        seconds=(process.mtime - process.ctime).total_seconds(),
        calls=tuple(_call(link.node, link.link_label) for link in below),
    )


def _stored_bytes(process: orm.ProcessNode) -> int:
    """Files in the repository of all that the process and its calls made, equal ones counted once."""
    from aiida import orm
    from aiida.common import LinkType
    from aiida.manage import get_manager

    calls = {"id": {"in": [process.pk, *(child.pk for child in process.called_descendants)]}}
    jobs = orm.QueryBuilder().append(orm.ProcessNode, filters=calls, project="repository_metadata")
    made = orm.QueryBuilder().append(orm.CalculationNode, filters=calls, tag="job")
    made.append(
        orm.Data, with_incoming="job", edge_filters={"type": LinkType.CREATE.value}, project="repository_metadata"
    )
    keys = {key for metadata in [*jobs.all(flat=True), *made.all(flat=True)] for key in _object_keys(metadata)}
    repository = get_manager().get_profile_storage().get_repository()
    return sum(stream.seek(0, os.SEEK_END) for _, stream in repository.iter_object_streams(list(keys)))


def _object_keys(metadata: JsonObject) -> Iterator[str]:
    """Keys of the files in a node's tree of folders."""
    for entry in metadata.get("o", {}).values():
        if "k" in entry:
            yield entry["k"]
        yield from _object_keys(entry)
