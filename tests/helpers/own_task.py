"""A task that a user adds to the graph of a campaign; the daemon imports it from here."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction


@calcfunction
def count_stages(structure: orm.StructureData) -> orm.Int:
    """Finished stages that start from a crystal."""
    query = orm.QueryBuilder().append(orm.StructureData, filters={"id": structure.pk}, tag="structure")
    query.append(orm.WorkChainNode, with_incoming="structure", filters={"attributes.exit_status": 0})
    return orm.Int(query.count())
