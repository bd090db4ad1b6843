"""Pictures of delta models: panels, points and curves are those of the tables."""

from __future__ import annotations

import numpy as np
import pytest
from judged_models import judged_model

from aiida_mbetrain.pictures import learning_curve_picture, parity_picture
from aiida_mbetrain.pictures import parity as parity_module


@pytest.fixture(scope="module")
def judged():
    return judged_model().judgement


def points(axes, name):
    (found,) = [drawn for drawn in axes.collections if drawn.get_label() == name]
    return np.asarray(found.get_offsets())


def test_parity_shows_energies_of_every_model_errors_by_size_and_forces(judged):
    energies, errors, forces = parity_picture(judged.predictions, judged.forces, level_of_theory="PBE").axes
    assert [len(points(energies, name)) for name in ("constant", "ridge", "delta")] == [20, 20, 20]
    assert errors.get_xticks().tolist() == [1, 2]
    expected = np.stack([judged.forces["reference_eV_per_A"], judged.forces["delta_eV_per_A"]], axis=1)
    np.testing.assert_array_equal(np.sort(points(forces, "delta"), axis=0), np.sort(expected, axis=0))


def test_many_forces_are_drawn_in_part(judged, monkeypatch):
    monkeypatch.setattr(parity_module, "MOST_FORCES", 11)
    *_, forces = parity_picture(judged.predictions, judged.forces, level_of_theory="PBE").axes
    assert len(points(forces, "baseline")) == len(points(forces, "delta")) == 11


def test_without_forces_of_the_reference_there_is_no_panel_of_them():
    judged = judged_model(energy_only=True).judgement
    assert len(parity_picture(judged.predictions, judged.forces, level_of_theory="PBE").axes) == 2
    assert len(learning_curve_picture(judged.learning_curve).axes) == 1


def test_learning_curve_has_a_line_for_every_model(judged):
    energies, forces = learning_curve_picture(judged.learning_curve).axes
    curve = judged.learning_curve
    for axes, column, names in ((energies, "energy_rmse_meV_per_molecule", ["constant", "ridge", "delta"]),
                                (forces, "force_rmse_meV_per_A", ["constant", "delta"])):  # fmt: skip
        assert [line.get_label() for line in axes.lines] == names
        for line in axes.lines:
            chosen = curve["model"] == line.get_label()
            np.testing.assert_array_equal(line.get_xdata(), curve["n_frames"][chosen])
            np.testing.assert_array_equal(line.get_ydata(), curve[column][chosen])
