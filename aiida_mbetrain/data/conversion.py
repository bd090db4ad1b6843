"""Conversion between nodes and science objects, by type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiida import orm

from aiida_mbetrain.data.arrays import ScienceArrayData
from aiida_mbetrain.data.bands import bands_from_structure, bands_to_structure
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.data.labelled_frames import LabelledFramesData
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.reference_labels import FragmentsData, ReferenceLabelsData
from aiida_mbetrain.data.structures import (
    structure_to_configurations,
    trajectory_from_configurations,
    trajectory_to_configurations,
)
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.science.clusters import ClusterSet
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.phonons import BandStructure, ForceConstants
from aiida_mbetrain.science.reference_labels import FragmentLabels, Fragments
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import LabelledFrames, ModelFile, ReplayFile

TO_NODE: dict[type, Callable[..., orm.Data]] = {
    Configurations: trajectory_from_configurations,
    MolecularCrystal: MolecularCrystalData.from_science,
    ClusterSet: ClusterSetData.from_science,
    ForceConstants: ForceConstantsData.from_science,
    BandStructure: bands_from_structure,
    Fragments: FragmentsData.from_science,
    FragmentLabels: ReferenceLabelsData.from_science,
    LabelledFrames: LabelledFramesData.from_science,
    ModelFile: MaceModelData.from_science,
    Table: TableData.from_science,
    dict: orm.Dict,
}

TO_SCIENCE: dict[type[orm.Data], Callable[..., object]] = {
    orm.StructureData: structure_to_configurations,
    orm.TrajectoryData: trajectory_to_configurations,
    orm.BandsData: bands_to_structure,
    orm.Dict: orm.Dict.get_dict,
    orm.SinglefileData: lambda node: ReplayFile(node.get_content(mode="rb"), node.filename),
    MaceModelData: MaceModelData.to_science,
}


def as_node(value: object) -> orm.Data:
    """An unstored node of a science object."""
    return TO_NODE[type(value)](value)


def as_science(node: orm.Data) -> Any:
    """The science object of a node."""
    return node.to_science() if isinstance(node, ScienceArrayData) else TO_SCIENCE[type(node)](node)
