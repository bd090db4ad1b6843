"""Energies and forces computed by another program, matched with their frames by uid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_mbetrain.datasets.training.extxyz import ENERGY, FORCES, ISOLATED_ATOM, STRESS
from aiida_mbetrain.datasets.training.frames import Entry
from aiida_mbetrain.datasets.training.label_units import require_plausible, require_same_units
from aiida_mbetrain.errors import InvalidSettings, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations, FloatArray, IntArray
from aiida_mbetrain.science.io import read_frames

SAME_GEOMETRY = 1e-3
"""Largest distance (Å) between an atom of a labelled frame and of the dataset: rounding in file formats."""


@dataclass(frozen=True, eq=False)
class Label:
    """One labelled frame: numbers (N,), positions (N, 3) Å, energy eV, forces (N, 3) eV/Å, stress (3, 3) eV/Å³.

    forces: None for an energy-only label, as methods without gradients give.
    """

    numbers: IntArray
    positions: FloatArray
    energy: float
    forces: FloatArray | None
    stress: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class ExternalLabels:
    """Labels by uid, and the E0s (eV, by atomic number) of the same level of theory if the file has them."""

    where: str
    frames: Mapping[str, Label]
    e0s: Mapping[int, float] = field(default_factory=dict)

    @property
    def n_energy_only(self) -> int:
        """Frames without forces."""
        return sum(label.forces is None for label in self.frames.values())


def read_labels(path: str | Path, *, energy_key: str = ENERGY, forces_key: str = FORCES) -> ExternalLabels:
    """Read labels from an extended XYZ file with a ``uid`` per frame; atoms of config_type IsolatedAtom are E0s.

    Energies and forces come from the keys, or where they are absent from plain ``energy`` and ``forces``; stress from
    ``REF_stress`` or ``stress``.  A frame without forces has an energy-only label.  Raises UnreadableFile for a foreign
    or damaged file, for frames without uid or energy, and where forces stand under another name.
    """
    labelled = read_frames(path, what="a complete extended XYZ file", index=":", format="extxyz")
    frames: dict[str, Label] = {}
    e0s: dict[int, float] = {}
    for index, atoms in enumerate(labelled):
        where = f"{path}, frame {index}"
        uid = atoms.info.get("uid")
        if uid is None:
            raise UnreadableFile(f"{where} has no uid: label the frames that export-xyz --no-labels wrote.")
        if uid in frames:
            raise UnreadableFile(f"{where}: the uid {uid} stands twice in the file.")
        energy = _energy(atoms, energy_key, where)
        if atoms.info.get("config_type") == ISOLATED_ATOM:
            if len(atoms) != 1:
                raise UnreadableFile(f"{where} is an isolated atom with {len(atoms)} atoms: give one.")
            require_plausible(energy, None, 1, where)
            e0s[int(atoms.numbers[0])] = energy
        else:
            forces = _forces(atoms, forces_key, where)
            require_plausible(energy, forces, len(atoms), where)
            frames[str(uid)] = Label(atoms.numbers, atoms.positions, energy, forces, _stress(atoms, where))
    if not frames:
        raise UnreadableFile(f"{path} has no labelled frames.")
    labels = ExternalLabels(str(path), frames, e0s)
    if forces_key != FORCES and labels.n_energy_only == len(frames):
        raise UnreadableFile(f"{path}: no frame has {forces_key}; leave the key out if the labels are energies alone.")
    return labels


def _energy(atoms: Atoms, key: str, where: str) -> float:
    results = {} if atoms.calc is None else atoms.calc.results
    value = atoms.info.get(key, results.get("energy"))
    try:
        energy = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UnreadableFile(f"{where} has no energy: neither {key} nor energy is a number.") from None
    if not np.isfinite(energy):
        raise UnreadableFile(f"{where}: the energy is {energy}.")
    return energy


def _forces(atoms: Atoms, key: str, where: str) -> FloatArray | None:
    results = {} if atoms.calc is None else atoms.calc.results
    value = atoms.arrays.get(key, results.get("forces"))
    if value is None:
        others = [name for name in atoms.arrays if "force" in name.lower()]
        if others:
            raise UnreadableFile(
                f"{where} has no {key} but {others[0]}: name it as the key of the forces, or remove it."
            )
        return None
    forces = np.asarray(value, dtype=np.float64)
    if forces.shape != (len(atoms), 3) or not np.isfinite(forces).all():
        raise UnreadableFile(f"{where}: the forces are not {len(atoms)} x 3 finite numbers.")
    return forces


def _stress(atoms: Atoms, where: str) -> FloatArray | None:
    results = {} if atoms.calc is None else atoms.calc.results
    value = atoms.info.get(STRESS, results.get("stress"))
    if value is None:
        return None
    stress = np.asarray(value, dtype=np.float64).ravel()
    if len(stress) == 6:
        stress = stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]]
    if len(stress) != 9 or not np.isfinite(stress).all():
        raise UnreadableFile(f"{where}: the stress has {len(stress)} values, expected 6 or 9 finite ones.")
    return stress.reshape(3, 3)


def with_labels(entries: Sequence[Entry], labels: ExternalLabels) -> list[Entry]:
    """The labelled frames of the entries, with these labels in place of the old ones; features are left out.

    Entries none of whose frames is labelled are left out; frames with energy-only labels are an entry of their own,
    without forces.  Raises InvalidSettings for a uid that no frame has, for a label whose atoms are not those of its
    frame, and for labels in another unit.
    """
    found: list[Entry] = []
    compared: list[tuple[Configurations, Configurations]] = []
    unknown = set(labels.frames)
    for entry in entries:
        uids = entry.uids
        unknown -= set(uids)
        labelled = [row for row, uid in enumerate(uids) if uid in labels.frames]
        for energy_only in (False, True):
            chosen = [row for row in labelled if (labels.frames[uids[row]].forces is None) == energy_only]
            rows = np.array(chosen, dtype=np.int64)
            if len(rows):
                found.append(_labelled(entry, rows, [uids[row] for row in rows], labels))
                compared.append((found[-1].configurations, entry.configurations.select(rows)))
    if unknown:
        n, all_of = len(unknown), len(labels.frames)
        raise InvalidSettings(
            f"{labels.where}: {n} of {all_of} uids, {min(unknown)} the first, belong to no frame of this dataset: "
            "give the training set that they were exported from."
        )
    require_same_units(compared, labels.where)
    return found


def _labelled(entry: Entry, rows: IntArray, uids: Sequence[str], external: ExternalLabels) -> Entry:
    labels = [external.frames[uid] for uid in uids]
    for row, uid, label in zip(rows, uids, labels, strict=True):
        where = f"{external.where}: {uid} ({entry.path}, frame {entry.rows[row]})"
        _require_same_geometry(entry.configurations, int(row), label, where)
    stresses = [label.stress for label in labels]
    whole = entry.configurations.periodic and all(stress is not None for stress in stresses)
    return entry.select(
        rows,
        energies=np.array([label.energy for label in labels]),
        forces=None if labels[0].forces is None else np.array([label.forces for label in labels]),
        stress=np.array(stresses) if whole else None,
        features=None,
    )


def _require_same_geometry(frames: Configurations, row: int, label: Label, where: str) -> None:
    if not np.array_equal(frames.numbers, label.numbers):
        given = "".join(chemical_symbols[z] for z in label.numbers)
        raise InvalidSettings(f"{where}: the labelled frame has the atoms {given}, not those of the dataset, in order.")
    deviation = float(np.abs(frames.positions[row] - label.positions).max())
    if deviation > SAME_GEOMETRY:
        raise InvalidSettings(
            f"{where}: an atom of the labelled frame lies {deviation:.3g} Å from its place in the dataset. Forces "
            "belong to one orientation: switch off reorientation and relaxation."
        )


def target_minus_baseline(target: Entry, baseline: Entry) -> Entry:
    """The targets of delta-learning: energies, forces and, where both have it, stress of target minus baseline.

    baseline: the whole entry that ``target`` was selected from.  Targets without forces stay so.
    """
    before = baseline.configurations.select(target.rows)
    after = target.configurations
    changes: dict[str, object] = {}
    for name in ("energies", "forces", "stress"):
        values = getattr(after, name), getattr(before, name)
        optional = name == "stress" or (name == "forces" and after.forces is None)
        if not optional and any(value is None for value in values):
            raise InvalidSettings(f"{target.path} has no {name} of target or baseline to subtract.")
        changes[name] = None if any(value is None for value in values) else values[0] - values[1]
    return target.select(np.arange(len(after)), **changes)
