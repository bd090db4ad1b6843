"""Identity of fragments, and charges and spins of molecules."""

from __future__ import annotations

import numpy as np
import pytest
from crystals import one_frame, oxalic_acid_dihydrate
from hypothesis import given
from hypothesis import strategies as st

from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.science.molecules import detect_molecules
from aiida_mbetrain.science.reference_labels.fragments import Fragment, Fragments, MoleculeStates

WATER = np.array([8, 1, 1])
POSITIONS = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def water(shift=0.0, ghosts=(False, False, False), **state):
    return Fragment(WATER, POSITIONS + shift, np.array(ghosts), **state)


@given(st.lists(st.floats(-300, 300), min_size=3, max_size=3))
def test_a_translation_leaves_the_identity(shift):
    assert water(np.array(shift)).id == water().id


def test_everything_else_changes_the_identity():
    moved = Fragment(WATER, POSITIONS + np.array([[0, 0, 0], [1e-4, 0, 0], [0, 0, 0]]), np.zeros(3, bool))
    other = Fragment(np.array([16, 1, 1]), POSITIONS, np.zeros(3, bool))
    variants = [water(), moved, other, water(ghosts=(False, False, True)), water(charge=1, multiplicity=2)]
    variants += [water(charge=1), water(multiplicity=3)]
    assert len({fragment.id for fragment in variants}) == len(variants)


def test_packed_fragments_give_back_each_one_once():
    fragments = Fragments.of([water(), water(ghosts=(False, True, True)), water(5.0), water(charge=-1, multiplicity=2)])
    assert len(fragments) == 3
    assert fragments[2].charge == -1
    np.testing.assert_array_equal(fragments[1].ghosts, [False, True, True])
    assert [fragments[row].id for row in range(3)] == fragments.ids.tolist()


def test_packed_fragments_survive_arrays_and_selection():
    fragments = Fragments.of([water(), Fragment(np.array([18]), np.zeros((1, 3)), np.zeros(1, bool)), water(charge=2)])
    again = Fragments.from_arrays(fragments.to_arrays()).select([2, 1])
    assert again.ids.tolist() == fragments.ids[[2, 1]].tolist()
    assert again[1].numbers.tolist() == [18]
    assert again[0].id == fragments[2].id


@pytest.fixture(scope="module")
def oxalic():
    return detect_molecules(one_frame(oxalic_acid_dihydrate()), assert_identical_composition=False)


def test_charges_and_spins_belong_to_kinds_of_molecules(oxalic):
    states = MoleculeStates.of(oxalic, {"H2O": 1, "C2H2O4": -2}, {"H2O": 2})
    waters = states.n_atoms == 3
    assert waters.sum() == 4
    assert set(states.charges[waters]) == {1}
    assert set(states.unpaired[waters]) == {1}
    assert set(states.charges[~waters]) == {-2}


@pytest.mark.parametrize(
    ("charges", "multiplicities", "message"),
    [
        ({"H2O": 1}, {}, "H2O has 9 electrons at charge 1 and cannot have the multiplicity 1"),
        ({}, {"C2H2O4": 2}, "C2H2O4 has 46 electrons"),
        ({"H2O": 10}, {"H2O": 3}, "H2O has 0 electrons"),
        ({"NH3": 1}, {}, "no molecule is NH3; the crystal has C2H2O4, H2O"),
    ],
)
def test_impossible_states_are_refused(oxalic, charges, multiplicities, message):
    with pytest.raises(InvalidSettings, match=message):
        MoleculeStates.of(oxalic, charges, multiplicities)
