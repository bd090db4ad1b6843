"""Lattice energy of the static crystal: fragments of its orbits, and the sum over them."""

from __future__ import annotations

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_mbetrain.calculations.functions.in_process import exit_codes, load_potential, report_for
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.reference_labels import (
    LatticeExpansion,
    MoleculeStates,
    baseline_labels,
    expand_lattice,
    lattice_energies,
    merge_labels,
    split_by_cost,
)
from aiida_mbetrain.settings import Inference, JsonObject, ReferenceLabels


def expansion_of_crystal(crystal: MolecularCrystal, settings: ReferenceLabels, cutoffs: JsonObject) -> LatticeExpansion:
    """The expansion; cutoffs: Å by number of molecules, as text, which is what a stored Dict has.

    Raises InvalidSettings for cutoffs that are none, and for the counterpoise scheme ``cp``, which has no orbits.
    """
    if settings.counterpoise == "cp":
        raise InvalidSettings("counterpoise = 'cp' needs a cluster, and a crystal is none: give 'none' or 'vmfc'.")
    try:
        numbers = {int(n): float(cutoff) for n, cutoff in cutoffs.items()}
    except (TypeError, ValueError) as error:
        raise InvalidSettings(f"cutoffs = {cutoffs}: give Å by number of molecules ({error}).") from error
    states = MoleculeStates.of(crystal, settings.charges, settings.multiplicities)
    return expand_lattice(crystal, numbers, counterpoise=settings.counterpoise, states=states)


@calcfunction
@exit_codes
def lattice_fragments(
    molecular_crystal: MolecularCrystalData, settings: orm.Dict, cutoffs: orm.Dict, n_jobs: orm.Int, **inputs: Nodes
) -> dict[str, orm.Data]:
    """Fragments of a static crystal that have no label yet, in bundles of about equal cost.

    inputs: namespace ``known`` (ReferenceLabelsData).  Outputs: ``bundle_0`` ... and ``summary``; no bundle where all
    is known.
    """
    wanted = ReferenceLabels(**settings.get_dict())
    expansion = expansion_of_crystal(as_science(molecular_crystal), wanted, cutoffs.get_dict())
    known = [as_science(node) for _, node in sorted(inputs.get("known", {}).items())]
    missing = np.flatnonzero(~merge_labels(expansion.fragments, wanted.method.hash, known).labelled)
    summary = {
        "n_orbits": len(expansion.orders),
        "n_clusters_per_cell": int(expansion.per_cell.sum()),
        "n_fragments": len(expansion.fragments),
        "n_known": len(expansion.fragments) - len(missing),
    }
    bundles = split_by_cost(expansion.fragments.select(missing), n_jobs.value)
    return {f"bundle_{i}": as_node(bundle) for i, bundle in enumerate(bundles)} | {"summary": orm.Dict(summary)}


@calcfunction
@exit_codes
def lattice_energy(
    molecular_crystal: MolecularCrystalData,
    model: orm.Data,
    inference: orm.Dict,
    settings: orm.Dict,
    cutoffs: orm.Dict,
    **inputs: Nodes,
) -> dict[str, orm.Data]:
    """Lattice energy at the level of the reference, from labels of the crystal's fragments.

    inputs: namespace ``labels`` (ReferenceLabelsData).  The baseline labels the fragments and the periodic crystal
    here.  Outputs: ``convergence``, a table by order and extent, and ``summary``.  Raises LabelsMissing.
    """
    wanted, crystal = ReferenceLabels(**settings.get_dict()), as_science(molecular_crystal)
    expansion = expansion_of_crystal(crystal, wanted, cutoffs.get_dict())
    parts = [as_science(node) for _, node in sorted(inputs["labels"].items())]
    reference = merge_labels(expansion.fragments, wanted.method.hash, parts)
    potential = load_potential(model, Inference(**inference.get_dict()))
    baseline = baseline_labels(expansion.fragments, potential, report=report_for("labels"))
    periodic = Configurations(crystal.numbers, crystal.positions[None], cells=crystal.cell[None])
    (evaluated,) = potential.evaluate([periodic])
    energy = float(np.asarray(evaluated.energies)[0])
    found = lattice_energies(expansion, reference, baseline, energy)
    molecules = expansion.orders == 1
    isolated = float((expansion.per_cell * (expansion.coefficients @ baseline.energies))[molecules].sum())
    summary = {
        "level_of_theory": wanted.name if wanted.order is not None else wanted.method.name,
        "programs": list(reference.programs),
        "crystal_energy_eV": found.crystal_energy,
        "lattice_energy_eV": found.lattice_energy,
        "baseline_lattice_energy_eV": (energy - isolated) / expansion.n_molecules,
        "n_molecules": expansion.n_molecules,
    }
    return {"convergence": as_node(found.convergence), "summary": orm.Dict(summary)}
