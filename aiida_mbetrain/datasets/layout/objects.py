"""Layout of frames, molecules, clusters and labels in the file: one function to write each to a tree, one to read it.

Energies are per atom in the file and total in the objects (``per_atom`` and ``total``).
"""

from __future__ import annotations

import numpy as np
from ase import units

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import ClusterReference
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.science.clusters import Cluster, ClusterSet
from aiida_mbetrain.science.configurations import AnyArray, Configurations, FloatArray
from aiida_mbetrain.science.molecules import MolecularCrystal
from aiida_mbetrain.science.tables import Table

OPTIONAL = {"forces": names.FORCES, "stress": names.STRESS, "velocities": names.VELOCITIES}


def per_atom(totals: AnyArray, n_atoms: int) -> FloatArray:
    """Extensive quantities divided by the number of atoms."""
    return np.asarray(totals, dtype=np.float64) / n_atoms


def total(values: AnyArray, n_atoms: int) -> FloatArray:
    """The inverse of :func:`per_atom`, such that ``per_atom(total(x)) == x`` bit for bit.

    ``x * n / n`` may differ from x in the last digit; of the neighbours of ``x * n`` the nearest one that
    divides back is taken, so a file that is read and written again does not change.
    """
    totals = np.asarray(values, dtype=np.float64) * n_atoms
    lower, upper = np.nextafter(totals, -np.inf), np.nextafter(totals, np.inf)
    exact = [totals / n_atoms == values, lower / n_atoms == values, upper / n_atoms == values]
    return np.select(exact, [totals, lower, upper], default=totals)


def from_structure(frames: Configurations) -> Group:
    """A STRUCTURE group; one frame has positions (N, 3), a constant cell is written once."""
    group = _common(frames)
    group.attributes |= {names.DATACLASS: "Structure"}
    group.datasets[names.POSITIONS] = frames.positions[0] if len(frames) == 1 else frames.positions
    if frames.cells is not None:
        constant = len(frames) > 0 and np.array_equal(
            frames.cells, np.broadcast_to(frames.cells[0], frames.cells.shape)
        )
        group.datasets[names.CELL_VECTORS] = frames.cells[0] if constant else frames.cells
    return group


def to_structure(group: Group) -> Configurations:
    """The inverse of :func:`from_structure` and of the structural part of :func:`from_trajectory`."""
    n_frames, n_atoms = int(group.attributes[names.N_FRAMES]), int(group.attributes[names.N_ATOMS])  # type: ignore[arg-type]
    fields: dict[str, AnyArray] = {
        field: group.array(name) for field, name in OPTIONAL.items() if name in group.datasets
    }
    if names.E_POT in group.datasets:
        fields["energies"] = total(group.array(names.E_POT), n_atoms)
    if names.FEATURE_VECTORS in group.datasets:
        fields["features"] = group.datasets[names.FEATURE_VECTORS][()]  # in the precision of the file
    if group.attributes[names.PERIODIC]:
        cells = group.array(names.CELL_VECTORS)
        fields["cells"] = np.broadcast_to(cells, (n_frames, 3, 3))
    return Configurations(
        numbers=group.array(names.ATOMIC_NUMBERS),
        positions=group.array(names.POSITIONS).reshape(n_frames, n_atoms, 3),
        origin=_to_origin(group),
        isotope_masses=group.array(names.MASSES),
        dynamical_masses=group.array(names.DYNAMICAL_MASSES) if names.DYNAMICAL_MASSES in group.datasets else None,
        **fields,
    )


def _common(frames: Configurations) -> Group:
    group = Group(
        attributes={
            names.N_FRAMES: frames.n_frames,
            names.N_ATOMS: frames.n_atoms,
            names.PERIODIC: frames.periodic,
            names.FEATURE_VECTORS_TYPE: "none" if frames.features is None else "atomic",
        },
        datasets={names.ATOMIC_NUMBERS: frames.numbers, names.MASSES: frames.masses},
    )
    if frames.dynamical_masses is not None:
        group.datasets[names.DYNAMICAL_MASSES] = frames.dynamical_masses
    if frames.energies is not None:
        group.datasets[names.E_POT] = per_atom(frames.energies, frames.n_atoms)
    if frames.features is not None:
        group.datasets[names.FEATURE_VECTORS] = frames.features
    group.datasets |= {name: value for field, name in OPTIONAL.items() if (value := getattr(frames, field)) is not None}
    if frames.origin:
        columns = {names.ORIGIN_COLUMNS.get(key, key): value for key, value in frames.origin.items()}
        group.groups[names.ORIGIN] = Group(datasets=columns)
    return group


