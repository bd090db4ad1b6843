"""What a run would cost: counts by name, and memory that follows the number of atoms evaluated at once."""

from __future__ import annotations

import mmap
import time
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.phonons import calculate_force_constants, sample_phonons
from aiida_mbetrain.science.potentials import AsePotential, named_calculator
from aiida_mbetrain.science.relaxation import relax
from aiida_mbetrain.science.stages import StageEstimate
from aiida_mbetrain.science.stages.cost_estimate import (
    estimate_force_constants,
    estimate_phonons,
    expected_modes,
    price_supercells,
)
from aiida_mbetrain.science.stages.memory_use import CLEAR
from aiida_mbetrain.science.stages.potential_probe import probe_potential
from aiida_mbetrain.settings import FreeEnergy, Inference, NamedCalculator, PhononFilter, PhononSampling

MEGABYTE = 2**20
LENNARD_JONES = NamedCalculator(
    name="lennard_jones", parameters={"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True}
)
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
    assert potential.given == [128, 4, 4, 4]  # whole frames, as many as fit; then the timed ones
    assert found.n_atoms == 128
    small, large = (found.peak_bytes(stage_of(n), Inference()) for n in (130, 1130))
    assert large - small == pytest.approx(1000 * MEGABYTE, rel=0.1)
    assert found.peak_bytes(stage_of(8), Inference()) == small  # small supercells and clusters fill a batch


def test_probe_without_features_and_a_measure_of_memory(monkeypatch):
    monkeypatch.setattr("aiida_mbetrain.science.stages.memory_use.CLEAR", CLEAR.with_name("missing"))
    found = probe_potential(ARGON, Greedy(), batch_atoms=4)
    assert found.peak_bytes(stage_of(8), Inference()) is None
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


class Waiting(Greedy):
    """Does nothing for a tenth of a second, as a process on a busy machine does."""

    def evaluate(self, sets, **options):
        time.sleep(0.1)
        return super().evaluate(sets, **options)


def test_time_on_a_cpu_is_that_of_the_work_and_not_of_waiting_for_it():
    found = probe_potential(ARGON, Waiting(), batch_atoms=4)
    assert 0 < found.seconds_per_atom * ARGON.n_atoms < 0.1


@pytest.mark.parametrize("mesh", ["gamma", "commensurate"])
def test_expected_modes_are_those_that_the_run_samples(mesh):
    """Four atoms in a cell: optical modes at Γ, and none of them a translation."""
    atoms = bulk("Ar", "hcp", a=3.72, c=6.07)
    potential = named_calculator(LENNARD_JONES)
    crystal = Configurations.from_atoms([atoms])
    free_energy = FreeEnergy(
        thermal_expansion=False, relax_input_cell="only_atoms", supercell_radius=7.0, max_force_on_atom=1e-3
    )
    sampling = PhononSampling(phonon_filter=PhononFilter(k_point_mesh=mesh), finite_subsystem_filter=None, n_frames=1)
    relaxed = relax(crystal, potential, free_energy).structure
    constants = calculate_force_constants(relaxed, potential, free_energy)
    sampled = sample_phonons(constants, sampling)
    expected = expected_modes(crystal, potential, free_energy, sampling.phonon_filter)
    assert expected == len(sampled.frequencies_THz) > 0
    estimate = estimate_phonons(crystal, free_energy, sampling, n_modes=expected)
    assert estimate.n_frames == sampled.frames.n_frames
    assert estimate_phonons(crystal, free_energy, sampling).n_frames > estimate.n_frames


def test_force_constants_count_among_what_is_stored():
    found = estimate_force_constants(ARGON, FreeEnergy(thermal_expansion=False, supercell_radius=7.0))
    assert found.bytes_stored(0, Inference()) == 8 * (3 * found.n_atoms) ** 2


@pytest.mark.parametrize(
    ("changes", "stored", "held"),
    [
        ({}, 4 * (100 + 60) * 7, 4 * 100 * 7),
        ({"features_dtype": "float64"}, 8 * (100 + 60) * 7, 8 * 100 * 7),
        ({"features": "clusters"}, 4 * 60 * 7, 0),
        ({"features": "none"}, 0, 0),
        ({"max_features_GB": 4.4e-6}, 4 * (100 + 60) * 7, 4 * 100 * 7),  # dynamics and labels are jobs of their own
        ({"max_features_GB": 2e-6}, 4 * 60 * 7, 0),
    ],
)
def test_features_are_counted_as_they_will_be_stored(changes, stored, held):
    stage = replace(stage_of(10), n_frames=10, n_cluster_atoms=60)
    inference, frames = Inference(**changes), 8 * 9 * 100
    assert stage.bytes_stored(7, inference) == frames + 8 * 6 * 60 + stored
    assert stage.bytes_held(7, inference) == frames + held
    assert stage.bytes_left_out(7, inference) == (4 * 100 * 7 if inference.max_features_GB == 2e-6 else 0)


@pytest.mark.parametrize(("limit_GB", "stored"), [(10.0, 4 * (100 + 60) * 7), (4.4e-6, 0)])
def test_frames_that_are_labelled_with_their_clusters_share_the_limit_with_them(limit_GB, stored):
    stage = replace(stage_of(10), n_frames=10, n_cluster_atoms=60, labels_frames=True)
    inference, frames = Inference(max_features_GB=limit_GB), 8 * 9 * 100
    assert stage.bytes_stored(7, inference) == frames + 8 * 6 * 60 + stored
    assert stage.bytes_held(7, inference) == frames
    assert stage.bytes_left_out(7, inference) == 4 * (100 + 60) * 7 - stored
