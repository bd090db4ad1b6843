"""Layout of sections in the file: for each kind one function to write it to a tree, one to read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.layout.objects import (
    from_cluster_set,
    from_molecular_crystal,
    from_reference,
    from_series,
    from_structure,
    from_trajectory,
    per_atom,
    rows_at,
    to_cluster_set,
    to_molecular_crystal,
    to_reference,
    to_series,
    to_structure,
)
from aiida_mbetrain.datasets.layout.phonons import (
    from_band_structure,
    from_force_constants,
    to_band_structure,
    to_force_constants,
)
from aiida_mbetrain.datasets.model import (
    Dataset,
    MDSection,
    Modes,
    Molecules,
    PhononSection,
    QuasiHarmonicSection,
    Section,
)
from aiida_mbetrain.datasets.tree import Facts, Group
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.tables import Table

SCHEMA_VERSION = 1
"""Version of the layout, an attribute of the file's root."""
TABLES = (
    names.THERMODYNAMICS_FIXED_VOLUME,
    names.THERMODYNAMICS_EQUILIBRIUM_VOLUME,
    names.EOS_SAMPLED,
    names.EOS_INTERPOLATED,
)
COUNTS = ("n_below_window", "n_imaginary", "n_repeated_frames")


def from_dataset(dataset: Dataset) -> Group:
    """The whole file, without its ``content_sha256``.

    Raises InvalidSettings if two sections have the same path, if provenance names no group, or if
    ``force_constants_key`` names no force constants.
    """
    root = Group(attributes={names.SCHEMA_VERSION: SCHEMA_VERSION})
    for section in dataset.sections:
        group = _WRITERS[type(section)](section)
        group.annotate(section.provenance)
        root.put(section.group, group)
    for section in dataset.phonons:
        key = section.force_constants_key
        if key is not None and key not in root:
            raise InvalidSettings(
                f"force_constants_key = {key!r} of {section.root_key} names no force constants of this dataset: "
                "add the quasi-harmonic section that has them, or give None."
            )
    root.annotate({"": dataset.provenance})
    return root


def to_dataset(root: Group) -> Dataset:
    """The inverse of :func:`from_dataset`; sections in the order of their paths."""
    found = [(path, group) for path, group in root.walk() if names.SECTION in group.attributes]
    sections = [_READERS[str(group.attributes[names.SECTION])](path, group) for path, group in found]
    return Dataset(sections=tuple(sections), provenance=dict(root.provenance))


def _put_molecules(group: Group, molecules: Molecules | None) -> None:
    if molecules is None:
        return
    group.groups[names.MOLECULAR_CRYSTAL] = from_molecular_crystal(molecules.crystal, molecules.frames)
    if molecules.clusters:
        subsystems = {clusters.cluster.key: from_cluster_set(clusters) for clusters in molecules.clusters}
        sizes = {clusters.cluster.key: clusters.configurations.n_atoms for clusters in molecules.clusters}
        for key, by_method in molecules.references.items():
            labelled = {names.method_group(name): from_reference(item, sizes[key]) for name, item in by_method.items()}
            subsystems[key].groups[names.REFERENCE_LABELS] = Group(groups=labelled)
        group.groups[names.FINITE_SUBSYSTEMS] = Group(groups=subsystems)


def _get_molecules(group: Group) -> Molecules | None:
    if names.MOLECULAR_CRYSTAL not in group:
        return None
    crystal, frames = to_molecular_crystal(group[names.MOLECULAR_CRYSTAL])
    subsystems = _children(group, names.FINITE_SUBSYSTEMS)
    clusters = tuple(to_cluster_set(key, subsystems[key]) for key in sorted(subsystems, key=cluster_order))
    references = {
        key: {item.level_of_theory: item for item in map(to_reference, found.values())}
        for key in subsystems
        if (found := _children(subsystems[key], names.REFERENCE_LABELS))
    }
    return Molecules(crystal=crystal, frames=frames, clusters=clusters, references=references)


def cluster_order(key: str) -> tuple[str, float, int]:
    """Sort key that puts ``n=2`` before ``n=2,c=2`` before ``n=10``."""
    base, _, index = key.partition(",c=")
    rule, _, value = base.partition("=")
    return rule, float(value), int(index or 1)


def _from_md(section: MDSection) -> Group:
    trajectory = from_trajectory(section.trajectory, section.series)
    trajectory.attributes |= {
        names.ENSEMBLE: section.ensemble,
        names.TARGET_TEMPERATURE: float(section.temperature_K),
        names.TIME_EQUILIBRATION: float(section.time_equilibration_fs),
        # Only the centre of mass is held: the angular momentum of a periodic cell is not conserved.
        names.N_REMOVED_TRANS_DOF: 3,
        names.N_REMOVED_ROT_DOF: 0,
    }
    if section.pressure_GPa is not None:
        at = rows_at(section.series, section.trajectory.origin["time_fs"])
        trajectory.attributes[names.TARGET_PRESSURE] = float(section.pressure_GPa)
        trajectory.datasets |= {
            names.PRESSURE: section.series["pressure_GPa"][at],
            names.VOLUME: per_atom(section.trajectory.volumes, section.trajectory.n_atoms),
        }
    group = Group(attributes={names.SECTION: "md_sampling"}, groups={names.TRAJECTORY: trajectory})
    group.groups[names.TIME_SERIES] = from_series(section.series, section.trajectory.n_atoms)
    _put_molecules(group, section.molecules)
    return group


