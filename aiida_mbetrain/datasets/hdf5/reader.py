"""Reading datasets: whole, one cluster set at a time, or the origin of an entry alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5.file_tree import opened
from aiida_mbetrain.datasets.layout import cluster_order, to_cluster_set, to_dataset, to_reference
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Attribute, Group, array_digests
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.clusters import ClusterSet

SOURCES = (
    names.TRAJECTORY,
    names.FRAMES,
    names.MODES,
    names.MOLECULAR_CRYSTAL,
    f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}",
)
"""Groups of a section from which its clusters and frames were made."""


@dataclass(frozen=True)
class GroupSummary:
    """One object of the file: its path and type, and its numbers of frames and atoms (None: not applicable)."""

    path: str
    kind: str
    n_frames: int | None = None
    n_atoms: int | None = None


@dataclass(frozen=True)
class EntryOrigin:
    """Origin of one frame of one entry, as recorded in the file.

    source: MD step and time of the frame, or its q-point, mode, frequency and amplitude.
    molecule_indices, translations: the molecules of a cluster; empty for periodic frames.
    orbit, multiplicity: of the cluster in the reference crystal.
    provenance: by path, the attributes of every group around the entry, of the frames and molecules it was made
        from, and of the force constants of phonon frames.
    """

    entry: str
    frame: int
    section: str
    source: Mapping[str, object]
    n_molecules: int | None = None
    n_repeated_molecules: int | None = None
    orbit: str | None = None
    multiplicity: int | None = None
    molecule_indices: tuple[int, ...] = ()
    translations: tuple[tuple[int, ...], ...] = ()
    provenance: Mapping[str, Mapping[str, Attribute]] = field(default_factory=dict)


def read_dataset(path: str | Path, *, verify: bool = True, features: bool = True) -> Dataset:
    """Read the whole dataset into the containers it was made of; ``verify`` compares its digest first.

    features: False leaves out the feature vectors, which take most of the memory.
    Raises UnreadableFile.
    """
    with opened(path, verify=verify) as root:
        if verify:
            array_digests(root)
        for _, group in root.walk() if not features else ():
            group.datasets.pop(names.FEATURE_VECTORS, None)
        try:
            return to_dataset(root)
        except InvalidSettings as error:
            raise UnreadableFile(f"{path} is incomplete: {error}") from error


def validate(path: str | Path) -> None:
    """Raise UnreadableFile unless the file is a complete dataset whose content is what was written."""
    read_dataset(path)


def list_groups(path: str | Path) -> list[GroupSummary]:
    """Every object of the file, sorted by path.  Raises UnreadableFile."""
    with opened(path) as root:
        return [_summary(name, group) for name, group in root.walk() if names.DATACLASS in group.attributes]


def clusters(path: str | Path) -> Iterator[tuple[str, ClusterSet]]:
    """Every cluster set with its path, one in memory at a time.  Raises UnreadableFile."""
    with opened(path) as root:
        found = [
            (name, group) for name, group in root.walk() if group.attributes.get(names.DATACLASS) == "FiniteSubsystem"
        ]
        for name, group in sorted(found, key=lambda item: _cluster_path_order(item[0])):
            yield name, to_cluster_set(name.rpartition("/")[2], group)


def origin_of(path: str | Path, entry: str, frame: int) -> EntryOrigin:
    """The origin of a frame of an entry.

    entry: path of a cluster set (``.../finite_subsystems/n=3``), trajectory or structure.
    Raises UnreadableFile; InvalidSettings for an entry or a frame that the file does not have.
    """
    with opened(path) as root:
        entry = entry.strip("/")
        group = _entry(root, entry)
        structure = group.groups.get(names.CLUSTER_OF_MOLECULES, group)
        n_frames = int(structure.attributes[names.N_FRAMES])  # type: ignore[arg-type]
        if not 0 <= frame < n_frames:
            raise InvalidSettings(f"{entry} has {n_frames} frames, counted from 0: there is no frame {frame}.")
        section = _section_of(root, entry)
        return EntryOrigin(
            entry=entry,
            frame=frame,
            section=section,
            source=_source(structure, frame) | _section_facts(root[section]),
            provenance=_provenance_around(root, entry, section),
            **_molecules_of(group),
        )


def reference_facts(path: str | Path, entry: str, frame: int, level_of_theory: str) -> dict[str, object]:
    """Label of a frame by a reference method, and its provenance: settings, programs, uuids of process and jobs.

    Raises UnreadableFile; InvalidSettings for a method that the entry has no labels of.
    """
    with opened(path) as root:
        known = _entry(root, entry.strip("/")).groups.get(names.REFERENCE_LABELS, Group()).groups
        group = known.get(names.method_group(level_of_theory))
        if group is None:
            there = ", ".join(str(item.attributes[names.LEVEL_OF_THEORY]) for item in known.values())
            raise InvalidSettings(f"{entry} has labels of {there or 'no method'}, and none of {level_of_theory!r}.")
        labels = to_reference(group)
        facts: dict[str, object] = {"energy_eV": float(labels.energies[frame]), "forces": labels.forces is not None}
        if labels.interaction is not None:
            facts["interaction_eV"] = float(labels.interaction[frame])
        if labels.missing[frame]:
            facts["missing_fragments"] = labels.missing[frame].split()
        return facts | {"method_hash": labels.method_hash} | group.provenance


def _molecules_of(group: Group) -> dict[str, Any]:
    if names.MOLECULE_INDICES not in group.datasets:
        return {}
    return {
        "n_molecules": group.attributes[names.N_MOLECULES],
        "n_repeated_molecules": group.attributes[names.N_REPEATED_MOLECULES],
        "orbit": group.attributes.get(names.ORBIT),
        "multiplicity": group.attributes.get(names.MULTIPLICITY),
        "molecule_indices": tuple(group.array(names.MOLECULE_INDICES).tolist()),
        "translations": tuple(tuple(row) for row in group.array(names.LATTICE_TRANSLATIONS).tolist()),
    }


def _source(structure: Group, frame: int) -> dict[str, object]:
    if names.ORIGIN not in structure.groups:
        return {}
    origin = structure.groups[names.ORIGIN]
    return {name: origin.datasets[name][frame].tolist() for name in sorted(origin.datasets)}


def _section_facts(section: Group) -> dict[str, Attribute]:
    """Temperature, pressure and force constants, which all frames of a section share."""
    trajectory = section.groups.get(names.TRAJECTORY, Group()).attributes
    wanted = (names.ENSEMBLE, names.TARGET_TEMPERATURE, names.TARGET_PRESSURE)
    facts = {name: trajectory[name] for name in wanted if name in trajectory}
    return facts | {name: value for name, value in section.attributes.items() if name != names.SECTION}


def _provenance_around(root: Group, entry: str, section: str) -> dict[str, dict[str, Attribute]]:
    paths = ["/".join(entry.split("/")[:depth]) for depth in range(len(entry.split("/")) + 1)]
    paths += [f"{section}/{name}" for name in SOURCES if name in root[section]]
    key = root[section].attributes.get(names.FORCE_CONSTANTS_KEY)
    paths += [] if key is None else [str(key)]
    return {path: root[path].provenance for path in dict.fromkeys(paths) if root[path].provenance}


def _section_of(root: Group, entry: str) -> str:
    parts = entry.split("/")
    enclosing = ["/".join(parts[:depth]) for depth in range(len(parts), 0, -1)]
    return next(path for path in enclosing if names.SECTION in root[path].attributes)


def _entry(root: Group, entry: str) -> Group:
    known = {path: group for path, group in root.walk() if _has_frames(group)}
    if entry not in known:
        near = difflib.get_close_matches(entry, known, n=1, cutoff=0.0)
        hint = f": did you mean {near[0]!r}?" if near else ", nor any other."
        raise InvalidSettings(f"The dataset has no entry {entry!r}{hint}")
    return known[entry]


def _has_frames(group: Group) -> bool:
    return names.POSITIONS in group.datasets or names.CLUSTER_OF_MOLECULES in group.groups


def _cluster_path_order(path: str) -> tuple[str, tuple[str, float, int]]:
    parent, _, key = path.rpartition("/")
    return parent, cluster_order(key)


def _summary(path: str, group: Group) -> GroupSummary:
    structure = group.groups.get(names.CLUSTER_OF_MOLECULES, group).attributes
    counts: dict[str, Any] = {key: structure.get(key) for key in (names.N_FRAMES, names.N_ATOMS)}
    return GroupSummary(path=path, kind=str(group.attributes[names.DATACLASS]), **counts)
