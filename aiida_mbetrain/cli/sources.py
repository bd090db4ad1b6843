"""The argument SOURCE: pk or uuid of a finished run, or an HDF5 file; and the model it was made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import click

from aiida_mbetrain.cli.common import load, node_of_uuid
from aiida_mbetrain.cli.common import with_profile as in_profile
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile

if TYPE_CHECKING:
    from aiida import orm

    from aiida_mbetrain.data.crystals import Nodes
    from aiida_mbetrain.datasets.model import Dataset

T = TypeVar("T")

__all__ = ["in_profile", "integers", "is_file", "load_node", "model_of_source", "numbers", "read_source", "words"]

FILE_SUFFIXES = (".hdf5", ".h5", ".xyz", ".extxyz", ".json", ".yaml")


def is_file(source: str) -> bool:
    """Return True if SOURCE is a file.  Raises UnreadableFile for a file name that does not exist."""
    if Path(source).is_file():
        return True
    if source.endswith(FILE_SUFFIXES) or "/" in source:
        raise UnreadableFile(f"{source} does not exist or is not a file.")
    return False


def is_campaign_file(path: str) -> bool:
    """True for the file of a campaign.  Raises UnreadableFile."""
    from aiida_mbetrain.datasets.hdf5 import opened
    from aiida_mbetrain.datasets.names import MEMBERS

    with opened(path) as root:
        return MEMBERS in root.groups


@in_profile
def is_campaign(source: str) -> bool:
    """True for the name of a campaign of the profile, also with a part of it (``first/urea``); a number is a pk."""
    from aiida_mbetrain.campaigns.record import campaigns

    return not source.isdigit() and source.partition("/")[0] in campaigns()


def processes_of(source: str) -> dict[str, Any]:
    """The node of a pk or uuid, or the finished stages of a campaign or of a part of it, by name.

    Raises InvalidSettings where nothing of the part is finished.
    """
    if not is_campaign(source):
        return {"": load_node(source)}
    from aiida import orm

    from aiida_mbetrain.campaigns.state import FINISHED, recorded_states

    campaign, _, part = source.partition("/")
    _, states = recorded_states(campaign)
    chosen = {name: state for name, state in states.items() if not part or f"{name}/".startswith(f"{part}/")}
    found = {name: orm.load_node(state.uuid) for name, state in chosen.items() if state.state == FINISHED}
    if not found:
        raise InvalidSettings(f"Nothing of {source} is finished: see `aiida-mbetrain campaign status {campaign}`.")
    return found


def read_source(
    source: str, references: Sequence[str] = (), *, partial: bool = False, features: bool = True
) -> Dataset:
    """The dataset of a file, or of the nodes of a run.

    references: methods whose labels the profile adds to those of the baseline; a file has its own.
    partial: of a run that did not finish, take what there is.
    features: False does not read the feature vectors of a file.
    Raises UnreadableFile, InvalidSettings; aiida's NotExistent for an unknown pk.
    """
    from aiida_mbetrain.datasets.hdf5 import read_dataset

    node = None if is_file(source) else load_node(source)
    if references and (node is None or _is_dataset_file(node)):
        raise InvalidSettings(f"--reference takes labels from the profile: {source} is a file and keeps those it has.")
    if node is None:
        return read_dataset(source, features=features)
    from aiida_mbetrain.datasets.from_graph import dataset_of, with_references

    if _is_dataset_file(node):
        with node.as_path() as path:
            return read_dataset(path, features=features)
    if partial:
        stages, missing = _stages_of_partial_run(node)
    else:
        stages, missing = stages_of_node(node), {}
    return with_references(dataset_of(stages, missing), stages, references)


def _stages_of_partial_run(node: Any) -> tuple[Mapping[str, Nodes], dict[str, str]]:
    """The stages of a run that can be exported, and the reason why for each that cannot."""
    from aiida_mbetrain.datasets.from_graph import exportable, missing_parts, partial_nodes

    stages, missing = exportable(partial_nodes(node)), missing_parts(node)
    if not stages:
        reasons = "; ".join(f"{stage}: {why}" for stage, why in missing.items())
        raise InvalidSettings(f"{node.process_label}<{node.pk}> has nothing to export. {reasons}")
    return stages, missing


def stages_of_node(node: orm.Node) -> Mapping[str, Nodes]:
    """The stage nodes of a training set or stage.  Raises InvalidSettings for anything else."""
    from aiida import orm

    from aiida_mbetrain.datasets.from_graph import STAGE_OF, TRAINING_SET, stage_nodes, stages_of

    if not isinstance(node, orm.WorkChainNode):
        raise InvalidSettings(
            f"<{node.pk}> is a {type(node).__name__}: give a finished {TRAINING_SET} or one of {', '.join(STAGE_OF)}."
        )
    return stage_nodes(stages_of(node))


@in_profile
def load_node(source: str) -> orm.Node:
    """Load the node of a pk or uuid from the profile of this command."""
    return load(source)


def _is_dataset_file(node: orm.Node) -> TypeGuard[orm.SinglefileData]:
    from aiida import orm

    return isinstance(node, orm.SinglefileData) and "content_sha256" in node.base.attributes


def model_of_source(source: str, dataset: Dataset) -> Any:
    """The model node of a source; None for a file whose model is not in the profile."""
    uuid = dataset.provenance.get("model_uuid")
    if not isinstance(uuid, str):  # of several runs in one file: several
        return None
    return node_of_uuid(str(uuid), click.get_current_context().meta.get("mbetrain_profile"))


def numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """A click callback: numbers separated by commas."""
    return _separated(value, float, "numbers such as 0.8,0.1,0.1")


def integers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """A click callback: integers separated by commas."""
    return _separated(value, int, "integers such as 1,2,3")


def words(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """A click callback: words separated by commas."""
    return _separated(value, str.strip, "words such as md,phonons")


def _separated(value: str | None, kind: Callable[[str], T], form: str) -> tuple[T, ...] | None:
    if value is None:
        return None
    try:
        return tuple(kind(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}: give {form}, separated by commas.") from None