def _to_md(path: str, group: Group) -> MDSection:
    trajectory = group[names.TRAJECTORY]
    facts: Facts = trajectory.attributes
    return MDSection(
        root_key=path.rpartition("/")[0],
        ensemble=facts[names.ENSEMBLE],
        temperature_K=facts[names.TARGET_TEMPERATURE],
        pressure_GPa=facts.get(names.TARGET_PRESSURE),
        time_equilibration_fs=facts[names.TIME_EQUILIBRATION],
        trajectory=to_structure(trajectory),
        series=to_series(group[names.TIME_SERIES]),
        molecules=_get_molecules(group),
        provenance=group.collect_provenance(),
    )


def _from_quasi_harmonic(section: QuasiHarmonicSection) -> Group:
    group = Group(attributes={names.SECTION: "quasi_harmonic"})
    for label, structure in section.structures.items():
        group.put(f"{names.STRUCTURES}/{label}", from_structure(structure))
    for label, constants in section.force_constants.items():
        group.put(f"{names.PHONONS}/{label}/{names.FORCE_CONSTANTS_GROUP}", from_force_constants(constants))
    for label, bands in section.bands.items():
        group.put(f"{names.PHONONS}/{label}/{names.BRILLOUIN_ZONE_PATH}", from_band_structure(bands))
    for name in TABLES:
        table = getattr(section, name)
        if table is not None:
            group.groups[name] = Group(datasets=dict(table.columns))
            if names.N_LEFT_OUT_MODES in table.columns:
                left_out = int(np.max(table[names.N_LEFT_OUT_MODES]))
                group.groups[name].attributes[names.N_LEFT_OUT] = left_out
    if section.eos_interpolated is not None:
        sampled, curve = section.eos_interpolated[names.V_SAMPLED], section.eos_interpolated[names.V_INTERP]
        group.groups[names.EOS_INTERPOLATED].attributes = {
            names.N_TEMPERATURES: int(np.shape(sampled)[0]),
            names.N_VOLUMES: int(np.shape(sampled)[1]),
            names.N_INTERP: int(np.shape(curve)[-1]),
        }
    return group


def _to_quasi_harmonic(path: str, group: Group) -> QuasiHarmonicSection:
    structures = _children(group, names.STRUCTURES)
    phonons = _children(group, names.PHONONS)
    constants = {label: item.groups.get(names.FORCE_CONSTANTS_GROUP) for label, item in phonons.items()}
    bands = {label: item.groups.get(names.BRILLOUIN_ZONE_PATH) for label, item in phonons.items()}
    return QuasiHarmonicSection(
        root_key=path,
        structures={label: to_structure(item) for label, item in structures.items()},
        force_constants={label: to_force_constants(item) for label, item in constants.items() if item is not None},
        bands={label: to_band_structure(item) for label, item in bands.items() if item is not None},
        provenance=group.collect_provenance(),
        **{name: _to_table(group[name]) for name in TABLES if name in group},
    )


def _children(group: Group, name: str) -> dict[str, Group]:
    return dict(sorted(group[name].groups.items())) if name in group else {}


def _to_table(group: Group) -> Table:
    return Table({name: group.array(name) for name in sorted(group.datasets)})


def _from_phonons(section: PhononSection) -> Group:
    group = Group(
        attributes={
            names.SECTION: "phonon_sampling",
            names.TEMPERATURE: float(section.temperature_K),
            names.STATISTICS: section.statistics,
            **{name: int(getattr(section, name)) for name in COUNTS},
        }
    )
    if section.force_constants_key is not None:
        group.attributes[names.FORCE_CONSTANTS_KEY] = section.force_constants_key
    if section.frames is not None:
        group.groups[names.FRAMES] = from_structure(section.frames)
    _put_molecules(group, section.molecules)
    modes = section.modes
    group.groups[names.MODES] = Group(
        attributes={names.SUPERPOSED: bool(modes.superposed)},
        datasets={
            names.Q_POINTS: modes.q_points,
            names.MODE_INDICES: modes.mode_indices,
            names.FREQUENCY: modes.frequencies_THz,
            names.SIGMA: modes.sigmas,
            names.AMPLITUDES: modes.mode_amplitudes,
        },
    )
    return group


def _to_phonons(path: str, group: Group) -> PhononSection:
    facts: Facts = group.attributes
    modes = group[names.MODES]
    return PhononSection(
        root_key=path,
        temperature_K=facts[names.TEMPERATURE],
        statistics=facts[names.STATISTICS],
        force_constants_key=facts.get(names.FORCE_CONSTANTS_KEY),
        modes=Modes(
            q_points=modes.array(names.Q_POINTS),
            mode_indices=modes.array(names.MODE_INDICES),
            frequencies_THz=modes.array(names.FREQUENCY),
            sigmas=modes.array(names.SIGMA),
            mode_amplitudes=modes.array(names.AMPLITUDES),
            superposed=bool(modes.attributes[names.SUPERPOSED]),
        ),
        frames=to_structure(group[names.FRAMES]) if names.FRAMES in group else None,
        molecules=_get_molecules(group),
        provenance=group.collect_provenance(),
        **{name: facts[name] for name in COUNTS},
    )


_WRITERS: dict[type, Callable[[Any], Group]] = {
    MDSection: _from_md,
    QuasiHarmonicSection: _from_quasi_harmonic,
    PhononSection: _from_phonons,
}
_READERS: dict[str, Callable[[str, Group], Section]] = {
    "md_sampling": _to_md,
    "quasi_harmonic": _to_quasi_harmonic,
    "phonon_sampling": _to_phonons,
}
