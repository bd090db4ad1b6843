"""A dataset as a list of entries: frames of the same atoms, each with a uid and the unit of the split it belongs to.

Two frames are *related* when one contains the other (nested clusters, the crystal they were cut from), when they lie
along the same normal mode, or when they are neighbours in time.  Validation on a frame
related to a training frame underestimates the error.  Every frame therefore carries its *unit*, the smallest set of
frames that a split may move: an MD frame, or all frames of one mode.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.model import Dataset, MDSection, Molecules, PhononSection, QuasiHarmonicSection, Section
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.configurations import Configurations, IntArray
from aiida_mbetrain.science.thermodynamics import force_constants_key

SOURCES = {"md": MDSection, "phonons": PhononSection, "quasi_harmonic": QuasiHarmonicSection}
"""Name on the command line -> kind of section."""

REPEATED = 1e-6
"""Parent frames whose atoms are nearer than this (Å) are duplicates."""


@dataclass(frozen=True, eq=False)
class Lineage:
    """The frames that a section was cut from, as units of a split.

    key: path of the section.  n_units: their number.
    unit_of_frame: unit of every parent frame, (P,); -1 for one that repeats an earlier frame.
    ordered: units follow one another in time, so that neighbours are related.
    temperature_K: of the sampling; None for relaxed crystals.
    """

    key: str
    n_units: int
    unit_of_frame: IntArray
    ordered: bool
    temperature_K: float | None = None


@dataclass(frozen=True, eq=False)
class Entry:
    """Frames of the same atoms from one place of the dataset.

    path: group in the file, such as ``training/md_sampling/crystal[...]/finite_subsystems/n=3``.
    source: ``md``, ``phonons`` or ``quasi_harmonic``.  config_type: ``md_n_3``, ``phonon_crystal``, ...
    n_molecules: None for the crystal.
    parents: parent frame of each frame, (F,).  rows: its number within the place in the dataset, (F,), counted
        from 0; they differ from 0 ... F-1 where frames were left out.
    """

    path: str
    source: str
    config_type: str
    n_molecules: int | None
    configurations: Configurations
    lineage: Lineage
    parents: IntArray
    rows: IntArray

    @property
    def units(self) -> IntArray:
        """Unit of each frame within its lineage, (F,); -1 for repeated frames."""
        return self.lineage.unit_of_frame[self.parents]

    @property
    def uids(self) -> list[str]:
        """The uid of each frame; see :func:`frame_uids`."""
        return frame_uids(self.path, self.configurations, self.rows)

    def select(self, frames: IntArray, **changes: object) -> Entry:
        """The given frames (indices), with fields of their configurations replaced."""
        configurations = self.configurations.select(frames).with_(**changes)
        return replace(self, configurations=configurations, parents=self.parents[frames], rows=self.rows[frames])


def frame_uids(path: str, configurations: Configurations, rows: IntArray) -> list[str]:
    """Digests of frames: 80 bits of the sha256 of path, number in the dataset and geometry, in hexadecimal.

    The same from nodes and from their HDF5 file.  Starts with a letter: extended XYZ would read some hexadecimal
    digests as numbers.
    """
    numbers = configurations.numbers.astype("<i8").tobytes()
    uids = []
    for frame, row in enumerate(rows):
        digest = hashlib.sha256(f"{path}\0{row}\0".encode() + numbers)
        digest.update(configurations.positions[frame].astype("<f8").tobytes())
        if configurations.cells is not None:
            digest.update(configurations.cells[frame].astype("<f8").tobytes())
        uids.append("u" + digest.hexdigest()[:20])
    return uids


def entries_of(
    dataset: Dataset, *, sources: Sequence[str] | None = None, sizes: Sequence[int] | None = None
) -> list[Entry]:
    """The entries of a dataset in the order of their paths.

    sources: some of ``SOURCES``; None: md and phonons.  sizes: numbers of molecules, 0 for the crystal; None: all.
    Raises InvalidSettings for an unknown source, and if nothing is left.
    """
    wanted = check_sources(sources or ("md", "phonons"))
    found = [entry for section in dataset.sections for entry in _entries(section) if entry.source in wanted]
    chosen = [entry for entry in found if sizes is None or (entry.n_molecules or 0) in sizes]
    if not chosen:
        there = sorted({f"{entry.source} {entry.n_molecules or 'crystal'}" for entry in found})
        raise InvalidSettings(
            f"No entry of the dataset has sources = {','.join(wanted)} and sizes = {sizes}: "
            f"there are {', '.join(there) or 'none of these sources'} (size 0 is the crystal)."
        )
    return sorted(chosen, key=lambda entry: entry.path)


def check_sources(sources: Sequence[str]) -> tuple[str, ...]:
    """The sources themselves; raises InvalidSettings for an unknown one."""
    unknown = [name for name in sources if name not in SOURCES]
    if unknown:
        raise InvalidSettings(f"sources: {', '.join(unknown)} is none of {', '.join(SOURCES)}.")
    return tuple(dict.fromkeys(sources))


def _entries(section: Section) -> Iterator[Entry]:
    if isinstance(section, MDSection):
        lineage = _trajectory_lineage(section)
        path = f"{section.group}/{names.TRAJECTORY}"
        yield _crystal_entry(path, "md", "md", section.trajectory, lineage)
        yield from _cluster_entries(section.group, "md", "md", section.molecules, lineage)
    elif isinstance(section, PhononSection):
        frames, path = section.frames, f"{section.group}/{names.FRAMES}"
        if section.molecules is not None:
            frames = section.molecules.frames
            path = f"{section.group}/{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}"
        assert frames is not None
        lineage = _phonon_lineage(section, frames)
        yield _crystal_entry(path, "phonons", "phonon", frames, lineage)
        yield from _cluster_entries(section.group, "phonons", "phonon", section.molecules, lineage)
    else:
        for label, structure in section.structures.items():
            path = f"{section.group}/{names.STRUCTURES}/{label}"
            lineage = Lineage(path, len(structure), np.arange(len(structure)), ordered=False)
            yield _crystal_entry(path, "quasi_harmonic", "quasi_harmonic", structure, lineage)


def _crystal_entry(path: str, source: str, prefix: str, frames: Configurations, lineage: Lineage) -> Entry:
    kind = "crystal" if frames.periodic else "molecule"
    rows = np.arange(len(frames))
    return Entry(path, source, f"{prefix}_{kind}", None, frames, lineage, parents=rows, rows=rows)


def _cluster_entries(
    group: str, source: str, prefix: str, molecules: Molecules | None, lineage: Lineage
) -> Iterator[Entry]:
    for clusters in () if molecules is None else molecules.clusters:
        key, frames = clusters.cluster.key, clusters.configurations
        parents = np.asarray(frames.origin.get("frame", np.arange(len(frames))), dtype=np.int64)
        yield Entry(
            path=f"{group}/{names.FINITE_SUBSYSTEMS}/{key}",
            source=source,
            config_type=f"{prefix}_{re.sub(r'[^A-Za-z0-9]+', '_', key)}",
            n_molecules=clusters.cluster.n_molecules,
            configurations=frames,
            lineage=lineage,
            parents=parents,
            rows=np.arange(len(frames)),
        )


def _trajectory_lineage(section: MDSection) -> Lineage:
    """Units of a trajectory: every frame, numbered in the order of time."""
    frames = section.trajectory
    units = np.argsort(np.argsort(frames.origin["time_fs"], kind="stable"), kind="stable")
    return Lineage(section.group, len(frames), units.astype(np.int64), True, section.temperature_K)


def _phonon_lineage(section: PhononSection, frames: Configurations) -> Lineage:
    """Units of phonon frames: all frames of one mode, or every frame where all modes are superposed."""
    origin = frames.origin
    modes = np.stack([origin["q_index"], origin["mode"]], axis=1)
    if np.all(origin["q_index"] < 0):
        units = np.arange(len(frames))
    else:
        units = np.unique(modes, axis=0, return_inverse=True)[1].reshape(-1)
    n_units = int(units.max(initial=-1)) + 1
    kept = np.where(_repeats(frames, units), -1, units).astype(np.int64)
    return Lineage(section.group, n_units, kept, False, section.temperature_K)


def _repeats(frames: Configurations, units: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Frames equal to an earlier one of another unit, such as the undisplaced frame of every mode's amplitude grid."""
    first: dict[bytes, int] = {}
    owners: list[int] = []
    for block in frames.blocks():
        rounded = np.rint(frames.positions[block] / REPEATED).astype(np.int64)
        digests = (hashlib.sha256(row).digest() for row in rounded)
        owners += [first.setdefault(digest, int(unit)) for digest, unit in zip(digests, units[block], strict=True)]
    repeated: NDArray[np.bool_] = np.asarray(owners, dtype=np.int64) != units
    return repeated


