"""What a run would cost: counts by name, and memory that follows the number of atoms evaluated at once."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from ase.build import bulk

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import AsePotential, named_calculator
from aiida_mbetrain.science.stages import StageEstimate
from aiida_mbetrain.science.stages.cost_estimate import estimate_force_constants, price_supercells, probe_potential
from aiida_mbetrain.science.stages.memory_use import CLEAR
from aiida_mbetrain.settings import FreeEnergy, NamedCalculator

MEGABYTE = 2**20
ARGON = Configurations.from_atoms([bulk("Ar", "fcc", a=5.26, cubic=True)])


class Greedy(AsePotential):
    """Holds one MiB of pages for every atom that it is given (malloc might have some left), and counts them."""

    def __init__(self) -> None:
        lennard_jones = NamedCalculator(name="lennard_jones", parameters={"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0})
        self._inner = named_calculator(lennard_jones)
        self.given: list[int] = []

    def evaluate(self, sets, **options):
        atoms = sum(part.n_frames * part.n_atoms for part in sets)
        self.given.append(atoms)
        held = mmap.mmap(-1, atoms * MEGABYTE)
        np.frombuffer(held).fill(1.0)
        result = self._inner.evaluate([part.select([0]) for part in sets])
        assert len(held) == atoms * MEGABYTE
        return result


def stage_of(n_atoms: int) -> StageEstimate:
    return StageEstimate("any", np.eye(3, dtype=int), n_atoms, 1)


@pytest.mark.skipif(not CLEAR.exists(), reason="only Linux tells how memory grows")
def test_peak_memory_grows_with_the_atoms_evaluated_at_once():
    potential = Greedy()
    found = probe_potential(ARGON, potential, batch_atoms=130)
    assert potential.given == [128, 4]  # whole frames, as many as fit; then the timed one
    assert found.n_atoms == 128
    small, large = (found.peak_bytes(stage_of(n)) for n in (130, 1130))
    assert large - small == pytest.approx(1000 * MEGABYTE, rel=0.1)
    assert found.peak_bytes(stage_of(8)) == small  # small supercells and clusters fill a batch


def test_probe_without_features_and_a_measure_of_memory(monkeypatch):
    monkeypatch.setattr("aiida_mbetrain.science.stages.memory_use.CLEAR", CLEAR.with_name("missing"))
    found = probe_potential(ARGON, Greedy(), batch_atoms=4)
    assert found.peak_bytes(stage_of(8)) is None
    assert found.n_features == 0
    assert found.seconds_per_atom > 0


def test_displacements_are_those_of_one_crystal():
    """One displacement makes the force constants of fcc with one atom per primitive cell."""
    one = estimate_force_constants(ARGON, FreeEnergy(thermal_expansion=False, supercell_radius=7.0))
    assert (one.n_displacements, one.n_evaluations) == (1, 2)
    many = estimate_force_constants(ARGON, FreeEnergy(thermal_expansion=True, supercell_radius=7.0))
    assert many.n_displacements == 1
    assert many.n_evaluations > 2 * one.n_evaluations


def test_price_of_the_whole_point_group_is_that_of_the_force_constants():
    """Hexagonal argon, where the cheapest supercell of 8 Å keeps a part of the point group."""
    crystal = Configurations.from_atoms([bulk("Ar", "hcp", a=3.72, c=6.07)])
    settings = FreeEnergy(thermal_expansion=False, supercell_radius=8.0)
    free, whole = price_supercells(crystal, settings)
    assert (free.keep_point_group, whole.keep_point_group) == (False, True)
    assert free.n_operations_kept < free.n_operations == whole.n_operations_kept == 24
    for price in (free, whole):
        asked = settings.model_copy(update={"keep_point_group": price.keep_point_group})
        stage = estimate_force_constants(crystal, asked)
        assert (price.n_atoms, price.n_displacements) == (stage.n_atoms, stage.n_displacements)


def test_price_says_where_no_supercell_keeps_the_point_group():
    crystal = Configurations.from_atoms([bulk("Ar", "hcp", a=3.72, c=6.07)])
    settings = FreeEnergy(supercell_radius=8.0)
    free, whole = price_supercells(crystal, settings)
    bounded = price_supercells(crystal, settings.model_copy(update={"max_atoms": whole.n_atoms - 1}))
    assert bounded[0] == free
    assert bounded[1].n_atoms is None
