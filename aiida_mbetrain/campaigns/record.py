"""A campaign in a profile: one group with its record, its graphs and the stages it uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mbetrain.campaigns.nodes import model_node, structure_node
from aiida_mbetrain.campaigns.plan import Plan, make_plan
from aiida_mbetrain.campaigns.settings import CampaignSettings
from aiida_mbetrain.campaigns.sources import Crystal, Model
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.errors import UnreadableFile

PREFIX = "mbetrain/campaigns/"
RECORD = "campaign"
"""Label of the Dict nodes that hold a campaign's settings; the newest is the one that counts."""

Repairs = dict[str, dict[str, object]]


@dataclass(frozen=True)
class Record:
    """Record of the last start of a campaign.

    crystals, models: uuid of the node of each, by name.
    repairs: overrides of single stages, by name.
    """

    settings: CampaignSettings
    crystals: Mapping[str, str]
    models: Mapping[str, str]
    repairs: Repairs = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """The content of the Dict node."""
        return {
            "settings": self.settings.to_dict(),
            "crystals": dict(self.crystals),
            "models": dict(self.models),
            "repairs": self.repairs,
        }

    def plan(self) -> Plan:
        """The plan, made from nodes alone."""
        crystals = [_crystal(name, uuid) for name, uuid in self.crystals.items()]
        models = [_model(name, uuid) for name, uuid in self.models.items()]
        return make_plan(self.settings, crystals, models, self.repairs)


def _crystal(name: str, uuid: str) -> Crystal:
    node = cast(orm.StructureData, orm.load_node(uuid))
    return Crystal(name, structure_to_configurations(node), f"<{node.pk}>", uuid)


def _model(name: str, uuid: str) -> Model:
    node = orm.load_node(uuid)
    identity = (
        {"sha256": node.sha256} if isinstance(node, MaceModelData | SumModelData) else dict(node.base.attributes.all)
    )
    return Model(name, identity, uuid=uuid)


def group_of(name: str, *, create: bool = False) -> orm.Group:
    """The group of a campaign.  Raises UnreadableFile where there is none."""
    if create:
        return orm.Group.collection.get_or_create(label=f"{PREFIX}{name}")[0]
    try:
        return orm.Group.collection.get(label=f"{PREFIX}{name}")
    except NotExistent as error:
        raise UnreadableFile(
            f"There is no campaign {name} in this profile; there are {', '.join(campaigns()) or 'none'}."
        ) from error


def campaigns() -> list[str]:
    """Names of the campaigns of the profile."""
    query = orm.QueryBuilder().append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}}, project="label")
    return sorted(label.removeprefix(PREFIX) for label in query.all(flat=True))


def read_record(group: orm.Group) -> Record | None:
    """The newest record of a campaign; None before it was started."""
    query = orm.QueryBuilder().append(orm.Group, filters={"id": group.pk}, tag="group")
    query.append(orm.Dict, with_group="group", filters={"label": RECORD}, project="attributes", tag="record")
    query.order_by({"record": {"id": "desc"}})
    values = query.first(flat=True)
    if values is None:
        return None
    return Record(CampaignSettings(**values["settings"]), values["crystals"], values["models"], values["repairs"])


def write_record(group: orm.Group, record: Record) -> None:
    """Add the record to the group where it differs from the newest one."""
    before = read_record(group)
    if before is None or before.to_dict() != record.to_dict():
        group.add_nodes(orm.Dict(record.to_dict(), label=RECORD).store())


def record_of(
    settings: CampaignSettings, crystals: list[Crystal], models: list[Model], before: Record | None
) -> Record:
    """The record of a campaign about to start, with stored nodes; those of the record before are used again."""
    known = {} if before is None else {_crystal(name, uuid).digest: uuid for name, uuid in before.crystals.items()}
    known_models = {} if before is None else before.models
    return Record(
        settings,
        {crystal.name: known.get(crystal.digest) or structure_node(crystal).uuid for crystal in crystals},
        {model.name: _known_model(model, known_models) or model_node(model).uuid for model in models},
        {} if before is None else before.repairs,
    )


def _known_model(model: Model, known: Mapping[str, str]) -> str | None:
    uuid = known.get(model.name)
    return uuid if uuid is not None and _model(model.name, uuid).identity == model.identity else None