def select_sections(
    dataset: Dataset,
    *,
    sources: Sequence[str] | None = None,
    sizes: Sequence[int] | None = None,
    features: bool = True,
) -> Dataset:
    """A part of a dataset: some sources, some cluster sizes, with or without features.

    Raises InvalidSettings where nothing is left.
    """
    wanted = tuple(SOURCES[name] for name in check_sources(sources or tuple(SOURCES)))
    kept = [section for section in dataset.sections if isinstance(section, wanted)]
    if not kept:
        raise InvalidSettings(f"The dataset has no section of sources = {','.join(sources or ())}.")
    selected = tuple(_with_features(_with_sizes(section, sizes), keep=features) for section in kept)
    chosen = Dataset(selected, dataset.provenance)
    if sizes is not None and dataset.cluster_sets and not chosen.cluster_sets:
        raise InvalidSettings(f"No cluster of the dataset has sizes = {', '.join(map(str, sizes))}.")
    return _without_dangling_keys(chosen)


def _with_sizes(section: Section, sizes: Sequence[int] | None) -> Section:
    if sizes is None or isinstance(section, QuasiHarmonicSection) or section.molecules is None:
        return section
    clusters = tuple(item for item in section.molecules.clusters if item.cluster.n_molecules in sizes)
    kept = {item.cluster.key for item in clusters}
    left_out = tuple(
        f"{names.FINITE_SUBSYSTEMS}/{item.cluster.key}/"
        for item in section.molecules.clusters
        if item.cluster.key not in kept
    )
    provenance = {path: said for path, said in section.provenance.items() if not f"{path}/".startswith(left_out)}
    references = {key: found for key, found in section.molecules.references.items() if key in kept}
    molecules = replace(section.molecules, clusters=clusters, references=references)
    return replace(section, molecules=molecules, provenance=provenance)


