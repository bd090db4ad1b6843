"""An isolated molecule in process, and the sublimation of the crystal into it."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes, run_stage
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.structures import structure_from_configurations
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.science.configurations import AnyArray
from aiida_mbetrain.science.relaxation import IsolatedMolecule
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.thermodynamics import HarmonicThermodynamics, molecule_of, molecules_per_cell
from aiida_mbetrain.science.thermodynamics import sublimation as sublimate


@calcfunction
@exit_codes
def molecule_of_crystal(structure: orm.StructureData) -> orm.Data:
    """The first molecule of a crystal, whole and not periodic."""
    return structure_from_configurations(molecule_of(as_science(structure)))


@calcfunction
@exit_codes
def isolated_molecule(
    structure: orm.StructureData, model: orm.Data, settings: orm.Dict, inference: orm.Dict
) -> dict[str, orm.Data]:
    """Relax a molecule and compute its vibrations.

    Outputs: relaxed (a frame with energy and forces), vibrations (frequencies), summary (geometry, symmetry number,
    residual force), run_info.
    """
    return run_stage("isolated_molecule", model, inference, settings.get_dict(), structure=structure)


@calcfunction
@exit_codes
def sublimation(relaxed: orm.TrajectoryData, vibrations: TableData, summary: orm.Dict, **crystals: Nodes) -> orm.Data:
    """Sublimation energy, enthalpy and free energy of crystals, one row per crystal and temperature.

    relaxed, vibrations, summary: of the molecule.  crystals: the nodes ``relaxed`` and ``thermodynamics`` of each,
    under any names; rows are in the order of the temperatures.
    """
    facts = summary.get_dict()
    molecule = IsolatedMolecule(
        structure=as_science(relaxed),
        frequencies_THz=vibrations.get_array("frequency_THz"),
        **{name: facts[name] for name in ("geometry", "symmetry_number", "n_steps", "algorithm", "max_force")},
    )
    tables = [_of_crystal(crystal, molecule) for crystal in crystals.values()]
    columns = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    order = np.argsort(columns["temperature_K"])
    return as_node(Table({name: column[order] for name, column in columns.items()}))


def _of_crystal(crystal: Nodes, molecule: IsolatedMolecule) -> dict[str, AnyArray]:
    relaxed = as_science(crystal["relaxed"])
    vibrations = HarmonicThermodynamics.from_columns(as_science(crystal["thermodynamics"]).columns)
    share = vibrations.n_atoms / relaxed.n_atoms
    z = round(molecules_per_cell(relaxed, molecule.structure) * share)
    return sublimate(vibrations, float(relaxed.energies[0]) * share, z, molecule).columns()
