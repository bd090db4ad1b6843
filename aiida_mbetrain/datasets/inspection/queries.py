"""Queries on a dataset file alone, without a profile and AiiDA.  Results are rows of plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aiida_mbetrain.datasets import names
from aiida_mbetrain.datasets.hdf5 import opened, origin_of
from aiida_mbetrain.datasets.model import Dataset
from aiida_mbetrain.datasets.tree import Attribute, Group
from aiida_mbetrain.errors import InvalidSettings

Row = dict[str, Any]
"""Plain values by name, ready for a table, JSON or CSV."""


def file_datasets(path: str | Path) -> list[Row]:
    """Sections of a file: one row each, with model and crystal.  Raises UnreadableFile."""
    with opened(path) as root:
        return [
            {
                "section": where,
                "kind": section.attributes[names.SECTION],
                "entries": sum(1 for _, group in section.walk() if names.DATACLASS in group.attributes),
                "model_sha256": _said(root, where, "model_sha256"),
                "structure": _said(root, where, "crystal_formula"),
                "structure_uuid": _said(root, where, "crystal_uuid"),
                "settings_uuid": section.provenance.get("settings_uuid"),
            }
            for where, section in sections_of(root)
        ]


def file_origin(path: str | Path, entry: str, frame: int) -> Row:
    """Origin of one frame as a flat row.  Raises UnreadableFile, InvalidSettings."""
    origin = origin_of(path, entry, frame)
    row: Row = {"entry": origin.entry, "frame": origin.frame, "section": origin.section, **origin.source}
    if origin.molecule_indices:
        row["molecule_indices"] = list(origin.molecule_indices)
        row["lattice_translations"] = [list(translation) for translation in origin.translations]
    for where, said in origin.provenance.items():
        row |= {f"{where or 'file'}: {name}": value for name, value in said.items()}
    return row


def unlabelled(dataset: Dataset, level_of_theory: str) -> list[Row]:
    """Cluster sets with the frames that have no label of a reference method, one row each, the complete ones too.

    ``unlabelled``: numbers of the frames.  ``missing_fragments``: distinct calculations that these lack, as far as the
    method was tried.
    """
    rows: list[Row] = []
    for path, clusters in dataset.cluster_sets.items():
        n_frames = len(clusters.configurations)
        labels = dataset.references.get(path, {}).get(level_of_theory)
        lacking = np.arange(n_frames) if labels is None else np.flatnonzero(~np.isfinite(labels.energies))
        fragments = set() if labels is None else {name for words in labels.missing for name in words.split()}
        rows.append(
            {
                "entry": path,
                "n_frames": n_frames,
                "n_labelled": n_frames - len(lacking),
                "unlabelled": ranges(lacking),
                "missing_fragments": len(fragments),
            }
        )
    return rows


def file_destinations(path: str | Path, trajectory: str) -> list[Row]:
    """Cluster sets made from the trajectory of a section, one row each.

    trajectory: path of the section or of anything in it.  Raises UnreadableFile; InvalidSettings if there is none.
    """
    with opened(path) as root:
        where = trajectory.strip("/")
        found = [item for item in sections_of(root) if where == item[0] or where.startswith(f"{item[0]}/")]
        if not found:
            known = ", ".join(name for name, _ in sections_of(root))
            raise InvalidSettings(f"{path} has no section {where!r}: it has {known}.")
        section_path, section = max(found, key=lambda item: len(item[0]))
        n_frames = _n_frames(section)
        subsystems = section.groups.get(names.FINITE_SUBSYSTEMS, Group()).groups
        return [_destination(f"{section_path}/{names.FINITE_SUBSYSTEMS}/{key}", subsystems[key], n_frames)
                for key in sorted(subsystems)]  # fmt: skip


def _n_frames(section: Group) -> int:
    places = (names.TRAJECTORY, names.FRAMES, f"{names.MOLECULAR_CRYSTAL}/{names.SUPERCELL}")
    counts: list[Any] = [section[place].attributes[names.N_FRAMES] for place in places if place in section]
    return int(counts[0]) if counts else 0


def _destination(path: str, clusters: Group, n_frames: int) -> Row:
    structure = clusters[names.CLUSTER_OF_MOLECULES]
    frames = structure[names.ORIGIN].array("frame") if names.ORIGIN in structure else np.arange(n_frames)
    return {
        "entry": path,
        "labelled": names.E_POT in structure.datasets,
        "n_frames": len(frames),
        "frames": ranges(frames),
        "missing": ranges(np.setdiff1d(np.arange(n_frames), frames)),
    }


def sections_of(root: Group) -> Iterator[tuple[str, Group]]:
    """Sections of a file with their paths."""
    return ((path, group) for path, group in root.walk() if names.SECTION in group.attributes)


def _said(root: Group, section: str, name: str) -> Attribute | None:
    """Value of an attribute: of the first of the section's groups that has it, else of the file."""
    said = (group.provenance[name] for _, group in root[section].walk() if name in group.provenance)
    return next(said, root.provenance.get(name))


def frame_facts(origin: Mapping[str, ArrayLike], frame: int, where: str) -> Row:
    """Row of a frame in an ``origin``, in plain values.  Raises InvalidSettings if there is no such frame."""
    n_frames = len(np.atleast_1d(next(iter(origin.values()), [])))
    if not 0 <= frame < n_frames:
        raise InvalidSettings(f"{where} has {n_frames} frames, counted from 0: there is no frame {frame}.")
    return {name: np.asarray(values)[frame].tolist() for name, values in sorted(origin.items())}


def ranges(frames: ArrayLike) -> str:
    """``0-3, 7``: sorted numbers in runs."""
    numbers = np.unique(np.asarray(frames, dtype=np.int64))
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
