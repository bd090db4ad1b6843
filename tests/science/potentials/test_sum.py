"""Sums of potentials: energies, forces and stress are added, and dynamics with the sum conserves energy."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from models import rattled

from aiida_mbetrain.errors import ElementsNotInModel
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.potentials import SumPotential, load_mace, named_calculator
from aiida_mbetrain.settings import Inference, NamedCalculator

CPU = Inference(device="cpu")
LENNARD_JONES = NamedCalculator(name="lennard_jones", parameters={"sigma": 2.0, "epsilon": 0.01, "rc": 4.0})
ARGON = NamedCalculator(name="lennard_jones", parameters={"sigma": 3.4, "epsilon": 0.0104, "rc": 6.0, "smooth": True})
MORSE = NamedCalculator(name="morse", parameters={"epsilon": 0.002, "r0": 3.6, "rho0": 5.0, "rcut2": 6.0})


def test_labels_are_the_sums_and_features_those_of_the_first(models, small_sets):
    first, second = load_mace(models["scalar"], CPU), named_calculator(LENNARD_JONES)
    done: list[int] = []
    summed = SumPotential([first, second]).evaluate(small_sets, features=True, report=lambda n, _: done.append(n))
    ones, others = first.evaluate(small_sets, features=True), second.evaluate(small_sets)
    for found, one, other in zip(summed, ones, others, strict=True):
        np.testing.assert_allclose(found.energies, one.energies + other.energies, rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.forces, one.forces + other.forces, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(found.features, one.features)
        assert (found.stress is None) == (one.stress is None)
        if one.stress is not None:
            np.testing.assert_allclose(found.stress, one.stress + other.stress, rtol=0, atol=1e-12)
    assert done == sorted(done)
    assert done[-1] == sum(part.n_frames * part.n_atoms for part in small_sets)


def test_forces_are_the_derivative_of_the_energy(models):
    both = SumPotential([load_mace(models["scalar"], CPU), load_mace(models["vector"], CPU)])
    atoms = rattled(bulk("C", "diamond", a=3.6, cubic=True), 1, seed=2).to_atoms()[0]
    atoms.calc = both.calculator()
    forces = atoms.get_forces()
    ends = []
    for step in (1e-4, -1e-4):
        moved = atoms.copy()
        moved.positions[3, 1] += step
        moved.calc = both.calculator()
        ends.append(moved.get_potential_energy())
    assert -(ends[0] - ends[1]) / 2e-4 == pytest.approx(forces[3, 1], abs=1e-6)


def test_dynamics_with_the_sum_conserve_energy():
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True)
    atoms.calc = SumPotential([named_calculator(ARGON), named_calculator(MORSE)]).calculator()
    MaxwellBoltzmannDistribution(atoms, temperature_K=60, rng=np.random.default_rng(1))
    dynamics, energies = VelocityVerlet(atoms, 2 * units.fs), []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(50)
    kinetic = atoms.get_kinetic_energy()
    assert np.ptp(energies) < 1e-3 * kinetic


def test_only_elements_that_all_know_are_taken(models):
    both = SumPotential([load_mace(models["scalar"], CPU), named_calculator(LENNARD_JONES)])
    assert both.elements == frozenset({1, 6, 7})
    with pytest.raises(ElementsNotInModel, match="contains Ar"):
        both.evaluate([Configurations.from_atoms(bulk("Ar", "fcc", a=5.3))])


def test_the_hash_depends_on_both_terms(models):
    scalar, vector = (load_mace(models[name], CPU) for name in ("scalar", "vector"))
    hashes = {SumPotential(terms).describe()["sha256"] for terms in ([scalar, vector], [vector, scalar], [scalar])}
    assert len(hashes) == 3
