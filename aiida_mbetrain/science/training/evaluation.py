"""Errors of a trained model on labelled frames, beside those of the baseline, of a constant and of a ridge model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mbetrain.errors import FeaturesMissing, LabelsMissing
from aiida_mbetrain.science.configurations import BoolArray, Configurations, FloatArray
from aiida_mbetrain.science.constants import KJ_PER_MOL
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training.frames import SUBSETS, TRAIN, LabelledFrames
from aiida_mbetrain.science.training.grouping import closest_contacts, groups_of, part_of_training_set
from aiida_mbetrain.science.training.ridge import RidgeModel, fit_ridge
from aiida_mbetrain.science.training.shifts import fit_shifts, shifted_targets
from aiida_mbetrain.settings import JsonObject

TRAINED = {"delta": "delta", "finetune": "finetuned", "finetune_replay": "finetuned", "multihead": "multihead"}
"""Kind of training -> name of the model in tables."""
MODELS = ("baseline", "constant", "ridge", *dict.fromkeys(TRAINED.values()))
"""Names of models in the order of tables and figures."""
LINEAR = ("constant", "ridge")
"""Models without forces of their own."""
FRACTIONS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Parts of the training set in the learning curve of constant and ridge model."""
MEV = 1000.0


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies (F,), eV, forces (A, 3), eV/Å, or None, and interaction energies (F,), eV or NaN, of one model."""

    energies: FloatArray
    forces: FloatArray | None
    interactions: FloatArray

    def added_to(self, other: Predictions) -> Predictions:
        """The sum of two models; without forces where one has none."""
        unknown = self.forces is None or other.forces is None
        forces = None if unknown else np.add(self.forces, other.forces)  # type: ignore[arg-type]
        return Predictions(self.energies + other.energies, forces, self.interactions + other.interactions)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors and predictions.

    errors: a row per model and group of frames; columns ``model``, ``group`` (``all``, ``size=2``, ``source=md``,
        ``temperature=300``, ``crystal=urea``, ``section=...``, ``contact=2-2.5``), ``n_frames``, and root mean squares
        and means of the absolute values of the errors: ``energy_*_meV_per_atom``, ``energy_*_meV_per_molecule``,
        ``interaction_*_kJ_per_mol``, ``force_*_meV_per_A`` with ``rmse`` and ``mae``; NaN where there is nothing to
        compare.
    predictions: a row per frame; ``uid``, ``n_molecules``, ``source``, ``temperature_K``, ``crystal``,
        ``closest_contact_A``, ``reference_eV`` and an energy of each model.
    forces: a row per component of a force that the reference has; ``frame`` (row of the predictions),
        ``reference_eV_per_A``, ``baseline_eV_per_A`` and that of the trained model.
    learning_curve: a row per model and part of the training set; ``model``, ``fraction``, ``n_frames`` (trained on),
        and the errors of all frames under the names of ``errors``.
    ridge: fitted to the whole training set; None without features.
    facts: subset, shifts by element, regularisation of the ridge model.
    """

    errors: Table
    predictions: Table
    forces: Table
    learning_curve: Table
    ridge: RidgeModel | None
    facts: JsonObject


