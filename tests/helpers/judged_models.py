"""A delta model and its judgement, of carbon dioxide: the errors are real, the model a known potential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from labelled_frames import MORSE, labelled_frames

from aiida_mbetrain.report import Judgement, TrainedModel
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import LabelledFrames, evaluate_trained, part_of_training_set
from aiida_mbetrain.settings import NamedCalculator

DIFFERENCE = NamedCalculator(name="lennard_jones", parameters={"sigma": 1.2, "epsilon": 0.05, "rc": 8.0})
LEARNED = NamedCalculator(name="lennard_jones", parameters={"sigma": 1.2, "epsilon": 0.047, "rc": 8.0})
"""What a training might have found of the difference."""
LEARNED_FROM_HALF = NamedCalculator(name="lennard_jones", parameters={"sigma": 1.2, "epsilon": 0.04, "rc": 8.0})


def frames_of_two_crystals(n_frames: int = 60, *, energy_only: bool = False) -> LabelledFrames:
    """Frames of two crystals at two temperatures with features that tell most of the difference."""
    packed = labelled_frames(named_calculator(DIFFERENCE), n_frames=n_frames, energy_only=energy_only, shift=0.0)
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(len(packed), 5)) * packed.n_molecules[:, None]
    noise[:, 0] = packed.n_molecules
    known = packed.targets[:, None] + 0.004 * rng.normal(size=(len(packed), 1)) * packed.n_molecules[:, None]
    crystals = np.where(packed.units % 4 < 2, "co2_I", "co2_III_of_a_long_name")
    paths = [f"{name}/lj/md/finite_subsystems/n={n}" for name, n in zip(crystals, packed.n_molecules, strict=True)]
    temperatures = np.where(packed.units // 6 % 3 == 0, 200.0, 300.0)
    features = np.concatenate([known, noise], axis=1)
    return replace(packed, features=features, paths=np.array(paths), temperatures_K=temperatures)


def judged_model(n_frames: int = 60, *, energy_only: bool = False) -> TrainedModel:
    """A model of which the test set is judged."""
    frames = frames_of_two_crystals(n_frames, energy_only=energy_only)
    baseline = named_calculator(MORSE)
    found = evaluate_trained(frames, named_calculator(LEARNED), baseline)
    half = evaluate_trained(part_of_training_set(frames, 0.5), named_calculator(LEARNED_FROM_HALF), baseline)
    (row,) = np.flatnonzero(half.learning_curve["model"] == "delta")
    curve = {
        name: np.append(column, half.learning_curve[name][row]) for name, column in found.learning_curve.columns.items()
    }
    curve["fraction"][-1] = 0.5
    order = np.argsort(curve["fraction"], kind="stable")
    learning_curve = Table({name: column[order] for name, column in curve.items()})
    return TrainedModel(
        name="ModelTrainingWorkChain<12>",
        level_of_theory="PBE-D4/def2-SVP[order=2]",
        baseline="ab" * 32,
        sha256="cd" * 32,
        n_frames={"train": 80, "valid": 20, "test": 20},
        n_epochs=60,
        command="aiida-mbetrain evaluate 12",
        judgement=Judgement("test", found.errors, found.predictions, found.forces, learning_curve),
    )
