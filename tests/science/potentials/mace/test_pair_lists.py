"""Lists of pairs that outlive a step, against a search at every step."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials.mace import pair_lists
from aiida_mbetrain.science.potentials.mace.pair_lists import SKIN, PairLists

CUTOFF = 4.0


def walk(n_steps: int, *, step: float, strain: float, seed: int = 1) -> list[Configurations]:
    """Frames of a small triclinic crystal whose atoms and cell wander."""
    atoms = molecule("CH3CN", cell=[[6.0, 0, 0], [1.0, 5.2, 0], [0.4, 0.3, 5.6]], pbc=True)
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_steps):
        frames.append(Configurations.from_atoms(atoms))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=strain, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=step, size=atoms.positions.shape)
    return frames


def pairs_of(lists: PairLists, frame: Configurations) -> np.ndarray:
    pairs = lists.of_frames(frame)
    return np.concatenate([pairs.atoms, pairs.shifts.T])


@pytest.fixture
def searches(monkeypatch) -> list[float]:
    """The cutoffs of the searches made."""
    made, search = [], pair_lists._search
    monkeypatch.setattr(pair_lists, "_search", lambda *args, **kw: made.append(args[2]) or search(*args, **kw))
    return made


@pytest.mark.parametrize(("step", "strain"), [(0.04, 0.0), (0.0, 0.03), (0.04, 0.01)])
def test_a_kept_list_gives_the_pairs_of_a_fresh_search_in_the_same_order(searches, step, strain):
    lists, n_frames = PairLists(CUTOFF), 60
    for frame in walk(n_frames, step=step, strain=strain):
        assert np.array_equal(pairs_of(lists, frame), pairs_of(PairLists(CUTOFF), frame))
    assert 2 < len(searches) - n_frames < 30


def test_frames_with_nothing_in_common_are_searched_once_each(searches):
    lists = PairLists(CUTOFF)
    frames = walk(20, step=0.01, strain=0.0) + walk(21, step=2.0, strain=0.1)[1:]
    for frame in frames:
        lists.of_frames(frame)
    of_the_near, of_the_far = searches[:2], searches[2:]
    assert of_the_near == [CUTOFF, CUTOFF + SKIN]
    assert of_the_far[:1] == [CUTOFF + SKIN]
    assert set(of_the_far[1:]) == {CUTOFF}
    assert len(of_the_far) == 20


def test_the_order_is_that_of_a_sorted_brute_force_search():
    """Not whatever the cell list happens to give: a restarted run must sum in the order of the one it continues."""
    for frame in walk(3, step=0.1, strain=0.02):
        first, second, *shifts = pairs_of(PairLists(CUTOFF), frame).astype(int)
        order = np.lexsort((*reversed(shifts), second, first))
        assert np.array_equal(order, np.arange(len(first)))


def test_a_compressed_cell_needs_a_new_list_though_no_atom_moved_in_it(searches):
    """Uniform strain moves no atom against the cell, and shortens every distance."""
    lists = PairLists(CUTOFF)
    [frame] = walk(1, step=0.0, strain=0.0)
    for scale in (1.0, 1.0, 0.95, 0.7):
        lists.of_frames(frame.with_(positions=scale * frame.positions, cells=scale * frame.cells))
    assert searches == [CUTOFF, CUTOFF + SKIN, CUTOFF + SKIN]


def test_a_turned_cell_keeps_its_list(searches):
    lists = PairLists(CUTOFF)
    [frame] = walk(1, step=0.0, strain=0.0)
    n_pairs = pairs_of(PairLists(CUTOFF), frame).shape[1]
    turn = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    for _ in range(5):
        assert pairs_of(lists, frame).shape[1] == n_pairs
        frame = frame.with_(positions=frame.positions @ turn, cells=frame.cells @ turn)
    assert searches == [CUTOFF, CUTOFF, CUTOFF + SKIN]


def test_another_crystal_needs_a_new_list():
    lists = PairLists(CUTOFF)
    for name in ("NH3", "NH3", "CH3CN", "NH3", "SiH4", "CH4"):
        frame = Configurations.from_atoms(molecule(name, cell=[5.0, 5.0, 5.0], pbc=True))
        assert np.array_equal(pairs_of(lists, frame), pairs_of(PairLists(CUTOFF), frame))