def _to_origin(group: Group) -> dict[str, AnyArray]:
    if names.ORIGIN not in group.groups:
        return {}
    fields = {name: key for key, name in names.ORIGIN_COLUMNS.items()}
    origin = group.groups[names.ORIGIN]
    return {fields.get(name, name): origin.array(name) for name in origin.datasets}


def drift_energies(frames: Configurations) -> FloatArray:
    """Kinetic energy of the motion of the centre of mass, (F,), eV: zero in exact arithmetic."""
    assert frames.velocities is not None
    masses = frames.masses if frames.dynamical_masses is None else frames.dynamical_masses
    parts = [np.einsum("n,fnk->fk", masses, frames.velocities[block] / units.fs) for block in frames.blocks()]
    momenta = np.concatenate(parts)
    energies: FloatArray = np.einsum("fk,fk->f", momenta, momenta) / (2 * masses.sum())
    return energies


def from_trajectory(frames: Configurations, series: Table) -> Group:
    """A trajectory group: frames with velocities, and of the series what belongs to their times.

    The caller adds the attributes of the ensemble and, for NPT, ``volumes_and_pressures``.
    """
    group = _common(frames)
    group.attributes |= {names.DATACLASS: "Trajectory"}
    at = rows_at(series, frames.origin["time_fs"])
    group.datasets |= {
        names.POSITIONS: frames.positions,
        names.CELL_VECTORS: frames.cells,
        names.TIME: frames.origin["time_fs"],
        names.TEMPERATURE: series["temperature_K"][at],
        names.E_KIN: per_atom(series["kinetic_energy_eV"][at], frames.n_atoms),
        names.E_TRANS_DRIFT: per_atom(drift_energies(frames), frames.n_atoms),
    }
    return group


def rows_at(series: Table, times_fs: AnyArray) -> AnyArray:
    """Row of the series for each time; raises ValueError for a time that the series does not hold."""
    known = np.asarray(series["time_fs"], dtype=np.float64)
    rows = np.minimum(np.searchsorted(known, np.asarray(times_fs) - 1e-6), max(len(known) - 1, 0))
    missing = np.ones(len(rows), dtype=bool) if len(known) == 0 else np.abs(known[rows] - times_fs) > 1e-6
    if missing.any():
        raise ValueError(
            f"The series has no row at t = {np.asarray(times_fs)[missing][0]} fs, where a frame was stored."
        )
    return rows


def from_series(series: Table, n_atoms: int) -> Group:
    """The thermodynamic series from t = 0, extensive columns per atom."""
    group = Group(attributes={names.N_ATOMS: n_atoms})
    for field, column in series.columns.items():
        name, extensive = names.SERIES_COLUMNS.get(field, (field, False))
        group.datasets[name] = per_atom(column, n_atoms) if extensive else column
    return group


def to_series(group: Group) -> Table:
    """The inverse of :func:`from_series`."""
    fields = {name: (field, extensive) for field, (name, extensive) in names.SERIES_COLUMNS.items()}
    columns = {}
    for name in group.datasets:
        field, extensive = fields.get(name, (name, False))
        values = group.array(name)
        columns[field] = total(values, int(group.attributes[names.N_ATOMS])) if extensive else values  # type: ignore[arg-type]
    return Table(columns)


def from_molecular_crystal(crystal: MolecularCrystal, frames: Configurations) -> Group:
    """The molecules of the reference structure, and the frames in which every molecule is whole."""
    return Group(
        attributes={
            names.DATACLASS: "MolecularCrystal",
            names.N_MOLECULES: int(crystal.n_molecules),
            names.IDENTICAL_COMPOSITION: bool(crystal.identical_composition),
            names.CENTRAL_MOLECULE_INDEX: int(crystal.central_molecule_index),
        },
        datasets={
            names.CENTERS_OF_MASS: crystal.centers_of_mass,
            names.INDEX_MAP: crystal.index_map,
            names.MIN_DISTANCES: crystal.min_distances_to_central_molecule,
            names.MAX_DISTANCES: crystal.max_distances_to_central_molecule,
            names.IMAGE_OFFSETS: crystal.image_offsets,
            names.BONDS: crystal.bonds,
            names.BOND_OFFSETS: crystal.bond_offsets,
        },
        groups={names.SUPERCELL: from_structure(frames), names.REFERENCE: from_structure(crystal.reference)},
    )


