"""Facts of a round on frames of known errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from labelled_frames import labelled_frames

from aiida_mbetrain.science.active_learning import judge_round
from aiida_mbetrain.science.potentials import named_calculator
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.science.training import TEST, VALID, LabelledFrames
from aiida_mbetrain.settings import NamedCalculator

DELTA = NamedCalculator(name="morse", parameters={"epsilon": 0.01, "r0": 3.0, "rho0": 3.0})


@pytest.fixture(scope="module")
def frames() -> LabelledFrames:
    found = labelled_frames(named_calculator(DELTA), n_frames=24)
    rng = np.random.default_rng(0)
    return replace(found, features=found.n_molecules[:, None] * (1.0 + 0.1 * rng.normal(size=(len(found), 5))))


def judged(frames: LabelledFrames, error_eV: float) -> dict:
    """Of a model whose every energy is in error by so much per molecule, with alternating signs."""
    tables = {}
    for name, subset in (("valid", VALID), ("test", TEST)):
        sizes = frames.n_molecules[frames.subsets == subset]
        signs = np.resize([1.0, -1.0], len(sizes))
        zeros = np.zeros(len(sizes))
        tables[name] = Table({"reference_eV": zeros, "delta_eV": error_eV * sizes * signs, "n_molecules": sizes})
    candidates = Table({"features": frames.features, "n_molecules": frames.n_molecules})
    return judge_round(frames, candidates=candidates, picks=Table({"cost": np.array([1.0, 8.0])}), number=3, **tables)


def test_error_is_per_molecule_and_cost_a_sum(frames):
    found = judged(frames, 0.004)
    assert found["error_meV_per_molecule"] == pytest.approx(4.0)
    assert found["cost"] == 9.0
    assert found["round"] == 3
    assert sum(found["n_labels"].values()) == len(frames)


def test_uncertainty_grows_with_the_errors_of_the_validation_set(frames):
    one, two = judged(frames, 0.004), judged(frames, 0.008)
    assert two["uncertainty_meV_per_molecule"] == pytest.approx(2 * one["uncertainty_meV_per_molecule"])
    assert two["test_error_over_uncertainty"] == pytest.approx(one["test_error_over_uncertainty"])
    assert 0.3 < one["test_error_over_uncertainty"] < 3.0


def test_clusters_without_features_have_no_uncertainty_and_no_ratio(frames):
    features = np.where((frames.subsets == TEST)[:, None], 0.0, frames.features)
    found = judged(replace(frames, features=features), 0.004)
    assert found["test_error_over_uncertainty"] is None
    assert np.isfinite(found["uncertainty_meV_per_molecule"])
