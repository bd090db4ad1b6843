"""Facts of a finished round: labels and their cost, error of the test set, calibrated uncertainty of the candidates."""

from __future__ import annotations

import numpy as np

from aiida_mbetrain.science.active_learning.candidates import uncertainty_of
from aiida_mbetrain.science.configurations import FloatArray
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import SUBSETS, TEST, VALID, LabelledFrames
from aiida_mbetrain.settings import JsonObject

MEV = 1000.0


def judge_round(
    frames: LabelledFrames, *, candidates: Table, picks: Table, valid: Table, test: Table, number: int
) -> JsonObject:
    """Facts of a round.

    frames: of all rounds.  candidates: columns ``features`` and ``n_molecules`` of the clusters that the round sampled.
    picks: column ``cost``.  valid, test: predictions of the delta model, a row for each frame of the split in the order
    of the frames, columns ``reference_eV`` and ``delta_eV``.
    Uncertainties are calibrated on the validation set and judged on the test set: a ratio of 1 is a perfect one,
    None where no cluster of the test set has an uncertainty.
    """
    errors = {subset: table["delta_eV"] - table["reference_eV"] for subset, table in ((VALID, valid), (TEST, test))}
    features = {subset: frames.features[frames.subsets == subset] for subset in errors}
    uncertainty = uncertainty_of(frames).calibrated(features[VALID], errors[VALID])
    expected = np.sqrt(uncertainty.variances(features[TEST]))
    uncertain = expected > 0  # not so for single atoms, which have no neighbours and no features
    sampled = np.sqrt(uncertainty.variances(candidates["features"])) / candidates["n_molecules"]
    return {
        "round": number,
        "n_labels": {name: int((frames.subsets == subset).sum()) for subset, name in enumerate(SUBSETS)},
        "n_new": len(picks["cost"]),
        "n_candidates": len(sampled),
        "cost": float(picks["cost"].sum()),
        "error_meV_per_molecule": MEV * _rms(errors[TEST] / test["n_molecules"]),
        "uncertainty_meV_per_molecule": MEV * _rms(sampled),
        "calibration_eV": float(np.sqrt(uncertainty.calibration)),
        "test_error_over_uncertainty": (
            _rms(errors[TEST][uncertain] / expected[uncertain]) if uncertain.any() else None
        ),
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
