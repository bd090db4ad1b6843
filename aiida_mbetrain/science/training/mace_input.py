"""Input of ``mace_run_train``: extended XYZ of what each head learns, and the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.io import write

from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.training.frames import SUBSETS, TEST, TRAIN, VALID, LabelledFrames
from aiida_mbetrain.science.training.heads import Head
from aiida_mbetrain.settings import JsonObject

ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"
CONFIG = "train.yaml"
NAME = "trained"
FOUNDATION = "foundation.model"


@dataclass(frozen=True)
class Replay:
    """Configurations with labels of the baseline, less its isolated atoms, to train on and to validate with."""

    train: Sequence[Atoms]
    valid: Sequence[Atoms]


def write_mace_input(
    folder: Path,
    heads: Sequence[Head],
    fields: Mapping[str, Any],
    *,
    device: str,
    foundation: bool = False,
    replay: Replay | None = None,
) -> None:
    """Write a training and a validation set for each head and ``train.yaml``.

    E0s are zero in training, and energies are less those of isolated atoms, so that single precision does not round
    large energies.
    foundation: True where the training starts from the model ``foundation.model`` in the folder.
    """
    elements = set(heads[0].e0s) if fields.get("foundation_model_elements") else _elements_of(heads)
    if replay is not None:
        elements |= {int(z) for atoms in (*replay.train, *replay.valid) for z in atoms.numbers}
    # those of the model alone: MACE takes its number of elements from here in one place and from the frames in another
    zeros = "{" + ", ".join(f"{z}: 0.0" for z in sorted(elements)) + "}"
    files: dict[str, dict[str, str]] = {}
    for head in heads:
        files[head.name] = {"E0s": zeros}
        for subset in (TRAIN, VALID):
            name = f"{head.name}_{SUBSETS[subset]}.xyz"
            atoms = [_atoms(head, head.residuals, int(row)) for row in head.rows(subset)]
            write(folder / name, atoms, format="extxyz")
            files[head.name][f"{SUBSETS[subset]}_file"] = name
    options: JsonObject = {"name": NAME, "work_dir": ".", "energy_key": ENERGY, "forces_key": FORCES}
    options |= {"stress_key": STRESS, "heads": files, "restart_latest": True}
    if not all(head.with_forces[head.rows(TRAIN)].any() for head in heads):
        options["scaling"] = "std_scaling"  # the default divides by the mean square of the forces
    options |= {"device": device} | dict(fields)
    n_train = [len(head.rows(TRAIN)) for head in heads]
    if foundation:
        options["foundation_model"] = FOUNDATION
    if replay is not None:
        for key, part in (("pt_train_file", replay.train), ("pt_valid_file", replay.valid)):
            options[key] = f"{key}.xyz"
            write(folder / options[key], list(part), format="extxyz")
        n_train.append(len(replay.train))
    # MACE leaves out the last, incomplete batch: of a set that is smaller than one batch nothing would be left
    options["batch_size"] = min(int(fields["batch_size"]), *n_train)
    text = yaml.safe_dump(options, sort_keys=False)
    (folder / CONFIG).write_text(text, "utf-8")


def _elements_of(heads: Sequence[Head]) -> set[int]:
    """Atomic numbers that training and validation sets have."""
    parts = (head.frames.select(head.frames.subsets != TEST) for head in heads)
    return {int(z) for part in parts for z in part.elements}


def _atoms(head: Head, energies: FloatArray, row: int) -> Atoms:
    part = head.frames.atoms_of(row)
    atoms = Atoms(head.frames.numbers[part], head.frames.positions[part])
    atoms.info["uid"] = str(head.frames.uids[row])
    return label(atoms, float(energies[row]), head.forces[part] if head.with_forces[row] else None)


def label(atoms: Atoms, energy: float | None, forces: FloatArray | None, stress: FloatArray | None = None) -> Atoms:
    """The atoms themselves, with labels as MACE reads them; without forces with their weight 0."""
    if energy is not None:
        atoms.info[ENERGY] = float(energy)
    if forces is None:
        atoms.info["config_forces_weight"] = 0.0
    else:
        atoms.arrays[FORCES] = forces
    if stress is not None:
        atoms.info[STRESS] = stress
    return atoms


def subset_sizes(frames: LabelledFrames) -> dict[str, int]:
    """Clusters in each part of the split."""
    return {SUBSETS[subset]: int(np.count_nonzero(frames.subsets == subset)) for subset in (TRAIN, VALID, TEST)}


def rows_by_epoch(lines: Iterator[JsonObject]) -> dict[int, JsonObject]:
    """Validation errors by epoch from MACE's results file; the last one where an epoch was repeated."""
    return {int(line["epoch"]): line for line in lines if line.get("epoch") is not None}
