"""Extended XYZ for training MACE: total eV, eV/Å, eV/Å³ under ``REF_`` keys, and a configuration file.

The keys start with ``REF_`` because ASE takes plain ``energy`` and ``forces`` out of ``info`` and ``arrays``.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import yaml
from ase import Atoms
from ase.data import chemical_symbols
from ase.io.extxyz import write_xyz

from aiida_mbetrain.datasets.training.frames import Entry
from aiida_mbetrain.datasets.training.reference_energies import E0s, elements_of, require_elements
from aiida_mbetrain.datasets.training.splits import SUBSETS, Split, split_entries
from aiida_mbetrain.errors import InvalidSettings, UnwritableOutput
from aiida_mbetrain.science.configurations import Configurations, IntArray

ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"
FORCES_WEIGHT = "config_forces_weight"
"""Weight of the forces of a frame for MACE; 0 where the method gives energies alone."""
ISOLATED_ATOM = "IsolatedAtom"
TRAIN_YAML = "train.yaml"
UNLABELLED = "configurations.xyz"
FRAMES_AT_ONCE = 1000

MACE = {
    "model": "MACE", "num_interactions": 2, "num_channels": 64, "max_L": 1, "correlation": 3, "r_max": 5.0,
    "loss": "universal", "energy_weight": 1, "forces_weight": 10, "stress_weight": 100,
    "batch_size": 4, "valid_batch_size": 8, "max_num_epochs": 200, "lr": 0.01, "scheduler": "ReduceLROnPlateau",
    "ema": True, "ema_decay": 0.99, "amsgrad": True, "clip_grad": 10.0,
    "default_dtype": "float64", "device": "cpu", "save_cpu": True, "error_table": "PerAtomRMSE", "plot": False,
}  # fmt: skip
"""Defaults of ``train.yaml``."""


@dataclass(frozen=True)
class Export:
    """Counts of an export: frames per file, and frames left out at seams or as duplicates."""

    folder: Path
    n_frames: Mapping[str, int] = field(default_factory=dict)
    n_left_out: int = 0


def write_training_files(
    folder: str | Path, entries: Sequence[Entry], e0s: E0s, *, split: Split, head: str | None = None, name: str = "mace"
) -> Export:
    """Write ``train.xyz``, ``valid.xyz``, ``test.xyz`` and ``train.yaml``; earlier files of these names are replaced.

    Isolated atoms with their E0s stand at the head of ``train.xyz``.  Raises InvalidSettings for entries without
    labels, for missing E0s and for an empty subset; UnwritableOutput.
    """
    _require_labels(entries)
    wanted = require_elements(e0s, elements_of(entries), "E0s")
    shares = split_entries(entries, split)
    counts = {
        subset: sum(int(np.count_nonzero(share == index)) for share in shares) for index, subset in enumerate(SUBSETS)
    }
    filled = {subset: n_frames for subset, n_frames in counts.items() if n_frames}
    target = _folder(folder)
    for index, subset in enumerate(SUBSETS):
        pairs = zip(entries, shares, strict=True)
        frames = (atoms for entry, share in pairs for atoms in _frames(entry, np.flatnonzero(share == index), head))
        first = isolated_atoms(wanted, head) if subset == "train" else []
        write_frames(target / f"{subset}.xyz", itertools.chain(first, frames) if subset in filled else None)
    options = train_yaml(wanted, filled, name=name, seed=split.seed, stress=_any_stress(entries), head=head)
    _write_text(target / TRAIN_YAML, options)
    n_frames = {f"{subset}.xyz": count for subset, count in filled.items()}
    return Export(target, n_frames, n_left_out=sum(int((share < 0).sum()) for share in shares))


def write_unlabelled(folder: str | Path, entries: Sequence[Entry]) -> Export:
    """Write ``configurations.xyz``: geometries and uids, for labels to be computed elsewhere, isolated atoms first."""
    target = _folder(folder)
    first = isolated_atoms(dict.fromkeys(elements_of(entries)))
    frames = (atoms for entry in entries for atoms in _frames(entry, np.arange(len(entry.rows)), None, labels=False))
    write_frames(target / UNLABELLED, itertools.chain(first, frames))
    return Export(target, {UNLABELLED: len(first) + sum(len(entry.rows) for entry in entries)})


def isolated_atoms(e0s: Mapping[int, float | None], head: str | None = None) -> list[Atoms]:
    """One isolated atom per element in the form that MACE reads, with its E0 unless that is None."""
    frames = []
    for z, energy in e0s.items():
        atoms = Atoms([z], positions=np.zeros((1, 3)))
        atoms.info.update(uid=f"isolated_{chemical_symbols[z]}", config_type=ISOLATED_ATOM, **_head(head))
        if energy is not None:
            atoms.info[ENERGY] = float(energy)
            atoms.arrays[FORCES] = np.zeros((1, 3))
        frames.append(atoms)
    return frames


def _frames(entry: Entry, rows: IntArray, head: str | None, *, labels: bool = True) -> Iterator[Atoms]:
    """Atoms of the frames of these rows."""
    whole = replace(entry, configurations=entry.configurations.with_(features=None))
    for start in range(0, len(rows), FRAMES_AT_ONCE):
        part = whole.select(rows[start : start + FRAMES_AT_ONCE])
        frames = part.configurations
        for row, uid in enumerate(part.uids):
            cell = None if frames.cells is None else frames.cells[row]
            atoms = Atoms(frames.numbers, frames.positions[row], cell=cell, pbc=frames.periodic)
            atoms.info.update(uid=uid, config_type=entry.config_type, **_head(head))
            if labels:
                _label(atoms, frames, row)
            yield atoms


def _head(head: str | None) -> dict[str, str]:
    return {} if head is None else {"head": head}


def _label(atoms: Atoms, frames: Configurations, row: int) -> None:
    assert frames.energies is not None
    atoms.info[ENERGY] = float(frames.energies[row])
    if frames.forces is None:
        atoms.info[FORCES_WEIGHT] = 0.0
    else:
        atoms.arrays[FORCES] = frames.forces[row]
    if frames.periodic and frames.stress is not None:
        atoms.info[STRESS] = frames.stress[row]


def _require_labels(entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.configurations.energies is None:
            raise InvalidSettings(f"{entry.path} has no energies: leave it out, or export without labels.")


def _any_stress(entries: Sequence[Entry]) -> bool:
    return any(entry.configurations.stress is not None for entry in entries)


def train_yaml(
    e0s: E0s, subsets: Mapping[str, object], *, name: str, seed: int, stress: bool, head: str | None = None
) -> str:
    """The configuration for ``mace_run_train --config train.yaml``, to be run in the folder of the files.

    A head has its files and E0s under ``heads``: MACE names the head of every frame after the files it came from,
    whatever the frame itself says.
    """
    data: dict[str, object] = {"train_file": "train.xyz"}
    data |= {"valid_file": "valid.xyz"} if "valid" in subsets else {"valid_fraction": 0.1}
    data |= {"test_file": "test.xyz"} if "test" in subsets else {}
    data["E0s"] = "{" + ", ".join(f"{z}: {value!r}" for z, value in e0s.items()) + "}"
    options: dict[str, object] = {"name": name, "seed": seed, "work_dir": "."}
    options |= {"energy_key": ENERGY, "forces_key": FORCES, "stress_key": STRESS}
    options |= data if head is None else {"heads": {head: data}}
    options |= MACE
    if not stress:  # finite clusters alone: there is nothing to fit
        del options["stress_weight"]
    comment = "# cd into this folder and run: mace_run_train --config train.yaml   (device: cuda on a GPU)\n"
    return comment + yaml.safe_dump(options, sort_keys=False)


def _folder(path: str | Path) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"The folder {folder} cannot be made: {error.strerror or error}.") from error
    return folder


def write_frames(path: Path, frames: Iterable[Atoms] | None) -> None:
    """Write an extended XYZ file under a temporary name and rename it; None: remove an earlier one.

    One frame at a time is in memory where they are made one by one.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        if frames is None:
            path.unlink(missing_ok=True)
            return
        with partial.open("w", encoding="utf-8") as file:
            write_xyz(file, frames)
        os.replace(partial, path)
    except OSError as error:
        raise UnwritableOutput(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UnwritableOutput(f"{path} cannot be written: {error.strerror or error}") from error