def to_molecular_crystal(group: Group) -> tuple[MolecularCrystal, Configurations]:
    """The inverse of :func:`from_molecular_crystal`."""
    reference = to_structure(group[names.REFERENCE])
    assert reference.cells is not None
    crystal = MolecularCrystal(
        numbers=reference.numbers,
        positions=reference.positions[0],
        cell=reference.cells[0],
        image_offsets=group.array(names.IMAGE_OFFSETS),
        index_map=group.array(names.INDEX_MAP),
        bonds=group.array(names.BONDS),
        bond_offsets=group.array(names.BOND_OFFSETS),
        centers_of_mass=group.array(names.CENTERS_OF_MASS),
        central_molecule_index=int(group.attributes[names.CENTRAL_MOLECULE_INDEX]),  # type: ignore[arg-type]
        min_distances_to_central_molecule=group.array(names.MIN_DISTANCES),
        max_distances_to_central_molecule=group.array(names.MAX_DISTANCES),
        identical_composition=bool(group.attributes[names.IDENTICAL_COMPOSITION]),
        isotope_masses=reference.isotope_masses,
    )
    return crystal, to_structure(group[names.SUPERCELL])


def from_cluster_set(clusters: ClusterSet) -> Group:
    """All frames of one cluster: which molecules it is made of, and a STRUCTURE without cell."""
    cluster = clusters.cluster
    symmetry = {names.ORBIT: cluster.orbit, names.MULTIPLICITY: cluster.multiplicity}
    return Group(
        attributes={
            names.DATACLASS: "FiniteSubsystem",
            names.N_MOLECULES: len(cluster.molecule_indices),
            names.N_REPEATED_MOLECULES: int(cluster.n_repeated_molecules),
            **{name: value for name, value in symmetry.items() if value is not None},
        },
        datasets={
            names.MOLECULE_INDICES: cluster.molecule_indices,
            names.LATTICE_TRANSLATIONS: cluster.translations,
        },
        groups={names.CLUSTER_OF_MOLECULES: from_structure(clusters.configurations)},
    )


def to_cluster_set(key: str, group: Group) -> ClusterSet:
    """The inverse of ``from_cluster_set``; the key is the group's name."""
    cluster = Cluster(
        key=key,
        molecule_indices=group.array(names.MOLECULE_INDICES),
        translations=group.array(names.LATTICE_TRANSLATIONS),
        n_repeated_molecules=int(group.attributes[names.N_REPEATED_MOLECULES]),  # type: ignore[arg-type]
        orbit=group.attributes.get(names.ORBIT),  # type: ignore[arg-type]
        multiplicity=group.attributes.get(names.MULTIPLICITY),  # type: ignore[arg-type]
    )
    return ClusterSet(cluster=cluster, configurations=to_structure(group[names.CLUSTER_OF_MOLECULES]))


def from_reference(labels: ClusterReference, n_atoms: int) -> Group:
    """Labels of a cluster set by one reference method."""
    group = Group(
        attributes={
            names.DATACLASS: "ReferenceLabels",
            names.LEVEL_OF_THEORY: labels.level_of_theory,
            names.METHOD_HASH: labels.method_hash,
            names.N_FRAMES: len(labels.energies),
            names.N_LABELLED: labels.n_labelled,
            names.N_ATOMS: n_atoms,
        },
        datasets={
            names.E_POT: per_atom(labels.energies, n_atoms),
            names.MISSING_FRAGMENTS: np.array(labels.missing, dtype=object),
        },
    )
    if labels.forces is not None:
        group.datasets[names.FORCES] = labels.forces
    if labels.interaction is not None:
        group.datasets[names.E_INTERACTION] = labels.interaction
    return group


def to_reference(group: Group) -> ClusterReference:
    """The inverse of ``from_reference``."""
    optional = {"forces": names.FORCES, "interaction": names.E_INTERACTION}
    return ClusterReference(
        level_of_theory=str(group.attributes[names.LEVEL_OF_THEORY]),
        method_hash=str(group.attributes[names.METHOD_HASH]),
        energies=total(group.array(names.E_POT), group.integer(names.N_ATOMS)),
        missing=tuple(group.array(names.MISSING_FRAGMENTS).tolist()),
        **{field: group.array(name) if name in group.datasets else None for field, name in optional.items()},
    )
