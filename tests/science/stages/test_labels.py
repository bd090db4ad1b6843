"""Labels of the baseline model, whatever the potential."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from aiida_mbetrain.errors import ElementsNotInModel
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import AsePotential, Potential
from aiida_mbetrain.science.progress import silent
from aiida_mbetrain.science.stages import compute_labels


class Recorder(Potential):
    """Notes what it is asked for; its energies are the numbers of atoms."""

    feature_length = 3
    elements = frozenset({1, 6})

    def __init__(self):
        self.asked = []

    def evaluate(self, sets, *, features=False, report=silent):
        self.asked.append(features)
        return [part.with_(energies=np.full(part.n_frames, float(part.n_atoms))) for part in sets]

    def calculator(self):
        raise NotImplementedError

    def describe(self):
        return {}


def frames(atoms, n=2):
    return Configurations.from_atoms([atoms] * n)


def test_sets_come_back_in_order_with_their_origin():
    sets = [frames(molecule("CH4")).with_(origin={"frame": np.arange(2)}), frames(molecule("C2H2"), 1)]
    labelled = compute_labels(sets, Recorder())
    assert [part.energies.tolist() for part in labelled] == [[5.0, 5.0], [4.0]]
    assert labelled[0].origin["frame"].tolist() == [0, 1]


@pytest.mark.parametrize("wanted", [True, False])
def test_features_are_asked_for_as_wanted(wanted):
    potential = Recorder()
    compute_labels([frames(molecule("CH4"))], potential, features=wanted)
    assert potential.asked == [wanted]


def test_a_potential_without_features_labels_the_rest():
    [labelled] = compute_labels([frames(bulk("Cu"))], AsePotential(EMT()), features=True)
    assert labelled.features is None
    assert labelled.stress.shape == (2, 3, 3)
    assert labelled.energies[0] == labelled.energies[1]


def test_unknown_elements_are_refused_before_anything_is_evaluated():
    potential = Recorder()
    with pytest.raises(ElementsNotInModel, match="O"):
        compute_labels([frames(molecule("CH4")), frames(molecule("H2O"))], potential)
    assert potential.asked == []
