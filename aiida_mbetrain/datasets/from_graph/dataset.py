"""Dataset of finished processes, from their nodes; only the whole molecules of the frames are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import cast

from aiida import orm

from aiida_mbetrain import __version__
from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.crystals import Nodes, crystals
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.from_graph.quasi_harmonic import quasi_harmonic_section
from aiida_mbetrain.datasets.layout import cluster_order
from aiida_mbetrain.datasets.model import (
    Dataset,
    MDSection,
    Modes,
    Molecules,
    PhononSection,
    QuasiHarmonicSection,
    Section,
)
from aiida_mbetrain.datasets.tree import Attribute, Provenance
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import unwrap_molecules
from aiida_mbetrain.science.thermodynamics import force_constants_key
from aiida_mbetrain.settings import FreeEnergy, JsonObject, MDSampling, PhononSampling

STAGE_OF = {
    "MDSamplingWorkChain": "md_sampling",
    "QuasiHarmonicWorkChain": "quasi_harmonic",
    "PhononSamplingWorkChain": "phonon_sampling",
}
"""Process label of a stage WorkChain -> name of the stage."""
TRAINING_SET = "TrainingSetWorkChain"
"""Process label of the WorkChain that runs all stages."""
GIVE = f"give a {TRAINING_SET} or one of {', '.join(STAGE_OF)}."


def stage_nodes(stages: Sequence[orm.WorkChainNode]) -> dict[str, Nodes]:
    """Nodes of a dataset by stage: settings and outputs of finished stage WorkChains.

    Raises InvalidSettings for a process that is no stage or is not finished.
    """
    collected: dict[str, Nodes] = {}
    for stage in stages:
        section = STAGE_OF.get(stage.process_label or "")
        if section is None or not stage.is_finished_ok:
            state = f"{stage.process_label}<{stage.pk}> is {stage.process_state and stage.process_state.value}"
            raise InvalidSettings(
                f"{state}, exit status {stage.exit_status}: give a finished {TRAINING_SET} or one of "
                f"{', '.join(STAGE_OF)}."
            )
        collected[section] = nodes_of_stage(stage)
    return collected


def nodes_of_stage(stage: orm.WorkChainNode) -> Nodes:
    """Settings and outputs of a stage WorkChain."""
    return {"settings": stage.inputs.settings} | {name: _plain(stage.outputs[name]) for name in stage.outputs}


def _plain(value: orm.Data | Nodes) -> orm.Data | Nodes:
    return value if isinstance(value, orm.Data) else {name: _plain(value[name]) for name in value}


def stages_of(process: orm.ProcessNode) -> list[orm.WorkChainNode]:
    """The stage WorkChains of a training set in order, or the process itself where it is one stage.

    Raises InvalidSettings for a node that is no process, and for a training set that has not run all its stages.
    """
    if not isinstance(process, orm.ProcessNode):
        raise InvalidSettings(f"{type(process).__name__}<{process.pk}> is no process: {GIVE}")
    if process.process_label != TRAINING_SET:
        return [cast("orm.WorkChainNode", process)]
    links = process.base.links.get_outgoing(node_class=orm.WorkChainNode).all()
    by_label = {link.link_label: cast("orm.WorkChainNode", link.node) for link in links}
    missing = [label for label in STAGE_OF.values() if label not in by_label]
    if missing:
        raise InvalidSettings(f"{TRAINING_SET}<{process.pk}> has not run {', '.join(missing)}: export what is there.")
    return [by_label[label] for label in STAGE_OF.values()]


def require_run(process: orm.Node) -> None:
    """Raise InvalidSettings for a node that is neither a training set nor one of its stages."""
    label = process.process_label if isinstance(process, orm.ProcessNode) else None
    if label != TRAINING_SET and label not in STAGE_OF:
        raise InvalidSettings(f"{label or type(process).__name__}<{process.pk}> is no run: {GIVE}")


def dataset_of(stages: Mapping[str, Nodes], missing: Mapping[str, str] | None = None) -> Dataset:
    """The dataset of collected nodes, with provenance on every group.

    missing: why parts of the run are missing, by stage; stated in the provenance of the file.
    """
    sections: list[Section] = []
    if "md_sampling" in stages:
        sections.append(_md_section(stages["md_sampling"]))
    if "quasi_harmonic" in stages:
        sections.append(quasi_harmonic_section(stages["quasi_harmonic"], provenance_of))
    if "phonon_sampling" in stages:
        sections += _phonon_sections(stages["phonon_sampling"], stages.get("quasi_harmonic"))
    first = next(iter(stages.values()))
    model = _model_of(_inputs_of(_any_job(first).creator))
    incomplete = {"missing": [f"{stage}: {why}" for stage, why in missing.items()]} if missing else {}
    facts = {"aiida_mbetrain": __version__} | model | _crystal_of(first) | incomplete
    return Dataset(tuple(sections), provenance=facts)


def _any_job(nodes: Nodes) -> orm.Data:
    node: orm.Data = nodes.get("trajectory") or nodes["force_constants"]
    return node


def _crystal_of(nodes: Nodes) -> dict[str, str]:
    """The crystal at the start of the run."""
    node = crystal_behind(nodes.get("supercell") or nodes.get("force_constants") or nodes["modes"])
    formula = {"crystal_formula": node.get_formula()} if isinstance(node, orm.StructureData) else {}
    return {"crystal_uuid": node.uuid, **formula}


def crystal_behind(node: orm.Data) -> orm.Data:
    """The structure without a creator from which a supercell or force constants descend."""
    while (inputs := _inputs_of(node.creator)) and (inputs.keys() & {"structure", "force_constants"}):
        node = inputs.get("structure") or inputs["force_constants"]
    return node


def _md_section(nodes: Nodes) -> MDSection:
    settings = MDSampling(**nodes["settings"].get_dict())
    trajectory = as_science(nodes["trajectory"])
    provenance = _molecules_provenance(nodes) | {
        "": provenance_of(nodes["settings"], "settings"),
        names.TRAJECTORY: provenance_of(nodes["trajectory"]),
    }
    return MDSection(
        root_key=settings.root_key,
        ensemble=settings.md_crystal.ensemble,
        temperature_K=settings.temperature_K,
        pressure_GPa=settings.pressure_GPa if settings.md_crystal.ensemble == "NPT" else None,
        time_equilibration_fs=settings.md_crystal.time_equilibration_fs,
        trajectory=trajectory,
        series=as_science(nodes["thermodynamics"]),
        molecules=_molecules(nodes, trajectory),
        provenance=provenance,
    )


def _molecules(nodes: Nodes, frames: Configurations) -> Molecules | None:
    if "molecular_crystal" not in nodes:
        return None
    crystal = nodes["molecular_crystal"].to_science()
    sets = sorted(nodes["clusters"].values(), key=lambda node: cluster_order(node.key))
    return Molecules(crystal, unwrap_molecules(crystal, frames), tuple(node.to_science() for node in sets))


def _molecules_provenance(nodes: Nodes) -> dict[str, Provenance]:
    if "molecular_crystal" not in nodes:
        return {}
    clusters = {f"{names.FINITE_SUBSYSTEMS}/{node.key}": provenance_of(node) for node in nodes["clusters"].values()}
    return {names.MOLECULAR_CRYSTAL: provenance_of(nodes["molecular_crystal"])} | clusters


def _phonon_sections(nodes: Nodes, quasi_harmonic: Nodes | None) -> list[Section]:
    """The sampling, preceded by its force constants where no quasi-harmonic section has them."""
    settings = PhononSampling(**nodes["settings"].get_dict())
    frames = as_science(nodes["trajectory"])
    modes = as_science(nodes["modes"])
    counts = ("n_below_window", "n_imaginary", "n_repeated_frames")
    molecules = _molecules(nodes, frames)
    frames_group = names.FRAMES if molecules is None else f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}"
    provenance = _molecules_provenance(nodes) | {
        "": provenance_of(nodes["settings"], "settings"),
        frames_group: provenance_of(nodes["trajectory"]),
        names.MODES: provenance_of(nodes["modes"]),
    }
    constants = nodes["modes"].creator.inputs.force_constants
    key = None if quasi_harmonic is None else _key_of(constants, quasi_harmonic)
    before = [] if key is not None else [_lone_force_constants(constants, settings.force_constants_key)]
    section = PhononSection(
        root_key=settings.root_key,
        temperature_K=settings.temperature_K,
        statistics=settings.statistics,
        modes=Modes(**{field.name: modes[field.name] for field in fields(Modes)}),
        frames=frames if molecules is None else None,
        molecules=molecules,
        force_constants_key=key or settings.force_constants_key,
        provenance=provenance,
        **{name: int(modes[name]) for name in counts},
    )
    return [*before, section]


def _key_of(constants: orm.Data, quasi_harmonic: Nodes) -> str | None:
    """Path of these force constants in the quasi-harmonic section; None if it does not have them."""
    settings = FreeEnergy(**quasi_harmonic["settings"].get_dict())
    for name, crystal in crystals(quasi_harmonic, settings).items():
        if crystal["force_constants"].uuid == constants.uuid:
            return force_constants_key(settings.root_key, name)
    return None


def _lone_force_constants(node: orm.Data, key: str) -> QuasiHarmonicSection:
    parts = key.strip("/").split("/")
    if len(parts) < 4 or parts[-1] != names.FORCE_CONSTANTS_GROUP or parts[-3] != names.PHONONS:
        form = f"ROOT/{names.PHONONS}/CRYSTAL/{names.FORCE_CONSTANTS_GROUP}"
        raise InvalidSettings(f"PhononSampling.force_constants_key = {key!r}: give a path of the form {form}.")
    group = "/".join(parts[-3:])
    return QuasiHarmonicSection(
        root_key="/".join(parts[:-3]),
        force_constants={parts[-2]: node.to_science()},
        provenance={group: provenance_of(node)},
    )


def provenance_of(node: orm.Data, prefix: str = "node") -> Provenance:
    """Provenance of a node: its uuid, the process that made it, and the model and structure of that process."""
    found: dict[str, Attribute | None] = {f"{prefix}_uuid": node.uuid, f"{prefix}_type": type(node).__name__}
    if isinstance(node, orm.Dict):
        found[prefix] = json.dumps(node.get_dict(), sort_keys=True)
    creator = node.creator
    if creator is not None:
        found |= _facts_of_creator(creator.uuid)
    return found


@lru_cache(maxsize=64)
def _facts_of_creator(uuid: str) -> Provenance:
    """The process, its model and structure, and its versions; the clusters of a stage ask for the same ones."""
    creator = cast("orm.ProcessNode", orm.load_node(uuid))
    facts: dict[str, Attribute | None] = {"process_uuid": creator.uuid, "process_label": creator.process_label}
    inputs = _inputs_of(creator)
    facts |= _model_of(inputs)
    told = creator.base.links.get_outgoing(link_label_filter="run_info").first()
    info = inputs.get("run_info") if told is None else told.node  # labels of several jobs: of the first of them
    facts |= _versions(info.get_dict()) if isinstance(info, orm.Dict) else {}
    return facts


def _inputs_of(process: orm.ProcessNode | None) -> dict[str, orm.Data]:
    """Inputs by link label, in one query."""
    links = [] if process is None else process.base.links.get_incoming(node_class=orm.Data).all()
    return {link.link_label: cast("orm.Data", link.node) for link in links}


def _model_of(inputs: Mapping[str, orm.Data]) -> dict[str, Attribute | None]:
    model = inputs.get("model")
    found: dict[str, Attribute | None] = {}
    if model is not None:
        found["model_uuid"] = model.uuid
        found["model_sha256"] = getattr(model, "sha256", None)
    for name in ("structure", "supercell", "settings", "inference"):
        if name in inputs:
            found[f"{name}_uuid"] = inputs[name].uuid
    return found


def _versions(info: JsonObject) -> dict[str, Attribute | None]:
    kept = {key: info.get(key) for key in ("aiida_mbetrain", "python", "hostname")}
    described = {f"potential_{key}": value for key, value in (info.get("potential") or {}).items()}
    return {key: value for key, value in (kept | described).items() if isinstance(value, str | int | float)}
