"""Input of a dynamics that was made together with others, and the check that it is the wanted one."""

from __future__ import annotations

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.stages import FREE_INFERENCE
from aiida_mbetrain.settings import Inference, MDReplicas, MDSampling


def define_replica_port(spec: WorkChainSpec) -> None:
    """The namespace ``replica``: without it the dynamics is run."""
    spec.input_namespace(
        "replica",
        required=False,
        populate_defaults=False,
        help="Dynamics that ReplicaSamplingWorkChain has made with these settings; without it the dynamics is run.",
    )
    spec.input("replica.supercell", valid_type=orm.StructureData, help="The crystal that moved.")
    spec.input("replica.relaxed_structure", valid_type=orm.StructureData, required=False, help="Of relax_first.")
    spec.input("replica.trajectory", valid_type=orm.TrajectoryData, required=False, help="The stored frames.")
    spec.input("replica.thermodynamics", valid_type=TableData, required=False, help="Series from t = 0.")
    spec.input("replica.outcome", valid_type=orm.Dict, help="Status and message: finished, or why not.")


def is_replica_of(node: orm.Data, settings: MDSampling, model: orm.Data, inference: orm.Dict) -> bool:
    """Return True if the process that made a trajectory or series had these settings for it, this model and inference.

    Only what a dynamics depends on is compared.
    """
    link = node.base.links.get_incoming(link_type=LinkType.CREATE).first()
    if link is None:
        return False
    namespace, _, rest = link.link_label.partition("__")
    name = rest.rpartition("__")[0]
    inputs = {link.link_label: link.node for link in link.node.base.links.get_incoming(orm.Data).all()}
    if namespace != "replicas" or not {"settings", "model", "inference"} <= inputs.keys():
        return False
    try:
        made = MDReplicas(**inputs["settings"].get_dict()).of(name)
    except (InvalidSettings, KeyError):
        return False
    same_potential = inputs["model"].uuid == model.uuid and _decisive(inputs["inference"]) == _decisive(inference)
    return same_potential and _dynamics(made) == _dynamics(settings)


def _decisive(inference: orm.Node) -> dict[str, object]:
    """All but what chooses the machine and its memory, which may change between the jobs of a dynamics."""
    given = Inference(**inference.base.attributes.all).to_dict()
    return {name: value for name, value in given.items() if name not in FREE_INFERENCE}


def _dynamics(settings: MDSampling) -> tuple[object, ...]:
    pressure = settings.pressure_GPa if settings.md_crystal.ensemble == "NPT" else None
    return settings.temperature_K, pressure, settings.md_crystal
