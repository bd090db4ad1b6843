"""Finished processes with the same inputs: what is done is taken, not done again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm
from aiida.common.hashing import make_hash
from aiida.engine import Process
from aiida.engine.processes.ports import PORT_NAMESPACE_SEPARATOR

OF_JOBS = ("code", "options", "n_jobs")
"""Inputs that decide where and in how many jobs something runs, and not what it gives."""


def finished_process(process: type[Process], inputs: Mapping[str, Any]) -> orm.ProcessNode | None:
    """The newest finished process of a class with inputs of the same content; None where there is none.

    inputs: as they would be given; defaults are filled in.  Metadata and ``OF_JOBS`` are no part of the comparison.
    """
    wanted = dict(_nodes(process.spec().inputs.pre_process(dict(inputs))))
    filters = {
        "attributes.process_label": process.__name__,
        "attributes.process_state": "finished",
        "attributes.exit_status": 0,
    }
    query = orm.QueryBuilder().append(orm.ProcessNode, filters=filters, tag="node")
    query.order_by({"node": {"id": "desc"}})
    return next((node for node in query.all(flat=True) if _has_inputs(node, wanted)), None)


def _nodes(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, orm.Data]]:
    """Input nodes by the labels of their links."""
    for name, value in values.items():
        if isinstance(value, Mapping) and name != "metadata":
            yield from _nodes(value, f"{prefix}{name}{PORT_NAMESPACE_SEPARATOR}")
        elif isinstance(value, orm.Data) and name not in OF_JOBS:
            yield f"{prefix}{name}", value


def _has_inputs(process: orm.ProcessNode, wanted: Mapping[str, orm.Data]) -> bool:
    found = {link.link_label: link.node for link in process.base.links.get_incoming(node_class=orm.Data).all()}
    found = {label: node for label, node in found.items() if label not in OF_JOBS}
    return found.keys() == wanted.keys() and all(same_content(found[label], node) for label, node in wanted.items())


def same_content(first: orm.Node, second: orm.Node) -> bool:
    """True for one node, or two of the same content; neither has to be stored."""
    return first.uuid == second.uuid or _content(first) == _content(second)


def _content(node: orm.Node) -> str:
    """The hash that AiiDA stores with a node, or would."""
    return node.base.caching.get_hash() or make_hash(node.base.caching.get_objects_to_hash())
