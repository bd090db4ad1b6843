"""Replicas whose evaluations are one batch: the runs that they would be one by one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from md_in_pieces import ALGORITHMS
from md_potentials import MDPotential, SpringCrystal, spring_structure
from md_states import Interrupted

from aiida_mbetrain import demo
from aiida_mbetrain.errors import ElementsNotInModel, InvalidSettings, UnstableDynamics
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import ReplicaState, run_molecular_dynamics, run_replicas
from aiida_mbetrain.science.potentials import load_mace
from aiida_mbetrain.settings import ClassicalMD, Inference, Replica

THREE = {
    "cold": Replica(temperature_K=300.0, pressure_GPa=0.0, rng_seed=1),
    "hot": Replica(temperature_K=900.0, pressure_GPa=2.0, rng_seed=1),
    "other_seed": Replica(temperature_K=900.0, pressure_GPa=2.0, rng_seed=2),
}


class CountedBatches(SpringCrystal):
    """Springs that note the number of frames of every batch; a frame has the same bits in every batch."""

    def __init__(self, structure: Configurations) -> None:
        super().__init__(structure)
        self.batches: list[int] = []

    def evaluate(self, sets, *, features=False, report=None):
        self.batches.append(sum(part.n_frames for part in sets))
        return super().evaluate(sets, features=features, report=report)


def settings_of(algorithm="csvr", **changes):
    ensemble, field = ("NVT", "nvt_algo") if algorithm in ALGORITHMS[:2] else ("NPT", "npt_algo")
    values = {
        "ensemble": ensemble, field: algorithm, "time_step_fs": 2.0, "time_total_fs": 80.0,
        "sampling_interval_fs": 16.0, "time_equilibration_fs": 16.0, "thermostat_time_fs": 30.0,
        "barostat_time_fs": 100.0,
    }  # fmt: skip
    return ClassicalMD(**(values | changes))


def alone(settings, replica, potential, structure, **options):
    return run_molecular_dynamics(
        structure,
        potential,
        settings.model_copy(update={"rng_seed": replica.rng_seed}),
        temperature_K=replica.temperature_K,
        pressure_GPa=replica.pressure_GPa,
        **options,
    )


def assert_same(found, expected, **tolerance):
    """Equal bit for bit, or within a tolerance."""
    pairs = [(found.series, expected.series), (found.frames.to_arrays(), expected.frames.to_arrays())]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if tolerance:
                np.testing.assert_allclose(ours[name], value, err_msg=name, **tolerance)
            else:
                np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_replicas_are_the_runs_that_they_are_one_by_one(algorithm):
    structure, settings = spring_structure(), settings_of(algorithm)
    found = run_replicas(structure, SpringCrystal(structure), settings, THREE)
    assert list(found) == list(THREE)
    for name, replica in THREE.items():
        assert_same(found[name], alone(settings, replica, SpringCrystal(structure), structure), rtol=1e-12, atol=1e-12)


def test_every_step_is_one_batch_of_all_replicas():
    structure = spring_structure()
    potential = CountedBatches(structure)
    run_replicas(structure, potential, settings_of("mtk_full"), THREE)
    assert potential.batches == [3] * (40 + 1)
    assert potential.n_passes == 0


def test_one_replica_is_the_run_of_today_bit_for_bit():
    structure, settings = spring_structure(), settings_of("mtk_full")
    potential = CountedBatches(structure)
    found = run_replicas(structure, potential, settings, {"hot": THREE["hot"]})
    assert_same(found["hot"], alone(settings, THREE["hot"], SpringCrystal(structure), structure))
    assert potential.batches == []


class SuddenlyStiff(CountedBatches):
    """Springs that once pull the first atom of the second replica with 10⁴ eV/Å: in the 13th batch, of step 12."""

    def evaluate(self, sets, *, features=False, report=None):
        [labelled] = super().evaluate(sets, features=features, report=report)
        if len(self.batches) == 13:
            labelled.forces[1, 0] = [0.0, 0.0, 1e4]
        return [labelled]


def test_unstable_replica_ends_with_its_error_and_its_results_and_the_others_go_on():
    structure, settings = spring_structure(), settings_of()
    potential = SuddenlyStiff(structure)
    found = run_replicas(structure, potential, settings, THREE)
    error = found["hot"]
    assert isinstance(error, UnstableDynamics)
    assert "step 12 (24 fs): the force on atom 0 is 1e+04 eV/Å" in error.message
    whole = alone(settings, THREE["hot"], SpringCrystal(structure), structure)
    points = error.results["thermodynamics"].columns["time_fs"]
    np.testing.assert_array_equal(points, whole.series["time_fs"][: len(points)])
    assert points[-1] == 22.0
    assert "trajectory" not in error.results  # the equilibration and the first interval were not over
    for name in ("cold", "other_seed"):
        expected = alone(settings, THREE[name], SpringCrystal(structure), structure)
        assert_same(found[name], expected, rtol=1e-12, atol=1e-12)
    assert potential.batches == [3] * 13 + [2] * 28


def test_replica_that_is_unstable_at_its_start_has_no_results():
    crystal = spring_structure()
    moves = np.random.default_rng(1).normal(scale=0.05, size=crystal.positions.shape)
    moved = crystal.with_(positions=crystal.positions + moves)
    found = run_replicas(moved, SpringCrystal(crystal), settings_of(max_force=1e-8), THREE)
    assert all(isinstance(error, UnstableDynamics) and not error.results for error in found.values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("steps", [5, 20])
def test_batch_in_pieces_equals_one_in_one_go(algorithm, steps):
    structure, settings = spring_structure(), settings_of(algorithm)
    whole = run_replicas(structure, SuddenlyStiff(structure), settings, THREE)
    potential = SuddenlyStiff(structure)
    run = partial(run_replicas, structure, settings=settings, replicas=THREE)
    states = states_after(steps, partial(run, potential=potential))
    rest = SuddenlyStiff(structure)
    rest.batches = potential.batches[:]
    found = run(potential=rest, start=states)
    assert len(rest.batches) == 41
    assert found["hot"].message == whole["hot"].message
    for name, values in whole["hot"].results["thermodynamics"].columns.items():
        np.testing.assert_array_equal(found["hot"].results["thermodynamics"].columns[name], values)
    for name in ("cold", "other_seed"):
        assert_same(found[name], whole[name])


def states_after(n_steps, run):
    """The states after so many steps, through the arrays in which a caller keeps them."""
    kept = {}
    asked = iter(range(10**6))

    def before_step(states):
        if next(asked) == n_steps:
            kept.update({name: (state.to_arrays(), recorded(state)) for name, state in states().items()})
            raise Interrupted

    with pytest.raises(Interrupted):
        run(before_step=before_step)
    return {name: ReplicaState.from_arrays(*values) for name, values in kept.items()}


def recorded(state):
    return {name: np.array(values) for name, values in state.restart.recorded.items()}


class TestMace:
    SETTINGS = ClassicalMD(
        ensemble="NPT", time_step_fs=1.0, time_total_fs=12.0, time_equilibration_fs=0.0, sampling_interval_fs=4.0
    )

    def model(self):
        return load_mace(demo.model_path(), Inference(device="cpu"))

    def crystal(self):
        return Configurations.from_atoms(demo.crystal())

    def test_replicas_are_the_runs_that_they_are_one_by_one(self):
        structure, model = self.crystal(), self.model()
        found = run_replicas(structure, model, self.SETTINGS, THREE, features=True)
        for name, replica in THREE.items():
            expected = alone(self.SETTINGS, replica, model, structure, features=True)
            assert_same(found[name], expected, rtol=1e-6, atol=1e-8)

    def test_one_replica_is_the_run_of_today_bit_for_bit(self):
        structure, model = self.crystal(), self.model()
        found = run_replicas(structure, model, self.SETTINGS, {"hot": THREE["hot"]}, features=True)
        assert_same(found["hot"], alone(self.SETTINGS, THREE["hot"], self.model(), structure, features=True))

    def test_batch_in_pieces_equals_one_in_one_go(self):
        run = partial(run_replicas, self.crystal(), settings=self.SETTINGS, replicas=THREE, features=True)
        states = states_after(5, partial(run, potential=self.model()))
        found, whole = run(potential=self.model(), start=states), run(potential=self.model())
        for name in THREE:
            assert_same(found[name], whole[name])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"replicas": {}}, InvalidSettings, "replicas has no entry"),
        ({"potential": MDPotential()}, ElementsNotInModel, "The structure contains"),
    ],
)
def test_what_no_run_can_start_from_is_refused(changes, error, message):
    structure = spring_structure()
    if "potential" in changes:
        changes["potential"].elements = frozenset({1})
    inputs = {"potential": SpringCrystal(structure), "replicas": THREE} | changes
    with pytest.raises(error, match=message):
        run_replicas(structure, settings=settings_of(), **inputs)
