"""Molecules and the clusters cut from frames."""

from __future__ import annotations

from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.cluster_set import ClusterSetData, link_label
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.science.clusters import extract_clusters as extract
from aiida_mbetrain.science.molecules import detect_molecules as detect
from aiida_mbetrain.science.phonons import ForceConstants
from aiida_mbetrain.settings import FiniteSubsystemFilter


@calcfunction
@exit_codes
def detect_molecules(structure: orm.Data, settings: orm.Dict) -> orm.Data:
    """The molecules of a crystal by its bond graph; settings: a FiniteSubsystemFilter.

    structure: a StructureData, or ForceConstantsData for the supercell they belong to.
    """
    crystal = as_science(structure)
    if isinstance(crystal, ForceConstants):
        crystal = crystal.supercell
    wanted = FiniteSubsystemFilter(**settings.get_dict())
    return as_node(
        detect(
            crystal,
            bond_tolerance=wanted.bond_tolerance,
            assert_identical_composition=wanted.assert_identical_composition,
        )
    )


@calcfunction
@exit_codes
def extract_clusters(
    frames: orm.TrajectoryData, molecular_crystal: MolecularCrystalData, settings: orm.Dict
) -> dict[str, orm.Data]:
    """The clusters of every frame by the rule of a FiniteSubsystemFilter: one ClusterSetData per size."""
    sets = extract(molecular_crystal.to_science(), as_science(frames), FiniteSubsystemFilter(**settings.get_dict()))
    return {link_label(item.cluster.key): ClusterSetData.from_science(item) for item in sets}
