"""Errors of a delta model on labelled frames, beside those of the baseline, of a constant and of a ridge model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.errors import FeaturesMissing, LabelsMissing
from aiida_mbetrain.science.configurations import BoolArray, Configurations, FloatArray
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training.frames import SUBSETS, LabelledFrames
from aiida_mbetrain.science.training.ridge import RidgeModel, fit_ridge
from aiida_mbetrain.science.training.shifts import fit_shifts, shifted_targets
from aiida_mbetrain.settings import JsonObject

MODELS = ("baseline", "constant", "ridge", "delta")
MEV = 1000.0


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies (F,), eV, forces (A, 3), eV/Å, or None, and interaction energies (F,), eV or NaN, of one model."""

    energies: FloatArray
    forces: FloatArray | None
    interactions: FloatArray


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors and predictions.

    errors: a row per model and group of frames; columns ``model``, ``group`` (``all``, ``size=2``, ``source=md``,
        ``section=...``), ``n_frames``, and root mean squares and means of the absolute values of the errors:
        ``energy_*_meV_per_atom``, ``energy_*_meV_per_molecule``, ``interaction_*_kJ_per_mol``, ``force_*_meV_per_A``
        with ``rmse`` and ``mae``; NaN where there is nothing to compare.
    predictions: a row per frame; ``uid``, ``n_molecules``, ``reference_eV`` and an energy of each model.
    facts: subset, regularisation of the ridge model.
    """

    errors: Table
    predictions: Table
    facts: JsonObject


def evaluate_delta(
    frames: LabelledFrames, delta: Potential, baseline: Potential, *, subset: str = "test", report: Report = silent
) -> Evaluation:
    """Compare the models with the reference on one part of the split.

    ``baseline`` is the baseline alone: its energies differ from the reference's also by those of the atoms.
    ``constant`` adds the shifts of the training split, ``ridge`` to these a linear model of the summed features, where
    the frames have features, and ``delta`` is baseline plus delta model.  Interaction energies are compared where the
    labels have them; the baseline is then evaluated for single molecules.
    Raises LabelsMissing for a subset without frames.
    """
    chosen = frames.select(frames.subsets == SUBSETS.index(subset))
    if len(chosen) == 0:
        raise LabelsMissing(f"No frame of the {subset} set has a reference label: label more, or split otherwise.")
    shifts = fit_shifts(frames)
    try:
        ridge = fit_ridge(frames, shifted_targets(frames, shifts))
    except FeaturesMissing:
        ridge = None
    predictions = _predictions(chosen, delta, baseline, chosen.compositions_of(frames.elements) @ shifts, ridge, report)
    columns = {f"{name}_eV": found.energies for name, found in predictions.items()}
    facts: JsonObject = {"subset": subset, "level_of_theory": frames.level_of_theory, "n_frames": len(chosen)}
    if ridge is not None:
        facts |= {"ridge_strength": ridge.strength, "ridge_left_out_rmse_eV": ridge.left_out_rmse}
    return Evaluation(
        error_table(chosen, predictions),
        Table({"uid": chosen.uids, "n_molecules": chosen.n_molecules, "reference_eV": chosen.energies, **columns}),
        facts,
    )


def _predictions(
    frames: LabelledFrames,
    delta: Potential,
    baseline: Potential,
    shifts: FloatArray,
    ridge: RidgeModel | None,
    report: Report,
) -> dict[str, Predictions]:
    """Predictions of every model; the interaction energies of molecules by themselves are zero."""
    learned = delta.evaluate([frames.configurations(row) for row in range(len(frames))], report=report)
    energies = np.array([item.energies[0] for item in learned if item.energies is not None])
    forces = np.concatenate([item.forces[0] for item in learned if item.forces is not None])
    unknown = np.full(len(frames), np.nan)
    below, added, linear = unknown.copy(), unknown.copy(), unknown.copy()
    for row in np.flatnonzero(np.isfinite(frames.interactions) & (frames.n_molecules > 1)):
        alone = baseline.evaluate(frames.molecules_of(int(row)), features=ridge is not None)
        below[row] = frames.baseline_energies[row] - _sum_of_energies(alone)
        added[row] = energies[row] - _sum_of_energies(delta.evaluate(frames.molecules_of(int(row))))
        if ridge is not None:
            rest = np.sum([item.features[0].sum(axis=0) for item in alone if item.features is not None], axis=0)
            linear[row] = ridge.predict(frames.features[row] - rest)
    base, base_forces = frames.baseline_energies, frames.baseline_forces
    found = {
        "baseline": Predictions(base, base_forces, below),
        "constant": Predictions(base + shifts, base_forces, below),
        "delta": Predictions(base + energies, base_forces + forces, below + added),
    }
    if ridge is not None:
        found["ridge"] = Predictions(base + shifts + ridge.predict(frames.features), None, below + linear)
    return {name: found[name] for name in MODELS if name in found}


def _sum_of_energies(molecules: Sequence[Configurations]) -> float:
    return float(sum(item.energies[0] for item in molecules if item.energies is not None))


def groups_of(frames: LabelledFrames) -> Iterator[tuple[str, BoolArray]]:
    """All frames; those of each size, each source, and each section of the dataset."""
    yield "all", np.ones(len(frames), dtype=bool)
    sections = np.array([path.partition("/finite_subsystems/")[0] for path in frames.paths])
    for name, values in (("size", frames.n_molecules), ("source", frames.sources), ("section", sections)):
        for value in np.unique(values):
            yield f"{name}={value}", values == value


def error_table(frames: LabelledFrames, predictions: Mapping[str, Predictions]) -> Table:
    """Errors by model and group; see :class:`Evaluation`."""
    rows: list[dict[str, object]] = []
    for group, mask in groups_of(frames):
        atoms = np.repeat(mask & frames.with_forces, frames.n_atoms)
        for name, found in predictions.items():
            energies = MEV * (found.energies - frames.energies)
            errors = {
                "energy_{}_meV_per_atom": (energies / frames.n_atoms)[mask],
                "energy_{}_meV_per_molecule": (energies / frames.n_molecules)[mask],
                "interaction_{}_kJ_per_mol": (found.interactions - frames.interactions)[mask] / KJ_PER_MOL,
                "force_{}_meV_per_A": np.empty(0)
                if found.forces is None
                else MEV * (found.forces - frames.forces)[atoms].ravel(),
            }
            row: dict[str, object] = {"model": name, "group": group, "n_frames": int(mask.sum())}
            for column, values in errors.items():
                known = values[np.isfinite(values)]
                row[column.format("rmse")] = np.sqrt(np.mean(known**2)) if len(known) else np.nan
                row[column.format("mae")] = np.mean(np.abs(known)) if len(known) else np.nan
            rows.append(row)
    return Table({column: np.array([row[column] for row in rows]) for column in rows[0]})