def _with_features(section: Section, *, keep: bool) -> Section:
    if keep:
        return section
    changes: dict[str, Any] = {}
    if isinstance(section, QuasiHarmonicSection):
        structures = {label: item.with_(features=None) for label, item in section.structures.items()}
        return replace(section, structures=structures)
    if section.molecules is not None:
        clusters = [
            replace(item, configurations=item.configurations.with_(features=None))
            for item in section.molecules.clusters
        ]
        frames = section.molecules.frames.with_(features=None)
        changes["molecules"] = replace(section.molecules, frames=frames, clusters=tuple(clusters))
    name = "trajectory" if isinstance(section, MDSection) else "frames"
    frames_of_section = getattr(section, name)
    if frames_of_section is not None:
        changes[name] = frames_of_section.with_(features=None)
    return replace(section, **changes)


def _without_dangling_keys(dataset: Dataset) -> Dataset:
    """Remove ``force_constants_key`` from phonon sections whose force constants were left out."""
    known = {
        force_constants_key(section.root_key, label)
        for section in dataset.quasi_harmonic
        for label in section.force_constants
    }
    sections = tuple(
        replace(section, force_constants_key=None)
        if isinstance(section, PhononSection) and section.force_constants_key not in known
        else section
        for section in dataset.sections
    )
    return Dataset(sections, dataset.provenance)
