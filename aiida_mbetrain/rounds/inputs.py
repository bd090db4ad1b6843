"""Inputs of every round, and all that would be refused later, before the first job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.functions.active_learning import split_units
from aiida_mbetrain.campaigns.nodes import crystals_of_nodes, model_node, model_of_node
from aiida_mbetrain.campaigns.reading import names_node
from aiida_mbetrain.campaigns.refusals import Refusals
from aiida_mbetrain.campaigns.settings import CrystalEntry
from aiida_mbetrain.campaigns.sources import Crystal, crystals_of_files, model_of_file
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.structures import structure_from_configurations
from aiida_mbetrain.errors import FeaturesMissing, InvalidSettings, NotEnoughFrames
from aiida_mbetrain.rounds.settings import RoundsSettings, read_rounds
from aiida_mbetrain.science.stages import estimate_all, estimate_md
from aiida_mbetrain.science.training import TEST, TRAIN, VALID, mace_fields
from aiida_mbetrain.settings import IN_PROCESS, Inference, JsonObject, MDSampling, Settings
from aiida_mbetrain.workflows.base import check_inputs
from aiida_mbetrain.workflows.protocols import protocol_settings

SAMPLING = ("md_sampling", "quasi_harmonic", "phonon_sampling")


@dataclass(frozen=True, eq=False)
class Rounds:
    """Rounds that can start: settings, crystal and baseline as nodes, and the settings of the sampling by section."""

    settings: RoundsSettings
    structure: orm.StructureData
    baseline: MaceModelData
    sampling: Mapping[str, Settings]

    def record(self) -> JsonObject:
        """Plain values from which :meth:`of_record` makes the same rounds; crystal and baseline have to be stored."""
        return {
            "settings": self.settings.to_dict(),
            "structure": self.structure.uuid,
            "baseline": self.baseline.uuid,
        }

    @classmethod
    def of_record(cls, record: JsonObject) -> Self:
        """The rounds of a record."""
        settings = RoundsSettings(**record["settings"])
        structure, baseline = orm.load_node(record["structure"]), orm.load_node(record["baseline"])
        assert isinstance(structure, orm.StructureData)
        assert isinstance(baseline, MaceModelData)
        return cls(settings, structure, baseline, protocol_settings(settings.protocol, settings.overrides))

    def inputs(self, number: int, before: orm.ProcessNode | None) -> dict[str, Any]:
        """Inputs of a round; before: the finished one before it, None for the first.

        Every round has another seed of velocities and phases, so that it samples other configurations.
        """
        inputs: dict[str, Any] = {
            "structure": self.structure,
            "baseline": self.baseline,
            "model": self.baseline,
            "number": orm.Int(number),
            "inference": orm.Dict(self.sampling["inference"].to_dict()),
            "choice": orm.Dict(self.settings.choice.to_dict()),
            "reference": orm.Dict(self.settings.reference.to_dict()),
            "training": orm.Dict(self.settings.training.to_dict()),
            "n_jobs": orm.Int(self.settings.n_jobs),
        }
        for section in SAMPLING if self.settings.phonons else SAMPLING[:1]:
            inputs[section] = orm.Dict(with_seed(self.sampling[section].to_dict(), number))
        if before is not None:
            inputs |= {"model": before.outputs.sum, "frames": before.outputs.frames}
        if self.settings.code is not None:
            inputs["code"] = orm.load_code(self.settings.code)
            inputs["options"] = orm.Dict(self.settings.options)
        return inputs


def with_seed(values: JsonObject, number: int) -> JsonObject:
    """The values with every seed in them raised by the number of the round."""
    raised: JsonObject = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            raised[name] = with_seed(dict(value), number)
        else:
            raised[name] = (value + number) % 2**32 if name == "rng_seed" else value
    return raised


def prepare(path: str | Path) -> Rounds:
    """Read a file of rounds and refuse what cannot be computed; stores and starts nothing.

    Crystal and baseline are unstored nodes where they are new.

    Raises UnreadableFile, InvalidSettings, InvalidStructure, ElementsNotInModel, FeaturesMissing, NotEnoughFrames.
    """
    settings, folder = read_rounds(path), Path(path).parent
    if settings.reference.method.program not in IN_PROCESS:
        raise InvalidSettings(
            f"RoundsSettings.reference: {settings.reference.method.program} is run elsewhere, and rounds go on by "
            f"themselves: take one of {', '.join(IN_PROCESS)}."
        )
    mace_fields(settings.training)
    sampling = protocol_settings(settings.protocol, settings.overrides)
    inference, dynamics = sampling["inference"], sampling["md_sampling"]
    assert isinstance(inference, Inference)
    assert isinstance(dynamics, MDSampling)
    if inference.features == "none":
        raise FeaturesMissing("Inference.features = 'none': uncertainties are computed from features; give 'clusters'.")
    crystal = read_crystal(settings.crystal, folder)
    structure = crystal_node(crystal)
    baseline = read_baseline(settings.baseline, folder)
    check_inputs(structure, baseline)
    _require_enough(settings, crystal, dynamics)
    if settings.phonons:
        estimate_all(crystal.configurations, *(sampling[section] for section in SAMPLING))  # type: ignore[arg-type]
    return Rounds(settings, structure, baseline, sampling)


def read_crystal(source: int | str, folder: Path) -> Crystal:
    """The crystal of a file or node.  Raises InvalidCampaign with what is wrong with it."""
    refusals = Refusals()
    by_node = names_node(source, folder)
    entry = CrystalEntry(node=source) if by_node else CrystalEntry(files=(str(source),))
    found = crystals_of_nodes(entry, refusals) if by_node else crystals_of_files(entry, folder, refusals)
    refusals.raise_if_any()
    if len(found) != 1:
        raise InvalidSettings(f"RoundsSettings.crystal = {source!r} are {len(found)} crystals: give one.")
    return found[0]


def crystal_node(crystal: Crystal) -> orm.StructureData:
    """The node of a crystal; unstored where it is a file."""
    if crystal.uuid is not None:
        node = orm.load_node(crystal.uuid)
        assert isinstance(node, orm.StructureData)
        return node
    node = structure_from_configurations(crystal.configurations)
    node.label = crystal.name
    return node


def read_baseline(source: int | str, folder: Path) -> MaceModelData:
    """The registered model, or an unstored node of a new one.  Raises FeaturesMissing for anything without features."""
    if names_node(source, folder):
        node = model_node(model_of_node("baseline", source))
    else:
        model = model_of_file("baseline", str(source), folder)
        assert model.path is not None
        node = MaceModelData.of_digest(str(model.identity["sha256"])) or MaceModelData(model.path)
    if not isinstance(node, MaceModelData):
        raise FeaturesMissing(
            f"RoundsSettings.baseline = {source!r} is a {type(node).__name__}, and uncertainties are computed from the "
            "features of a MACE model: give one."
        )
    return node


def _require_enough(settings: RoundsSettings, crystal: Crystal, dynamics: MDSampling) -> None:
    """Raise unless the dynamics of the first round has the clusters that are asked for."""
    if dynamics.finite_subsystem_filter is None:
        raise InvalidSettings("MDSampling.finite_subsystem_filter = None: rounds choose among clusters; give a filter.")
    if settings.phonons:
        return  # how many modes there are is known when the crystal is relaxed
    size, choice = estimate_md(crystal.configurations, dynamics), settings.choice
    [subsets] = split_units({"md_sampling": np.arange(size.n_frames)}, choice).values()
    for name, subset in (("clusters_per_round", TRAIN), ("n_validation", VALID), ("n_test", TEST)):
        n_frames = int((subsets == subset).sum())
        available = n_frames * (size.n_clusters // size.n_frames)
        if (wanted := getattr(choice, name)) > available:
            raise NotEnoughFrames(
                f"ActiveLearning.{name} = {wanted}, and of the {size.n_frames} frames of the first round {n_frames} "
                f"with {available} clusters are for it: ask for fewer, or raise time_total_fs of the dynamics."
            )
