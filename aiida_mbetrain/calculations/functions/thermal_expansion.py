"""The crystals of a quasi-harmonic calculation, and the equilibrium volumes that follow from them."""

from __future__ import annotations

import numpy as np
from aiida import orm

from aiida_mbetrain.calculations.cached_versions import calcfunction
from aiida_mbetrain.calculations.functions.in_process import exit_codes
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.crystals import Nodes, link_label
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.data.structures import structure_from_configurations
from aiida_mbetrain.errors import NotEnoughVolumes
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.thermodynamics import (
    HarmonicThermodynamics,
    SampledVolume,
    ThermalExpansion,
    equilibrium_name,
    filtered_by,
    sampled_names,
    strained_structure,
)
from aiida_mbetrain.science.thermodynamics import thermal_expansion as fit_thermal_expansion
from aiida_mbetrain.settings import FreeEnergy

CURVES = (
    "temperatures_K",
    "sampled_volumes",
    "sampled_free_energies",
    "curve_volumes",
    "curve_free_energies",
    "volumes",
    "free_energies",
)


@calcfunction
@exit_codes
def sampled_structures(force_constants: ForceConstantsData, settings: orm.Dict) -> dict[str, orm.Data]:
    """Starting structures of the sampled crystals: the primitive cell of the reference, scaled to each volume."""
    primitive = force_constants.to_science().primitive
    wanted = FreeEnergy(**settings.get_dict())
    ratios = wanted.volume_range if wanted.eos_sampling == "volume" else [1.0] * len(wanted.pressure_range)
    return {
        link_label(name): structure_from_configurations(strained_structure(primitive, ratio))
        for name, ratio in zip(sampled_names(wanted), ratios, strict=True)
    }


@calcfunction
@exit_codes
def thermal_expansion(
    force_constants: ForceConstantsData, relaxation: orm.Dict, settings: orm.Dict, failures: orm.Dict, **crystals: Nodes
) -> dict[str, orm.Data | dict[str, orm.StructureData]]:
    """Equilibrium volume, free energy and bulk modulus at FreeEnergy.temperatures_K.

    force_constants, relaxation: of the reference crystal.  crystals: by link label the nodes ``relaxed``,
    ``relaxation`` and ``thermodynamics`` of every sampled one.  failures: exit message of each of the others.
    Outputs: equilibrium (per temperature), curves (sampled points and fits), samples (which volumes entered the
    fits and what removed the others), structures (the start of the relaxation at V(T), by link label).
    """
    wanted = FreeEnergy(**settings.get_dict())
    names = [name for name in sampled_names(wanted) if link_label(name) in crystals]
    samples = [_sampled_volume(crystals[link_label(name)]) for name in names]
    space_group = relaxation["space_group"]
    try:
        found = fit_thermal_expansion(
            samples,
            wanted,
            space_group=space_group,
            reference_volume=float(force_constants.to_science().primitive.volumes[0]),
            pressure_GPa=wanted.pressure_GPa,
        )
    except NotEnoughVolumes as error:
        missing = "; ".join(f"{one['label']} failed: {one['removed_by']}" for one in failures.get_dict().values())
        raise NotEnoughVolumes(f"{error.message} {missing}".strip()) from None
    removed = filtered_by(samples, wanted, space_group=space_group)
    return {
        "equilibrium": as_node(Table(found.columns())),
        "curves": as_node(Table({name: getattr(found, name) for name in CURVES})),
        "samples": orm.Dict(_account(names, samples, removed, failures.get_dict())),
        "structures": _expanded(force_constants, found),
    }


def _sampled_volume(crystal: Nodes) -> SampledVolume:
    thermodynamics = HarmonicThermodynamics.from_columns(as_science(crystal["thermodynamics"]).columns)
    relaxed, space_group = as_science(crystal["relaxed"]), crystal["relaxation"]["space_group"]
    return SampledVolume.of(relaxed, space_group, thermodynamics)


def _account(
    names: list[str], samples: list[SampledVolume], removed: list[str], failures: dict[str, object]
) -> dict[str, object]:
    """Outcome of every sampled crystal, by link label."""
    return failures | {
        link_label(name): {
            "label": name,
            "used": not filtered,
            "removed_by": filtered or None,
            "volume_A3": sample.volume,
        }
        for name, sample, filtered in zip(names, samples, removed, strict=True)
    }


def _expanded(force_constants: ForceConstantsData, found: ThermalExpansion) -> dict[str, orm.StructureData]:
    """The reference's primitive cell scaled to V(T), for every temperature that has one."""
    primitive = force_constants.to_science().primitive
    return {
        link_label(equilibrium_name(temperature)): structure_from_configurations(
            strained_structure(primitive, volume / primitive.volumes[0])
        )
        for temperature, volume in zip(found.temperatures_K, found.volumes, strict=True)
        if np.isfinite(volume)
    }
