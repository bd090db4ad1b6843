"""The dataset of a campaign: every finished stage under its own root key, and a table of the members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from aiida import orm

from aiida_mbetrain.campaigns.plan import PHONONS, Member, Plan, Stage
from aiida_mbetrain.campaigns.state import FINISHED, StageState
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.from_graph import dataset_of, require_labels, stage_nodes, with_references
from aiida_mbetrain.datasets.hdf5 import Storage, append_trees, opened
from aiida_mbetrain.datasets.inspection import sections_of
from aiida_mbetrain.datasets.layout import from_dataset
from aiida_mbetrain.datasets.model import Dataset, Section
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.thermodynamics import force_constants_key

STAGES, KEYS = "stages", "keys"
"""Arrays of the table of members: the stages that the file holds, and what decided their results."""


def export_campaign(
    path: str | Path,
    plan: Plan,
    states: Mapping[str, StageState],
    *,
    references: Sequence[str] = (),
    provenance: bool = True,
    storage: Storage | None = None,
) -> list[str]:
    """Write or append what is finished; gives the names of the stages that are new in the file.

    Stages are read from the graph one at a time.  A stage is at ``CRYSTAL/MODEL/CONDITIONS/KIND``, once, whatever
    number of members share it.  references: methods whose labels the profile adds to those of the baseline, also to
    stages that the file has.
    Raises InvalidSettings where nothing is finished, where the file has a stage of that name from other input, and
    for a method that labelled no cluster.
    """
    finished = {name: stage for name, stage in plan.stages.items() if states[name].state == FINISHED}
    if not finished:
        raise InvalidSettings(f"Nothing of the campaign {plan.name} is finished: see `campaign status {plan.name}`.")
    there = _stages_of_file(Path(path))
    for name, key in there.items():
        if name in finished and finished[name].key != key:
            raise InvalidSettings(f"{path} has {name} from other input: give another file.")
    if references:
        require_labels((node for name in finished for node in _cluster_sets(states[name])), references)
    new = [name for name in finished if name not in there]
    held = there | {name: stage.key for name, stage in finished.items()}
    trees = (_tree(plan.stages[name], states, references) for name in (finished if references else new))
    table = members_table(plan, states, held)
    append_trees(path, trees, replaced={names.MEMBERS: table}, provenance=provenance, storage=storage)
    return new


def _stages_of_file(path: Path) -> dict[str, str]:
    """Keys of the stages that an earlier export wrote, by name."""
    if not path.exists():
        return {}
    with opened(path) as root:
        if names.MEMBERS not in root.groups:
            raise InvalidSettings(f"{path} is not the file of a campaign: give another name.")
        table = root.groups[names.MEMBERS]
        return dict(zip(table.array(STAGES).tolist(), table.array(KEYS).tolist(), strict=True))


def _nodes(state: StageState) -> dict[str, Nodes]:
    return stage_nodes([cast(orm.WorkChainNode, orm.load_node(state.uuid))])


def _cluster_sets(state: StageState) -> Iterator[ClusterSetData]:
    for nodes in _nodes(state).values():
        yield from nodes.get("clusters", {}).values()


def _tree(stage: Stage, states: Mapping[str, StageState], references: Sequence[str] = ()) -> Group:
    """One stage as a file's tree; force constants are named by their place, not repeated.

    The section names its crystal, for the file as a whole has several.
    """
    stages = _nodes(states[stage.name])
    dataset = with_references(dataset_of(stages), stages, references, required=False)
    if stage.kind != PHONONS:
        sections: list[Section] = [replace(section, root_key=stage.name) for section in dataset.md]
        sections += [replace(section, root_key=stage.name) for section in dataset.quasi_harmonic]
        return _with_crystal(from_dataset(Dataset(tuple(sections), dataset.provenance)))
    phonons = replace(dataset.phonons[0], root_key=stage.name, force_constants_key=None)
    tree = from_dataset(Dataset((phonons,), dataset.provenance))
    assert stage.parent is not None
    assert stage.constants_label is not None
    place = force_constants_key(stage.parent.name, stage.constants_label)
    tree[phonons.group].attributes[names.FORCE_CONSTANTS_KEY] = place
    return _with_crystal(tree)


def _with_crystal(tree: Group) -> Group:
    said = {name: value for name, value in tree.provenance.items() if name.startswith("crystal_")}
    for _, section in sections_of(tree):
        section.provenance |= said
    return tree


def members_table(plan: Plan, states: Mapping[str, StageState], held: Mapping[str, str]) -> Group:
    """Every member with its state and the reason of what is not finished."""
    rows = [(member, *member_state(member, states)) for member in plan.members]
    columns: dict[str, object] = {
        "crystal": [member.crystal for member, *_ in rows],
        "model": [member.model for member, *_ in rows],
        "state": [state for _, state, _ in rows],
        "reason": [reason for *_, reason in rows],
        STAGES: sorted(held),
        KEYS: [held[name] for name in sorted(held)],
    }
    return Group(
        attributes={names.DATACLASS: "CampaignMembers", "campaign": plan.name, "n_members": len(rows)},
        datasets={name: np.array(values, dtype=object) for name, values in columns.items()}
        | {
            names.T_COLUMN: np.array([member.temperature_K for member, *_ in rows]),
            names.PRESSURE: np.array([member.pressure_GPa for member, *_ in rows]),
        },
    )


def member_state(member: Member, states: Mapping[str, StageState]) -> tuple[str, str]:
    """``finished``, or the state of the first stage that is not, with the reason."""
    for stage in member.stages:
        state = states[stage.name]
        if state.state != FINISHED:
            return state.state, f"{stage.kind}: {state.reason}" if state.reason else stage.kind
    return FINISHED, ""
