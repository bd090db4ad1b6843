"""Section of a quasi-harmonic calculation, from its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from aiida import orm

from aiida_mbetrain.data.conversion import as_science
from aiida_mbetrain.data.crystals import Nodes, crystals, equilibrium_crystals, link_label, sampled_crystals
from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout import (
    equilibrium_table,
    fixed_volume_table,
    interpolated_table,
    sampled_table,
    with_sublimation,
)
from aiida_mbetrain.datasets.model import QuasiHarmonicSection
from aiida_mbetrain.datasets.tree import Provenance
from aiida_mbetrain.science.relaxation import MOLECULE_NAME
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import FreeEnergy

ProvenanceOf = Callable[..., Provenance]

TABLES = {
    names.THERMODYNAMICS_FIXED_VOLUME: "thermodynamics",
    names.THERMODYNAMICS_EQUILIBRIUM_VOLUME: "equilibrium",
    names.EOS_SAMPLED: "samples",
    names.EOS_INTERPOLATED: "equation_of_state",
}
"""The node behind a table."""
SUBLIMATION = {
    names.THERMODYNAMICS_FIXED_VOLUME: "sublimation",
    names.THERMODYNAMICS_EQUILIBRIUM_VOLUME: "sublimation_equilibrium",
}
"""The node whose columns a table takes where there is a molecule."""


def quasi_harmonic_section(nodes: Nodes, provenance_of: ProvenanceOf) -> QuasiHarmonicSection:
    """Structures, force constants, bands and tables of every crystal.

    nodes: the settings and outputs of the WorkChain.  provenance_of: attributes of a node.
    """
    settings = FreeEnergy(**nodes["settings"].get_dict())
    found = crystals(nodes, settings)
    table_of = {name: _table(name, crystal) for name, crystal in found.items()}
    [reference, *_] = table_of.values()
    tables = {names.THERMODYNAMICS_FIXED_VOLUME: reference}
    if "equation_of_state" in nodes:
        tables |= _expansion_tables(nodes, settings, table_of)
    for name, node in SUBLIMATION.items():
        if node in nodes:
            tables[name] = with_sublimation(tables[name], as_science(nodes[node]))
    structures = {name: crystal["relaxed"] for name, crystal in found.items()}
    if "molecule" in nodes:
        structures[MOLECULE_NAME] = nodes["molecule"]["relaxed"]
    return QuasiHarmonicSection(
        root_key=settings.root_key,
        structures={name: as_science(node) for name, node in structures.items()},
        force_constants={name: crystal["force_constants"].to_science() for name, crystal in found.items()},
        bands={name: as_science(crystal["phonon_bands"]) for name, crystal in found.items()},
        provenance=_provenance(nodes, structures, found, tables, provenance_of),
        **tables,
    )


def _table(name: str, crystal: Nodes) -> Table:
    return fixed_volume_table(
        as_science(crystal["thermodynamics"]),
        as_science(crystal["relaxed"]),
        crystal["force_constants"].to_science(),
        name,
    )


def _expansion_tables(nodes: Nodes, settings: FreeEnergy, table_of: Mapping[str, Table]) -> dict[str, Table]:
    sampled, equilibrium = sampled_crystals(nodes, settings), equilibrium_crystals(nodes, settings)
    account = nodes["samples"].get_dict()
    return {
        names.EOS_SAMPLED: sampled_table(
            [table_of[name] for name in sampled], [account[link_label(name)]["used"] for name in sampled]
        ),
        names.EOS_INTERPOLATED: interpolated_table(as_science(nodes["equation_of_state"])),
        names.THERMODYNAMICS_EQUILIBRIUM_VOLUME: equilibrium_table(
            [table_of[name] for name in equilibrium], as_science(nodes["equilibrium"])
        ),
    }


def _provenance(
    nodes: Nodes, structures: Nodes, found: Mapping[str, Nodes], tables: Iterable[str], provenance_of: ProvenanceOf
) -> dict[str, Provenance]:
    groups: dict[str, orm.Data] = {name: nodes[TABLES[name]] for name in tables}
    groups |= {f"{names.STRUCTURES}/{name}": node for name, node in structures.items()}
    for name, crystal in found.items():
        groups[f"{names.PHONONS}/{name}/{names.FORCE_CONSTANTS_GROUP}"] = crystal["force_constants"]
        groups[f"{names.PHONONS}/{name}/{names.BRILLOUIN_ZONE_PATH}"] = crystal["phonon_bands"]
    found_of = {group: provenance_of(node) for group, node in groups.items()}
    return found_of | {"": provenance_of(nodes["settings"], "settings")}