def evaluate_trained(
    frames: LabelledFrames,
    trained: Potential,
    baseline: Potential,
    *,
    kind: str = "delta",
    subset: str = "test",
    fractions: Sequence[float] = FRACTIONS,
    report: Report = silent,
) -> Evaluation:
    """Compare the models with the reference on one part of the split.

    ``baseline`` is the baseline alone: its energies differ from the reference's also by those of the atoms.
    ``constant`` adds the shifts of the training split, ``ridge`` to these a linear model of the summed features, where
    the frames have features.  ``delta`` is baseline plus delta model; a model of another ``kind`` of training is
    used by itself and called ``finetuned`` or ``multihead``.  Interaction energies are compared where the labels have
    them; the baseline is then evaluated for single molecules.
    fractions: parts of the training set to which constant and ridge model are fitted for the learning curve.
    Raises LabelsMissing for a subset without frames.
    """
    chosen = frames.select(frames.subsets == SUBSETS.index(subset))
    if len(chosen) == 0:
        raise LabelsMissing(f"No frame of the {subset} set has a reference label: label more, or split otherwise.")
    compared = _Compared(chosen, baseline)
    linear, ridge = compared.linear(frames)
    shifts = {str(z): float(shift) for z, shift in zip(frames.elements, fit_shifts(frames), strict=True)}
    learned = compared.trained(trained, report, added=kind == "delta")
    found = {"baseline": compared.baseline, **linear, TRAINED[kind]: learned}
    facts: JsonObject = {"subset": subset, "level_of_theory": frames.level_of_theory, "n_frames": len(chosen)}
    facts |= {"shifts_eV": shifts}
    if ridge is not None:
        facts |= {"ridge_strength": ridge.strength, "ridge_left_out_rmse_eV": ridge.left_out_rmse}
    predictions = {name: found[name] for name in MODELS if name in found}
    return Evaluation(
        error_table(chosen, predictions),
        _prediction_table(chosen, predictions),
        _force_table(chosen, predictions),
        _learning_curve(frames, compared, predictions, fractions),
        ridge,
        facts,
    )


class _Compared:
    """Frames to be compared, with what every model takes from the baseline.

    interactions: energies of the baseline less those of its molecules, eV.  features: likewise.  Both are NaN for
    molecules by themselves, and where the labels have no interaction energies.
    """

    def __init__(self, frames: LabelledFrames, baseline: Potential) -> None:
        self.frames = frames
        self.rows = np.flatnonzero(np.isfinite(frames.interactions) & (frames.n_molecules > 1))
        self.interactions = np.full(len(frames), np.nan)
        self.features = np.full(frames.features.shape, np.nan)
        for row in self.rows:
            alone = baseline.evaluate(frames.molecules_of(int(row)), features=frames.features.shape[1] > 0)
            self.interactions[row] = frames.baseline_energies[row] - _sum_of_energies(alone)
            rest = [item.features[0].sum(axis=0) for item in alone if item.features is not None]
            self.features[row] = frames.features[row] - np.sum(rest, axis=0)

    @property
    def baseline(self) -> Predictions:
        """The baseline alone."""
        return Predictions(self.frames.baseline_energies, self.frames.baseline_forces, self.interactions)

    def linear(self, trained_on: LabelledFrames) -> tuple[dict[str, Predictions], RidgeModel | None]:
        """Constant and ridge model, fitted to the training set of the given frames; the ridge model needs features."""
        shifts = fit_shifts(trained_on)
        energies = self.frames.baseline_energies + self.frames.compositions_of(trained_on.elements) @ shifts
        constant = Predictions(energies, self.frames.baseline_forces, self.interactions)
        try:
            ridge = fit_ridge(trained_on, shifted_targets(trained_on, shifts))
        except FeaturesMissing:
            return {"constant": constant}, None
        above, between = ridge.predict(self.frames.features), ridge.predict(self.features)
        return {"constant": constant, "ridge": Predictions(energies + above, None, self.interactions + between)}, ridge

    def trained(self, model: Potential, report: Report, *, added: bool) -> Predictions:
        """Baseline plus delta model, or the model by itself."""
        frames = self.frames
        learned = model.evaluate([frames.configurations(row) for row in range(len(frames))], report=report)
        energies = np.array([item.energies[0] for item in learned if item.energies is not None])
        forces = np.concatenate([item.forces[0] for item in learned if item.forces is not None])
        interactions = np.full(len(frames), np.nan)
        for row in self.rows:
            interactions[row] = energies[row] - _sum_of_energies(model.evaluate(frames.molecules_of(int(row))))
        found = Predictions(energies, forces, interactions)
        return found.added_to(self.baseline) if added else found


