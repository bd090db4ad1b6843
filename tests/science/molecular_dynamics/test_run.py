"""What a run stores, how it stops, how it continues; the ensembles themselves are in test_ensembles.py."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import units
from md_in_pieces import ALGORITHMS, run_piece
from md_potentials import MDPotential, SpringCrystal, spring_structure
from md_states import load_state, state_after

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure, UnstableDynamics
from aiida_mbetrain.science.configurations import Configurations
from aiida_mbetrain.science.molecular_dynamics import run_molecular_dynamics
from aiida_mbetrain.settings import ClassicalMD


def md_settings(algorithm="csvr", **changes):
    ensemble, field = ("NVT", "nvt_algo") if algorithm in ALGORITHMS[:2] else ("NPT", "npt_algo")
    values = {
        "ensemble": ensemble, field: algorithm, "time_step_fs": 2.0, "time_total_fs": 160.0,
        "sampling_interval_fs": 40.0, "time_equilibration_fs": 40.0,
        "thermostat_time_fs": 30.0, "barostat_time_fs": 100.0,
    }  # fmt: skip
    return ClassicalMD(**(values | changes))


def run(settings, *, potential=None, structure=None, temperature_K=900.0, pressure_GPa=2.0, **options):
    structure = spring_structure() if structure is None else structure
    potential = SpringCrystal(structure) if potential is None else potential
    return run_molecular_dynamics(
        structure, potential, settings, temperature_K=temperature_K, pressure_GPa=pressure_GPa, **options
    )


def assert_same_run(a, b):
    assert a.frames.to_arrays().keys() == b.frames.to_arrays().keys()
    for name, value in a.frames.to_arrays().items():
        np.testing.assert_array_equal(value, b.frames.to_arrays()[name], err_msg=name)
    assert a.series.keys() == b.series.keys()
    for name, value in a.series.items():
        np.testing.assert_array_equal(value, b.series[name], err_msg=name)


class TestStorage:
    def test_frames_of_the_equilibration_and_the_start_are_absent(self):
        frames = run(md_settings()).frames
        np.testing.assert_array_equal(frames.origin["md_step"], [40, 60, 80])
        np.testing.assert_array_equal(frames.origin["time_fs"], [80.0, 120.0, 160.0])

    def test_without_equilibration_the_undisplaced_crystal_is_still_absent(self):
        frames = run(md_settings(time_equilibration_fs=0.0)).frames
        np.testing.assert_array_equal(frames.origin["md_step"], [20, 40, 60, 80])

    def test_equilibration_that_is_no_multiple_of_the_interval(self):
        frames = run(md_settings(time_equilibration_fs=42.0)).frames
        np.testing.assert_array_equal(frames.origin["md_step"], [40, 60, 80])

    def test_series_starts_at_zero_and_has_every_frame_among_its_points(self):
        result = run(md_settings(sampling_interval_fs=46.0))
        times = result.series["time_fs"]
        assert times[0] == 0.0
        assert np.isin(result.frames.origin["time_fs"], times).all()
        np.testing.assert_array_equal(times[:4], [0.0, 4.0, 8.0, 12.0])
        assert {len(values) for values in result.series.values()} == {len(times)}

    def test_series_grows_with_frames_and_not_with_steps(self):
        settings = md_settings(time_total_fs=2000.0, sampling_interval_fs=1000.0, time_step_fs=1.0)
        assert len(run(settings).series["time_fs"]) == 2 * 10 + 1

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_stored_labels_belong_to_the_stored_positions(self, algorithm):
        structure = spring_structure()
        frames = run(md_settings(algorithm)).frames
        (again,) = SpringCrystal(structure).evaluate([frames])
        np.testing.assert_allclose(frames.energies, again.energies, rtol=1e-12)
        np.testing.assert_allclose(frames.forces, again.forces, atol=1e-12)
        np.testing.assert_allclose(frames.stress, again.stress, atol=1e-14)

    @pytest.mark.parametrize("algorithm", ["csvr", "mtk_full"])
    def test_series_agrees_with_the_frames(self, algorithm):
        result = run(md_settings(algorithm))
        frames, at = result.frames, np.isin(result.series["time_fs"], result.frames.origin["time_fs"])
        series = {name: values[at] for name, values in result.series.items()}
        speeds = frames.velocities / units.fs
        kinetic_tensor = np.einsum("n,fna,fnb->fab", frames.masses, speeds, speeds)
        kinetic = 0.5 * np.trace(kinetic_tensor, axis1=1, axis2=2)
        pressure = (kinetic_tensor / frames.volumes[:, None, None] - frames.stress).trace(axis1=1, axis2=2) / 3
        np.testing.assert_allclose(series["kinetic_energy_eV"], kinetic, rtol=1e-12)
        np.testing.assert_allclose(series["temperature_K"], 2 * kinetic / (21 * units.kB), rtol=1e-12)
        np.testing.assert_allclose(series["volume_A3"], frames.volumes, rtol=1e-12)
        np.testing.assert_allclose(series["pressure_GPa"], pressure / units.GPa, rtol=1e-10)
        np.testing.assert_allclose(series["potential_energy_eV"], frames.energies, rtol=1e-15)

    def test_velocities_are_the_time_derivative_of_the_positions(self):
        frames = run(
            md_settings("nose_hoover_chain", time_step_fs=0.1, sampling_interval_fs=0.1, time_total_fs=42.0)
        ).frames
        slope = (frames.positions[2:] - frames.positions[:-2]) / 0.2
        np.testing.assert_allclose(slope, frames.velocities[1:-1], atol=2e-3 * np.abs(slope).max())

    def test_atoms_that_leave_the_cell_are_not_wrapped_back(self):
        structure = spring_structure()
        result = run(md_settings(time_total_fs=8000.0), potential=MDPotential(), structure=structure)
        fractional = np.einsum("fna,ab->fnb", result.frames.positions, np.linalg.inv(structure.cells[0]))
        assert np.abs(fractional).max() > 3.0
        steps = np.linalg.norm(np.diff(result.frames.positions, axis=0), axis=2)
        fastest = np.linalg.norm(result.frames.velocities, axis=2).max()
        assert steps.max() < 2 * fastest * 40.0


class TestEvaluations:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_one_pass_per_step_gives_integrator_series_and_frames_all_they_need(self, algorithm):
        potential = SpringCrystal(spring_structure())
        result = run(md_settings(algorithm), potential=potential)
        assert potential.n_passes == 80 + 1
        assert np.isfinite(result.series["pressure_GPa"]).all()

    def test_features_come_from_the_pass_that_made_the_forces(self):
        potential = SpringCrystal(spring_structure(), has_features=True)
        frames = run(md_settings(), potential=potential, features=True).frames
        assert frames.features.shape == (3, 8, 2)
        np.testing.assert_array_equal(frames.features[:, 0, 0], frames.energies.astype(np.float32))
        np.testing.assert_array_equal(frames.features[:, 0, 1], frames.origin["md_step"] + 1)
        assert potential.n_features == frames.n_frames

    @pytest.mark.parametrize("precision", ["float32", "float64"])
    def test_features_have_the_precision_that_is_asked_for(self, precision):
        potential = SpringCrystal(spring_structure(), has_features=True)
        frames = run(md_settings(), potential=potential, features=True, features_dtype=precision).frames
        assert frames.features.dtype == precision

    @pytest.mark.parametrize(("offered", "asked"), [(True, False), (False, True)])
    def test_no_features_unless_asked_for_and_offered(self, offered, asked):
        potential = SpringCrystal(spring_structure(), has_features=offered)
        assert run(md_settings(), potential=potential, features=asked).frames.features is None

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_rounding_of_the_forces_does_not_set_the_crystal_adrift(self, algorithm):
        class Biased(SpringCrystal):
            def frame(self, positions, cell):
                energy, forces, virial = super().frame(positions, cell)
                return energy, forces + 1e-3, virial

        frames = run(md_settings(algorithm), potential=Biased(spring_structure())).frames
        momentum = np.einsum("n,fna->fa", frames.masses, frames.velocities)
        assert np.abs(momentum).max() < 1e-12
        (raw,) = Biased(spring_structure()).evaluate([frames])
        np.testing.assert_allclose(frames.forces, raw.forces, atol=1e-12)


class TestSeeds:
    @pytest.mark.parametrize("algorithm", ["csvr", "mtk_isotropic"])
    def test_a_seed_reproduces_a_run(self, algorithm):
        assert_same_run(run(md_settings(algorithm)), run(md_settings(algorithm)))

    def test_another_seed_gives_another_run(self):
        a, b = run(md_settings()), run(md_settings(rng_seed=43))
        assert np.abs(a.frames.positions - b.frames.positions).max() > 0.01


class TestGuard:
    def test_force_above_the_limit_stops_before_the_first_step(self):
        structure = spring_structure()
        crowded = structure.positions.copy()
        crowded[0, 5] += [0.0, 0.0, 1.9]
        with pytest.raises(UnstableDynamics, match=r"step 0 .*force on atom \d+ is .* max_force = 1 eV"):
            run(
                md_settings(max_force=1.0),
                structure=structure.with_(positions=crowded),
                potential=SpringCrystal(structure),
            )

    def test_temperature_outside_its_window_names_step_value_window_and_remedy(self):
        settings = md_settings(temperature_window=(0.9, 1.1))
        with pytest.raises(UnstableDynamics, match=r"step \d+ .*temperature is .* K, .*\(0.9, 1.1\); reduce") as stop:
            run(settings)
        assert stop.value.code == 450

    def test_temperature_is_free_during_the_first_thermostat_time(self):
        settings = md_settings(temperature_window=(0.9999, 1.0001), thermostat_time_fs=160.0)
        assert run(settings).frames.n_frames == 3

    def test_volume_outside_its_window(self):
        with pytest.raises(UnstableDynamics, match=r"volume is .* Å³, .*volume_window = \(0.7, 1.5\)"):
            run(md_settings("mtk_isotropic", time_total_fs=1000.0), pressure_GPa=150.0)

    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_forces_that_are_not_numbers(self, algorithm):
        class Broken(SpringCrystal):
            def frame(self, positions, cell):
                energy, forces, virial = super().frame(positions, cell)
                return energy, forces * (np.nan if self.n_passes == 12 else 1.0), virial

        with pytest.raises(UnstableDynamics, match=r"step 11 .*nan eV/Å"):
            run(md_settings(algorithm), potential=Broken(spring_structure()))

    def test_energy_that_is_not_a_number(self):
        class Broken(SpringCrystal):
            def frame(self, positions, cell):
                return np.nan, *super().frame(positions, cell)[1:]

        with pytest.raises(UnstableDynamics, match="energy is nan"):
            run(md_settings(), potential=Broken(spring_structure()))

    def test_a_time_step_that_explodes_is_stopped(self):
        with pytest.raises(UnstableDynamics):
            run(md_settings(time_step_fs=80.0, sampling_interval_fs=80.0, time_equilibration_fs=0.0, time_total_fs=8e4))


class TestInputs:
    def test_finite_system_has_no_pressure_to_hold(self):
        finite = spring_structure().with_(cells=None)
        with pytest.raises(InvalidStructure, match="NVT"):
            run(md_settings("mtk_full"), structure=finite, potential=MDPotential())

    def test_finite_system_runs_in_nvt(self):
        bound = Configurations(np.array([8, 8]), np.array([[[0.0, 0, 0], [0, 0, 2.6]]]))

        class Dimer(MDPotential):
            def frame(self, positions, cell):
                vector = positions[1] - positions[0]
                length = np.linalg.norm(vector)
                pull = (length - 2.5) * vector / length
                return 0.5 * (length - 2.5) ** 2, np.array([pull, -pull]), np.zeros((3, 3))

        settings = md_settings(temperature_window=(1e-6, 1e6))
        result = run(settings, structure=bound, potential=Dimer(), pressure_GPa=None)
        assert result.frames.cells is None
        assert result.frames.stress is None
        assert np.isnan(result.series["pressure_GPa"]).all()
        assert np.isnan(result.series["volume_A3"]).all()

    @pytest.mark.parametrize("temperature", [0.0, -10.0, np.nan, np.inf])
    def test_temperature_must_be_positive(self, temperature):
        with pytest.raises(InvalidSettings, match="temperature_K"):
            run(md_settings(), temperature_K=temperature)

    @pytest.mark.parametrize("pressure", [None, np.nan])
    def test_npt_needs_a_pressure(self, pressure):
        with pytest.raises(InvalidSettings, match="pressure_GPa"):
            run(md_settings("mtk_full"), pressure_GPa=pressure)

    def test_negative_pressure_is_allowed(self):
        assert run(md_settings("mtk_isotropic"), pressure_GPa=-1.0).frames.n_frames == 3

    def test_one_atom_has_no_degree_of_freedom(self):
        one_atom = Configurations(np.array([18]), np.zeros((1, 1, 3)), np.eye(3)[None] * 3)
        with pytest.raises(InvalidStructure, match="at least two atoms"):
            run(md_settings(), potential=MDPotential(), structure=one_atom)

    def test_npt_needs_a_potential_with_stress(self):
        class NoStress(SpringCrystal):
            def calculator(self):
                calculator = super().calculator()
                calculator.implemented_properties = ["energy", "forces"]
                return calculator

        with pytest.raises(InvalidSettings, match="stress"):
            run(md_settings("mtk_full"), potential=NoStress(spring_structure()))
        result = run(md_settings(), potential=NoStress(spring_structure()))
        assert result.frames.stress is None
        assert np.isnan(result.series["pressure_GPa"]).all()


@pytest.fixture(scope="class")
def pieces(tmp_path_factory):
    """Restart states after 37 and after 37 + 29 steps, each made by a process of its own."""
    folders = []
    here = Path(__file__).parents[2] / "helpers"
    folder = tmp_path_factory.mktemp("md")
    for task in ("begin", "continue"):
        subprocess.run([sys.executable, here / "md_in_pieces.py", task, folder], check=True, cwd=here)
        copy = tmp_path_factory.mktemp(task)
        for path in folder.iterdir():
            (copy / path.name).write_bytes(path.read_bytes())
        folders.append(copy)
    return folders


class TestContinuation:
    @pytest.mark.parametrize("algorithm", ALGORITHMS)
    def test_three_processes_equal_one_bit_for_bit(self, algorithm, pieces):
        state = load_state(pieces[1] / f"{algorithm}.npz")
        assert state.step == 37 + 29
        assert_same_run(run_piece(algorithm, start=state), run_piece(algorithm))

    def test_every_place_to_cut_gives_the_same_run(self):
        whole = run_piece("mtk_full")
        for steps in (0, 1, 16, 24, 79):
            state = state_after(steps, partial(run_piece, "mtk_full"))
            assert state.step == steps
            assert_same_run(run_piece("mtk_full", start=state), whole)

    def test_states_taken_on_the_way_are_not_changed_by_later_steps(self):
        states = []
        whole = run(md_settings("mtk_full"), before_step=lambda state: states.append(state()))
        assert [state.step for state in states] == list(range(80))
        assert_same_run(run(md_settings("mtk_full"), start=states[50]), whole)

    def test_a_calculator_with_memory_of_other_geometries_does_not_matter_at_the_cut(self):
        """The forces at the cut come from the state: continuing costs one pass per step and none more."""
        structure = spring_structure()
        state = state_after(30, partial(run, md_settings()))
        potential = SpringCrystal(structure)
        run(md_settings(), potential=potential, start=state)
        assert potential.n_passes == 50

    def test_the_run_may_be_made_longer(self):
        state = state_after(50, partial(run, md_settings()))
        longer = md_settings(time_total_fs=240.0)
        assert_same_run(run(longer, start=state), run(longer))

    def test_features_survive(self):
        potential = SpringCrystal(spring_structure(), has_features=True)
        state = state_after(50, partial(run, md_settings(), potential=potential, features=True))
        result = run(md_settings(), potential=potential, features=True, start=state)
        assert result.frames.features.shape == (3, 8, 2)

    def test_progress_counts_absolute_steps(self):
        state = state_after(30, partial(run, md_settings()))
        seen = []
        run(md_settings(), start=state, report=lambda done, total: seen.append((done, total)))
        assert seen[0] == (31, 80)
        assert seen[-1] == (80, 80)
        assert len(seen) == 50
