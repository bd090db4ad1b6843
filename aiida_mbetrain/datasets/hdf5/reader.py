"""Reading datasets: whole, one cluster set at a time, or the origin of an entry alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.arrays import StoredArray
from aiida_mbetrain.datasets.layout import SCHEMA_VERSION, cluster_order, to_cluster_set, to_dataset, to_reference
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Attribute, Group, array_digests, content_sha256, forget_inherited, plain
from aiida_mbetrain.errors import InvalidSettings, InvalidStructure, UnreadableFile
from aiida_mbetrain.science.clusters import ClusterSet

# What h5py and the containers raise on a file whose bytes are not what they were.
DAMAGE = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    AttributeError,
    AssertionError,
    MemoryError,
    InvalidStructure,
)

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


def read_dataset(path: str | Path, *, verify: bool = True) -> Dataset:
    """Read the whole dataset into the containers it was made of; ``verify`` compares its digest first.

    Raises UnreadableFile.
    """
    with opened(path, verify=verify) as root:
        if verify:
            array_digests(root)
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


def require_unchanged(path: str | Path, root: Group, digests: Mapping[tuple[str, str], str]) -> None:
    """Raise UnreadableFile unless an open file's content is what was written."""
    if content_sha256(root, digests) != root.attributes[names.CONTENT_SHA256]:
        raise UnreadableFile(f"{path} is damaged or was edited: its content does not give its content_sha256.")


@contextmanager
def opened(path: str | Path, *, verify: bool = True) -> Iterator[Group]:
    """Yield the tree of an open file; errors of h5py on a damaged file are raised as UnreadableFile.

    Attributes and the digests that the arrays state are compared with the digest of the file now, an array when it is
    read, so that a part costs no more than itself.  A file whose arrays state no digests is read as a whole.
    """
    if not Path(path).is_file():
        raise UnreadableFile(f"{path} does not exist or is not a file.")
    try:
        if not h5py.is_hdf5(path):
            raise UnreadableFile(f"{path} is not an HDF5 file.")
        with h5py.File(path, "r") as file:
            root = _read_root(file, compare=verify)
            _check_schema(path, root)
            if verify:
                require_unchanged(path, root, _stated_digests(root) or array_digests(root))
            forget_inherited(root)
            yield root
    except DAMAGE as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableFile(f"{path} is truncated, damaged or incomplete: {detail}") from error


@contextmanager
def verified(path: str | Path) -> Iterator[Group]:
    """The tree of an open file whose content is what was written.

    Damage is found before anything is handed out, so that errors of the caller keep their own names.
    Raises UnreadableFile.
    """
    with opened(path) as root:
        array_digests(root)
    with h5py.File(path, "r") as file:
        root = _read_root(file, compare=False)
        forget_inherited(root)
        yield root


def _stated_digests(root: Group) -> dict[tuple[str, str], str] | None:
    """Digests that the arrays of a file state; None where one of them states none, as in files of earlier versions."""
    stated = {(path, name): array.sha256 for path, group in root.walk() for name, array in group.datasets.items()}
    return None if None in stated.values() else stated


def _check_schema(path: str | Path, root: Group) -> None:
    version = root.attributes.get(names.SCHEMA_VERSION)
    if version is None or names.CONTENT_SHA256 not in root.attributes:
        raise UnreadableFile(f"{path} is an HDF5 file, but not a dataset of aiida-mbetrain: it has no schema_version.")
    if version != SCHEMA_VERSION:
        raise UnreadableFile(f"{path} has schema_version {version}; this version reads {SCHEMA_VERSION}.")


def _read_root(file: h5py.File, *, compare: bool) -> Group:
    """The tree of a file, without what the root says for people."""
    root = _read_group(file, compare=compare)
    for name in (names.TITLE, names.WRITTEN_BY, names.FORMAT):
        root.attributes.pop(name, None)
    return root


def _read_group(source: h5py.Group, *, compare: bool = True, seen: set[int] | None = None) -> Group:
    """The tree below a group.  Raises UnreadableFile for links to other files and places, and for circles of groups.

    compare: compare arrays with the digests that they state when they are read.
    """
    seen = set() if seen is None else seen
    address = h5py.h5o.get_info(source.id).addr
    if address in seen:
        raise UnreadableFile(f"The group {source.name} stands in the file twice, or contains itself: export it again.")
    seen.add(address)
    group = Group()
    for name, value in source.attrs.items():
        if name.startswith(names.PROVENANCE_PREFIX):
            group.provenance[name.removeprefix(names.PROVENANCE_PREFIX)] = plain(value)
        else:
            group.attributes[name] = plain(value)
    for name in source:
        where = f"{source.file.filename}: {source.name.rstrip('/')}/{name}"
        if source.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise UnreadableFile(f"{where} is a link to another place or file: replace it by what it links to.")
        item = source[name]
        if isinstance(item, h5py.Group):
            group.groups[name] = _read_group(item, compare=compare, seen=seen)
        else:
            group.datasets[name] = _stored_array(item, where, compare=compare)
    return group


def _stored_array(item: object, where: str, *, compare: bool) -> StoredArray:
    """An array of the file.  Raises UnreadableFile for one whose numbers lie elsewhere or nowhere."""
    if not isinstance(item, h5py.Dataset):
        raise UnreadableFile(f"{where} is neither a group nor an array.")
    if item.is_virtual or item.external is not None:
        raise UnreadableFile(f"The numbers of {where} lie in another file: copy them into this one.")
    if item.size and not item.id.get_storage_size():
        raise UnreadableFile(f"{where} has the shape {item.shape}, but no numbers.")
    stated = item.attrs.get(names.ARRAY_SHA256) if compare else None
    return StoredArray(item, where, None if stated is None else str(stated))