def _sum_of_energies(molecules: Sequence[Configurations]) -> float:
    return float(sum(item.energies[0] for item in molecules if item.energies is not None))


def error_table(frames: LabelledFrames, predictions: Mapping[str, Predictions]) -> Table:
    """Errors by model and group; see :class:`Evaluation`."""
    rows = [
        {"model": name, "group": group, "n_frames": int(mask.sum())} | errors_of(frames, found, mask)
        for group, mask in groups_of(frames)
        for name, found in predictions.items()
    ]
    return _table(rows)


def errors_of(frames: LabelledFrames, found: Predictions, mask: BoolArray) -> dict[str, object]:
    """Errors of one model for some of the frames, by column; see :class:`Evaluation`."""
    atoms = np.repeat(mask & frames.with_forces, frames.n_atoms)
    energies = MEV * (found.energies - frames.energies)
    errors = {
        "energy_{}_meV_per_atom": (energies / frames.n_atoms)[mask],
        "energy_{}_meV_per_molecule": (energies / frames.n_molecules)[mask],
        "interaction_{}_kJ_per_mol": (found.interactions - frames.interactions)[mask] / KJ_PER_MOL,
        "force_{}_meV_per_A": np.empty(0)
        if found.forces is None
        else MEV * (found.forces - frames.forces)[atoms].ravel(),
    }
    columns: dict[str, object] = {}
    for column, values in errors.items():
        known = values[np.isfinite(values)]
        columns[column.format("rmse")] = np.sqrt(np.mean(known**2)) if len(known) else np.nan
        columns[column.format("mae")] = np.mean(np.abs(known)) if len(known) else np.nan
    return columns


def _learning_curve(
    frames: LabelledFrames, compared: _Compared, whole: Mapping[str, Predictions], fractions: Sequence[float]
) -> Table:
    """Errors of all frames by model and part of the training set; the baseline and the trained model know one part."""
    everything = np.ones(len(compared.frames), dtype=bool)
    n_frames = int(np.count_nonzero(frames.subsets == TRAIN))
    rows: list[dict[str, object]] = []
    for fraction in sorted({*fractions, 1.0}):
        part = part_of_training_set(frames, fraction)
        n_part = int(np.count_nonzero(part.subsets == TRAIN))
        n_units = len(np.unique(part.units[part.subsets == TRAIN]))
        if fraction < 1 and (n_units < 2 or n_part in [row["n_frames"] for row in rows] + [n_frames]):
            continue  # the strength of the ridge model needs units to leave out; small sets give the same frames again
        predicted = whole if fraction == 1 else compared.linear(part)[0]
        for name, found in predicted.items():
            errors = errors_of(compared.frames, found, everything)
            rows.append({"model": name, "fraction": n_part / n_frames, "n_frames": n_part} | errors)
    return _table(rows)


def _prediction_table(frames: LabelledFrames, predictions: Mapping[str, Predictions]) -> Table:
    columns = {
        "uid": frames.uids,
        "n_molecules": frames.n_molecules,
        "source": frames.sources,
        "temperature_K": frames.temperatures_K,
        "crystal": frames.crystals,
        "closest_contact_A": closest_contacts(frames),
        "reference_eV": frames.energies,
    }
    return Table(columns | {f"{name}_eV": found.energies for name, found in predictions.items()})


def _force_table(frames: LabelledFrames, predictions: Mapping[str, Predictions]) -> Table:
    atoms = np.repeat(frames.with_forces, frames.n_atoms)
    with_own = [name for name in predictions if name not in LINEAR]
    known = {"reference": frames.forces} | {name: predictions[name].forces for name in with_own}
    rows = np.repeat(np.arange(len(frames)), 3 * frames.n_atoms)[np.repeat(atoms, 3)]
    columns = {f"{name}_eV_per_A": forces[atoms].ravel() for name, forces in known.items() if forces is not None}
    return Table({"frame": rows, **columns})


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    return Table({column: np.array([row[column] for row in rows]) for column in rows[0]})
