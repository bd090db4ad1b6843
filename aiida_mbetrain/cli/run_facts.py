"""Facts about a run for its report, from the profile."""

from __future__ import annotations

import os
from typing import Any

from aiida_mbetrain.cli.summary import stage_times
from aiida_mbetrain.report import Call, RunFacts


def run_facts(process: Any) -> RunFacts:
    """Calls, failure, time by stage and stored bytes of a process and all it called."""
    from aiida import orm

    failed = process.is_terminated and not process.is_finished_ok
    reason = process.exit_message or process.exception or ""
    return RunFacts(
        call=_call(process),
        failure=" ".join(str(reason).split()) if failed else "",
        stage_seconds=stage_times(process),
        repository_bytes=_stored_bytes(process, orm),
    )


def root_of(process: Any) -> Any:
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


def _stored_bytes(process: Any, orm: Any) -> int:
    """Files in the repository of all nodes that the process and its calls made."""
    total = 0
    for job in [process, *process.called_descendants]:
        made = [link.node for link in job.base.links.get_outgoing(node_class=orm.Data).all()]
        nodes = made if isinstance(job, orm.CalculationNode) else []  # a workflow returns what calculations made
        for node in [job, *nodes]:
            for name in _object_names(node):
                with node.base.repository.open(name, "rb") as handle:
                    total += handle.seek(0, os.SEEK_END)
    return total


def _object_names(node: Any) -> list[str]:
    return [str(folder / name) for folder, _, names in node.base.repository.walk() for name in names]
