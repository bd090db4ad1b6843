"""Stage WorkChains of the profile by the key of what they compute, whoever started them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
from aiida import orm
from ase.data import atomic_numbers

from aiida_mbetrain.campaigns.plan import DYNAMICS, PHONONS, QUASI_HARMONIC, stage_key
from aiida_mbetrain.campaigns.replicas import TOGETHER
from aiida_mbetrain.campaigns.sources import crystal_digest
from aiida_mbetrain.data.crystals import EQUILIBRIUM, Nodes, link_label
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.datasets.from_graph import STAGE_OF
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.thermodynamics import equilibrium_names, reference_name
from aiida_mbetrain.settings import FreeEnergy, Inference, JsonObject, MDReplicas, NamedCalculator
from aiida_mbetrain.workflows.protocols import SECTIONS

KIND_OF = STAGE_OF | {"ReplicaSamplingWorkChain": TOGETHER}
"""Process label -> kind of stage, or what makes several dynamics together."""


@dataclass(frozen=True)
class FoundStage:
    """One stage WorkChain of the profile, or one of the dynamics that a process makes together.

    key: that of the planned stages with the same result.
    """

    key: str
    pk: int
    uuid: str
    created: datetime
    process_state: str | None
    exit_status: int | None
    message: str
    description: str

    @property
    def is_finished_ok(self) -> bool:
        """Finished without error."""
        return self.process_state == "finished" and self.exit_status == 0

    @property
    def is_terminated(self) -> bool:
        """Finished, failed, excepted or killed."""
        return self.process_state in ("finished", "excepted", "killed")


def found_stages() -> list[FoundStage]:
    """All stages of the profile whose inputs can be read, in a fixed number of queries."""
    rows = {row[0]: row for row in _processes()}
    inputs = {
        "settings": _inputs("settings", orm.Dict, ["attributes"]),
        "inference": _inputs("inference", orm.Dict, ["attributes"]),
        "model": _inputs("model", orm.Data, ["attributes"]),
        "structure": _inputs("structure", orm.StructureData, ["id"]),
        "molecule": _inputs("molecule", orm.StructureData, ["id"]),
    }
    crystals = _crystal_digests({pk for [pk] in inputs["structure"].values()})
    keys: dict[int, list[str]] = {}
    order = sorted(rows, key=lambda pk: KIND_OF[rows[pk][1]] == PHONONS)  # phonons need the keys of their parents
    origins = _origins_of_force_constants()
    for pk in order:
        kind = KIND_OF[rows[pk][1]]
        try:
            given = inputs["settings"][pk][0]
            inference = Inference(**inputs["inference"][pk][0])
            model = _identity(inputs["model"][pk][0])
            source: object = crystals[inputs["structure"][pk][0]] if kind != PHONONS else None
            if kind == PHONONS:
                parent, link = origins[pk]
                source = [keys[parent][0], _label(link, FreeEnergy(**inputs["settings"][parent][0]))]
            if kind == TOGETHER:
                made = MDReplicas(**given)
                keys[pk] = [stage_key(DYNAMICS, source, model, inference, made.of(name)) for name in made.replicas]
                continue
            settings = SECTIONS[kind](**given)
            if isinstance(settings, FreeEnergy) and pk in inputs["molecule"]:
                # Sublimation into a molecule that the user has given is not that of a campaign.
                settings = settings.model_copy(update={"sublimation": False})
        except (KeyError, MbetrainError):
            continue  # of another version of the plugin, or phonons of force constants without a crystal
        keys[pk] = [stage_key(kind, source, model, inference, settings)]
    found = [FoundStage(key, pk, *rows[pk][2:]) for pk in rows for key in keys.get(pk, ())]
    # what was made together and is whole has a younger stage of its own for every dynamics
    return [stage for stage in found if not (KIND_OF[rows[stage.pk][1]] == TOGETHER and stage.is_finished_ok)]


def _processes() -> Iterable[tuple[Any, ...]]:
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"attributes.process_label": {"in": list(KIND_OF)}},
        project=[
            "id", "attributes.process_label", "uuid", "ctime", "attributes.process_state", "attributes.exit_status",
            "attributes.exit_message", "attributes.exception", "description",
        ],
        tag="stage",
    )  # fmt: skip
    query.order_by({"stage": {"ctime": "asc"}})
    for *facts, exit_message, exception, description in query.all():
        yield (*facts, " ".join(str(exit_message or exception or "").split()), description)


def _inputs(label: str, kind: type[orm.Node], project: list[str]) -> dict[int, list[Any]]:
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"attributes.process_label": {"in": list(KIND_OF)}}, tag="stage", project="id"
    )
    query.append(kind, with_outgoing="stage", edge_filters={"label": label}, project=project)
    return {pk: values for pk, *values in query.all()}


def _identity(attributes: JsonObject) -> JsonObject:
    if "sha256" in attributes:
        return {"sha256": attributes["sha256"]}
    return NamedCalculator(**attributes).to_dict()


def _crystal_digests(pks: set[int]) -> dict[int, str]:
    """As ``Crystal.digest``, from the attributes of the nodes."""
    query = orm.QueryBuilder().append(
        orm.StructureData,
        filters={"id": {"in": list(pks) or [-1]}},
        project=["id", "attributes.kinds", "attributes.sites", "attributes.cell"],
    )
    found = {}
    for pk, kinds, sites, cell in query.all():
        kind_of = {kind["name"]: kind for kind in kinds}
        found[pk] = crystal_digest(
            Configurations(
                numbers=np.array([atomic_numbers[kind_of[site["kind_name"]]["symbols"][0]] for site in sites]),
                positions=np.array([[site["position"] for site in sites]]),
                cells=np.array([cell]),
                isotope_masses=np.array([kind_of[site["kind_name"]]["mass"] for site in sites]),
            )
        )
    return found


def _origins_of_force_constants() -> dict[int, tuple[int, str]]:
    """Of every phonon sampling the quasi-harmonic stage behind its force constants, and the label of their link."""
    labels = {kind: name for name, kind in STAGE_OF.items()}
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={"attributes.process_label": labels[PHONONS]}, tag="phonons", project="id"
    )
    query.append(
        ForceConstantsData, with_outgoing="phonons", edge_filters={"label": "force_constants"}, tag="constants"
    )
    query.append(
        orm.WorkChainNode,
        with_outgoing="constants",
        filters={"attributes.process_label": labels[QUASI_HARMONIC]},
        project="id",
        edge_project="label",
    )
    return {phonons: (parent, label) for phonons, parent, label in query.all()}


def _label(link: str, settings: FreeEnergy) -> str:
    """Label of the crystal whose force constants have a link of this label."""
    if link == "force_constants":
        return reference_name(settings)
    links = {f"{EQUILIBRIUM}__{link_label(label)}__force_constants": label for label in equilibrium_names(settings)}
    return links[link]


def force_constants_of(parent: orm.WorkChainNode, label: str) -> ForceConstantsData | None:
    """The force constants of one crystal of a finished quasi-harmonic stage; None where it has none."""
    from aiida_mbetrain.data.crystals import crystals

    settings = FreeEnergy(**parent.inputs.settings.get_dict())
    found = crystals(cast(Nodes, parent.outputs), settings)
    return found[label]["force_constants"] if label in found else None
