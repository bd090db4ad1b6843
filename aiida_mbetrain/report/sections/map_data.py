"""Data of the map of clusters: points, coordinates, crystals and origins, as ``map.js`` reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.data import chemical_symbols

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.tree import Group
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.report.embedding import ChosenSet, bonds_of_cluster, packed, quantised
from aiida_mbetrain.report.source import Source
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecules import detect_molecules

MOST_CRYSTAL_ATOMS = 4000
"""Larger supercells are not drawn around a cluster."""
SOURCES = {"md_sampling": "dynamics", "phonon_sampling": "phonons"}
SAID = ("process_label", "process_uuid", "node_uuid", "potential_name", "model_sha256", "aiida_mbetrain")
"""Provenance of a cluster set that is shown beside a cluster."""
UNITS = {names.TIME: "time / fs", names.FREQUENCY: "frequency / THz", "amplitude (sigma)": "amplitude / σ"}


def map_data(source: Source, sets: list[ChosenSet], points: FloatArray) -> dict[str, object]:
    """Everything that map.js reads."""
    energies, bases = energies_above_lowest(sets)
    described, coordinates, offsets = [], [], []
    first = atoms_before = 0
    sections = list(dict.fromkeys(chosen.section_path for chosen in sets))
    for chosen, base in zip(sets, bases, strict=True):
        n_atoms = len(chosen.numbers)
        blocks = list(chosen.blocks(names.POSITIONS, chosen.frames[chosen.embedded]))
        positions = np.concatenate(blocks) if blocks else np.empty((0, n_atoms, 3))
        steps, quantum = quantised(positions)
        coordinates.append(steps.ravel())
        offset = np.full(len(chosen.frames), -1)
        offset[chosen.embedded] = atoms_before + n_atoms * np.arange(len(positions))
        offsets.append(offset)
        atoms_before += n_atoms * len(positions)
        described.append(
            _set_facts(chosen) | {"first": first, "quantum": quantum, "base": base,
                                  "section": sections.index(chosen.section_path)}
        )  # fmt: skip
        first += len(chosen.frames)
    by_path = {chosen.section_path: chosen.section for chosen in sets}
    return {
        "file": source.file_name,
        "sets": described,
        "sections": [_crystal(path, by_path[path]) for path in sections],
        "x": packed(points[:, 0], "f4"),
        "y": packed(points[:, 1], "f4"),
        "energy": packed(np.concatenate(energies), "f4"),
        "force": packed(np.concatenate([largest_forces(chosen) for chosen in sets]), "f4"),
        "row": packed(np.concatenate([chosen.frames for chosen in sets]), "i4"),
        "offset": packed(np.concatenate(offsets), "i4"),
        "coordinates": packed(np.concatenate(coordinates), "i2"),
        "unit": _unit_cell(source),
        "symbols": list(chemical_symbols),
    }


def energies_above_lowest(sets: list[ChosenSet]) -> tuple[list[FloatArray], list[float]]:
    """Energies per atom above the lowest of the same composition, meV; and that lowest one, eV.  nan: not labelled."""
    found, kinds = [], []
    for chosen in sets:
        stored = chosen.structure.datasets.get(names.E_POT)
        count = len(chosen.frames)
        found.append(np.full(count, np.nan) if stored is None else chosen.structure.array(names.E_POT)[chosen.frames])
        elements, counts = np.unique(chosen.numbers, return_counts=True)
        kinds.append((tuple(elements), tuple(counts // np.gcd.reduce(counts))))
    lowest = {
        kind: min((float(values.min()) for values, other in zip(found, kinds, strict=True)
                   if other == kind and len(values)), default=np.nan)
        for kind in set(kinds)
    }  # fmt: skip
    relative = [1000.0 * (values - lowest[kind]) for values, kind in zip(found, kinds, strict=True)]
    return relative, [lowest[kind] if np.isfinite(lowest[kind]) else 0.0 for kind in kinds]


def largest_forces(chosen: ChosenSet) -> FloatArray:
    """Largest force on an atom of each chosen frame, eV/Å; nan where there are no forces."""
    if names.FORCES not in chosen.structure.datasets:
        return np.full(len(chosen.frames), np.nan)
    return np.concatenate([np.linalg.norm(block, axis=-1).max(axis=1) for block in chosen.blocks(names.FORCES)])


def _set_facts(chosen: ChosenSet) -> dict[str, object]:
    attributes = chosen.group.attributes
    molecules = chosen.group.array(names.MOLECULE_INDICES)
    crystal = chosen.section.groups.get(names.MOLECULAR_CRYSTAL)
    bonds = np.empty((0, 2)) if crystal is None else bonds_of_cluster(crystal, molecules)
    return {
        "path": chosen.path,
        "key": chosen.key,
        "source": SOURCES[chosen.kind],
        "temperature": temperature_of(chosen),
        "size": len(molecules),
        "orbit": attributes.get(names.ORBIT),
        "multiplicity": attributes.get(names.MULTIPLICITY),
        "repeated": attributes[names.N_REPEATED_MOLECULES],
        "molecules": molecules.tolist(),
        "translations": chosen.group.array(names.LATTICE_TRANSLATIONS).tolist(),
        "numbers": packed(chosen.numbers, "u1"),
        "bonds": packed(bonds, "u2"),
        "central": _atoms_of_first(crystal, molecules),
        "count": len(chosen.frames),
        "origin": _origin(chosen),
        "said": _said(chosen),
    }


def temperature_of(chosen: ChosenSet) -> object:
    if chosen.kind == "md_sampling":
        return chosen.section[names.TRAJECTORY].attributes[names.TARGET_TEMPERATURE]
    return chosen.section.attributes[names.TEMPERATURE]


def _atoms_of_first(crystal: Group | None, molecules: np.ndarray) -> int:
    return 0 if crystal is None else int((crystal.array(names.INDEX_MAP)[molecules[0]] >= 0).sum())


def _origin(chosen: ChosenSet) -> list[dict[str, object]]:
    """Columns about the chosen frames: name, values, width."""
    if names.ORIGIN not in chosen.structure:
        return []
    origin = chosen.structure[names.ORIGIN]
    columns: list[dict[str, object]] = []
    for name in sorted(origin.datasets):
        values = origin.array(name)[chosen.frames]
        column: dict[str, object] = {"name": UNITS.get(name, name.replace("_", " ")), "flag": values.dtype.kind == "b"}
        width = int(np.prod(values.shape[1:], dtype=int))
        if values.dtype.kind in "ib":
            columns.append(column | {"width": width, "values": packed(values, "i4")})
        elif values.dtype.kind == "f":
            columns.append(column | {"width": width, "values": packed(values, "f4")})
        else:
            columns.append(column | {"width": 1, "texts": [str(value) for value in values.tolist()]})
    return columns


def _said(chosen: ChosenSet) -> Mapping[str, object]:
    """Provenance of the set, or of the nearest group around it that has some."""
    for group in (chosen.structure, chosen.group, chosen.section):
        if group.provenance:
            return {name: str(group.provenance[name]) for name in SAID if name in group.provenance}
    return {}


def _crystal(path: str, section: Group) -> dict[str, object]:
    """The reference crystal around the clusters of a section, molecules whole; only its path where it is too large."""
    if names.MOLECULAR_CRYSTAL not in section:
        return {"path": path}
    crystal = section[names.MOLECULAR_CRYSTAL]
    reference = crystal[names.REFERENCE]
    numbers = reference.array(names.ATOMIC_NUMBERS)
    if len(numbers) > MOST_CRYSTAL_ATOMS:
        return {"path": path}
    steps, quantum = quantised(reference.array(names.POSITIONS).reshape(-1, 3))
    index_map = crystal.array(names.INDEX_MAP)
    molecule = np.zeros(len(numbers), dtype=np.int64)
    for i, atoms in enumerate(index_map):
        molecule[atoms[atoms >= 0]] = i
    return {
        "path": path,
        "cell": reference.array(names.CELL_VECTORS).reshape(3, 3).tolist(),
        "numbers": packed(numbers, "u1"),
        "positions": packed(steps, "i2"),
        "quantum": quantum,
        "bonds": packed(crystal.array(names.BONDS), "u2"),
        "molecule": packed(molecule, "u2"),
    }


def _unit_cell(source: Source) -> dict[str, object] | None:
    """The first relaxed crystal, molecules whole; None where there is none, or where it has no whole molecules."""
    for _, section in source.sections("quasi_harmonic"):
        for group in section.groups.get(names.STRUCTURES, Group()).groups.values():
            positions = group.array(names.POSITIONS).reshape(1, -1, 3)
            cell = group.array(names.CELL_VECTORS).reshape(-1, 3, 3)[:1]
            structure = Configurations(group.array(names.ATOMIC_NUMBERS), positions, cells=cell)
            try:
                crystal = detect_molecules(structure, assert_identical_composition=False)
            except MbetrainError:
                return None
            steps, quantum = quantised(crystal.positions)
            return {
                "cell": crystal.cell.tolist(),
                "numbers": packed(crystal.numbers, "u1"),
                "positions": packed(steps, "i2"),
                "quantum": quantum,
                "bonds": packed(crystal.bonds, "u2"),
                "molecule": packed(crystal.molecule_of_atom, "u2"),
            }
    return None
