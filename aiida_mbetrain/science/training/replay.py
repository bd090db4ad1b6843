"""Configurations with labels of the baseline that a fine-tuned model is not to forget."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_mbetrain.errors import ElementsNotInModel, InvalidSettings, LabelsMissing, UnreadableFile
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.io import read_frames
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.training.frames import TRAIN, VALID, LabelledFrames
from aiida_mbetrain.science.training.mace_input import ENERGY, FORCES, STRESS, Replay, label
from aiida_mbetrain.science.training.model_file import StoredFile

VALID_SHARE = 0.1
"""Part of the configurations of a file that the replay is validated on."""


@dataclass(frozen=True)
class ReplayFile(StoredFile):
    """Content and name of an extended XYZ file of configurations of the baseline's own training."""

    def read(self) -> list[Atoms]:
        """The configurations as they stand in the file.  Raises UnreadableFile, InvalidSettings."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "replay.xyz"
            path.write_bytes(self.content)
            try:
                found = read_frames(path, what="extended XYZ", index=":", format="extxyz")
            except UnreadableFile as error:
                message = error.message.replace(str(path), "it")
                raise UnreadableFile(f"The replay file {self.name} is no extended XYZ file: {message}") from error
        if len(found) < 2:
            raise InvalidSettings(
                f"The replay file {self.name} has {len(found)} configurations: one or more to train on and one to "
                "validate with are needed."
            )
        return found


def replay_of_frames(frames: LabelledFrames, e0s: Mapping[int, float]) -> Replay:
    """Training and validation set of the frames themselves with the labels of the baseline.

    e0s: its isolated atoms, eV.
    """
    parts = []
    for subset in (TRAIN, VALID):
        found = []
        for row in np.flatnonzero(frames.subsets == subset):
            part = frames.atoms_of(int(row))
            atoms = Atoms(frames.numbers[part], frames.positions[part])
            label(atoms, float(frames.baseline_energies[row]), frames.baseline_forces[part])
            found.append(_less_isolated_atoms(atoms, e0s))
        parts.append(found)
    return Replay(*parts)


def replay_of_file(file: ReplayFile, e0s: Mapping[int, float], *, seed: int, labels: Potential | None = None) -> Replay:
    """The configurations of a file, of which a tenth drawn by chance validates.

    e0s: isolated atoms of the baseline, eV.  labels: the baseline, where it is to label them.
    Raises UnreadableFile, InvalidSettings, ElementsNotInModel, LabelsMissing.
    """
    frames = configurations_of_file(file, list(e0s), labels_needed=labels is None)
    if labels is not None:
        frames = _pseudolabelled(frames, labels)
    order = np.random.default_rng(seed).permutation(len(frames))
    n_valid = max(1, round(VALID_SHARE * len(frames)))
    rest = [_less_isolated_atoms(atoms, e0s) for atoms in frames]
    return Replay([rest[row] for row in sorted(order[n_valid:])], [rest[row] for row in sorted(order[:n_valid])])


def configurations_of_file(file: ReplayFile, elements: Sequence[int], *, labels_needed: bool) -> list[Atoms]:
    """The configurations of a replay file with total energies and forces as in the files of ``export-xyz``.

    Labels are those under REF_energy, REF_forces and REF_stress, or energies, forces and stress that ASE reads.
    elements: atomic numbers that the baseline knows.  labels_needed: False where the baseline will label them.
    Raises UnreadableFile, InvalidSettings, ElementsNotInModel, LabelsMissing.
    """
    frames = file.read()
    unknown = {int(z) for atoms in frames for z in atoms.numbers} - set(elements)
    if unknown:
        raise ElementsNotInModel(
            f"The replay file {file.name} has {', '.join(chemical_symbols[z] for z in sorted(unknown))}, which the "
            "baseline does not know: leave out these configurations."
        )
    return [_labelled(atoms, number, file.name, labels_needed) for number, atoms in enumerate(frames, start=1)]


def _labelled(atoms: Atoms, number: int, name: str, labels_needed: bool) -> Atoms:
    """One configuration with what it says of energy, forces and stress, and nothing else."""
    known = {} if atoms.calc is None else atoms.calc.results
    energy = atoms.info.get(ENERGY, known.get("energy"))
    forces = atoms.arrays.get(FORCES, known.get("forces"))
    stress = atoms.info.get(STRESS, known.get("stress"))
    if labels_needed and (energy is None or forces is None):
        missing = " and ".join(what for what, value in (("energy", energy), ("forces", forces)) if value is None)
        raise LabelsMissing(
            f"Configuration {number} of the replay file {name} has no {missing}: give REF_energy (total, eV) and "
            "REF_forces (eV/Å) of the baseline's method, or pseudolabel_replay = True for labels by the baseline."
        )
    return label(_bare(atoms), energy, forces, stress if atoms.pbc.all() else None)


def _bare(atoms: Atoms) -> Atoms:
    """The atoms and their cell, with nothing else that the file says."""
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def _pseudolabelled(frames: Sequence[Atoms], baseline: Potential) -> list[Atoms]:
    """The configurations with energies and forces of the baseline; stress where they are periodic.

    MACE's own pseudolabels keep the weight 0 of labels that were not there, so that they would not be trained on.
    """
    results = baseline.evaluate([Configurations.from_atoms(atoms) for atoms in frames])
    labelled = []
    for atoms, found in zip(frames, results, strict=True):
        assert found.energies is not None
        assert found.forces is not None
        stress = None if found.stress is None else found.stress[0]
        labelled.append(label(_bare(atoms), float(found.energies[0]), found.forces[0], stress))
    return labelled


def _less_isolated_atoms(atoms: Atoms, e0s: Mapping[int, float]) -> Atoms:
    """The configuration itself, with its energy less those of the isolated atoms, eV."""
    atoms.info[ENERGY] -= float(sum(e0s[int(z)] for z in atoms.numbers))
    return atoms
