"""Crystals and models of a campaign as nodes of the loaded profile."""

from __future__ import annotations

from typing import cast

from aiida import orm
from aiida.common.exceptions import NotExistent
from ase.data import atomic_numbers

from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.settings import CrystalEntry
from aiida_mbetrain.campaigns.sources import Crystal, Model, checked_crystal
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.structures import structure_from_configurations, structure_to_configurations
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.potentials import Potential, named_calculator
from aiida_mbetrain.settings import Inference, NamedCalculator


def crystals_of_nodes(entry: CrystalEntry, refusals: Refusals) -> list[Crystal]:
    """The crystals of an entry of a node or a group; what is no crystal is refused."""
    nodes: list[orm.Node] = []
    with refusals.about(str(entry.node or entry.group)):
        nodes = [_load(entry.node)] if entry.node is not None else _nodes_of_group(str(entry.group))
        if entry.name is not None and len(nodes) != 1:
            raise InvalidSettings(f"name = {entry.name!r} is for one crystal, these are {len(nodes)}: leave it out.")
    found = []
    for node in nodes:
        name = entry.name or node.label or f"{type(node).__name__}_{node.pk}"
        with refusals.about(name):
            if not isinstance(node, orm.StructureData):
                raise InvalidSettings(f"<{node.pk}> is a {type(node).__name__}, not a StructureData: leave it out.")
            found.append(checked_crystal(name, structure_to_configurations(node), f"<{node.pk}>", node.uuid))
    return found


def _load(identifier: int | str | None) -> orm.Node:
    try:
        return orm.load_node(identifier)
    except NotExistent as error:
        raise UnreadableFile(f"There is no node {identifier} in this profile: give a pk or uuid.") from error


def _nodes_of_group(label: str) -> list[orm.Node]:
    try:
        nodes = list(orm.load_group(label).nodes)
    except NotExistent as error:
        raise UnreadableFile(f"There is no group {label} in this profile: see `verdi group list`.") from error
    if not nodes:
        raise UnreadableFile(f"The group {label} is empty: add structures with `verdi group add-nodes`.")
    return sorted(nodes, key=lambda node: (node.label, node.uuid))


def model_of_node(name: str, identifier: int | str) -> Model:
    """A registered model, or the Dict of a named calculator.  Raises UnreadableFile, InvalidSettings."""
    node = _load(identifier)
    if isinstance(node, MaceModelData | SumModelData):
        elements = frozenset(atomic_numbers[symbol] for symbol in node.elements)
        return Model(name, {"sha256": node.sha256}, elements, uuid=node.uuid)
    if isinstance(node, orm.Dict):
        calculator = NamedCalculator(**node.get_dict())
        return Model(name, calculator.to_dict(), named_calculator(calculator).elements, uuid=node.uuid)
    raise InvalidSettings(f"<{node.pk}> is a {type(node).__name__}, no model: see `aiida-mbetrain model list`.")


def registered_potential(model: Model, inference: Inference) -> Potential:
    """The live potential of a registered model."""
    node = _load(model.uuid)
    assert isinstance(node, MaceModelData | SumModelData)
    return node.load(inference)


def structure_node(crystal: Crystal) -> orm.StructureData:
    """The node of a crystal, stored where it is new, with the crystal's name as label."""
    if crystal.uuid is not None:
        return cast(orm.StructureData, orm.load_node(crystal.uuid))
    node = structure_from_configurations(crystal.configurations)
    node.label = crystal.name
    return node.store()


def model_node(model: Model) -> orm.Data:
    """The node of a model, registered where it is new."""
    if model.uuid is not None:
        return cast(orm.Data, orm.load_node(model.uuid))
    if model.calculator is not None:
        return orm.Dict(model.calculator.to_dict(), label=model.name).store()
    assert model.path is not None
    return MaceModelData.get_or_create(model.path)
