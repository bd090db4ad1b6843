"""Molecular dynamics with classical nuclei: frames of a thermal ensemble, and the series that show it is one.

Integrators and their degrees of freedom: :mod:`.integrators`.  Restart: :mod:`.restart_state`.  Windows that
stop a run: :mod:`.stability`.  Velocities start from the Maxwell-Boltzmann distribution; positions are never
wrapped into the cell, so that molecules stay whole if they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure, UnstableDynamics
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecular_dynamics.cached_calculator import Results, SinglePass
from aiida_mbetrain.science.molecular_dynamics.integrators import (
    build_integrator,
    conserved_energy,
    integrator_state,
    maxwell_boltzmann_momenta,
    restore_integrator,
)
from aiida_mbetrain.science.molecular_dynamics.masses import dynamical_masses
from aiida_mbetrain.science.molecular_dynamics.restart_state import RestartState, restore_rng, rng_state_to_json
from aiida_mbetrain.science.molecular_dynamics.stability import StabilityGuard
from aiida_mbetrain.science.molecular_dynamics.trajectory import Recorder, Schedule
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Observe, Report, ignore, silent
from aiida_mbetrain.science.tables import Table
from aiida_mbetrain.settings import ClassicalMD, FeaturesDtype

BeforeStep = Callable[[Callable[[], RestartState]], None]
"""Given a function that makes the restart state of the moment; called often, so it must be cheap to ignore it."""


@dataclass(frozen=True, eq=False)
class MDRun:
    """Stored results of a run.

    frames: the stored frames, at t > time_equilibration_fs, with energies, forces, stress (of the potential
        alone; None where the potential has none), velocities, and features if asked for and offered; origin
        ``md_step`` (absolute) and ``time_fs``; ``dynamical_masses`` where the settings repartition them.
    series: one-dimensional arrays from t = 0 of ``time_fs``, ``temperature_K`` (of 3N - 3 degrees of freedom),
        ``pressure_GPa`` (kinetic part included), ``volume_A3``, ``potential_energy_eV``, ``kinetic_energy_eV``,
        ``conserved_energy_eV``; every frame's time is among them.  A finite system has pressure and volume nan.
    """

    frames: Configurations
    series: dict[str, FloatArray]

    def outputs(self) -> dict[str, Configurations | Table]:
        """Trajectory and thermodynamics by name; a run that ended in its equilibration has no trajectory."""
        trajectory = {"trajectory": self.frames} if self.frames.n_frames else {}
        return trajectory | {"thermodynamics": Table(self.series)}


def run_molecular_dynamics(
    supercell: Configurations,
    potential: Potential,
    settings: ClassicalMD,
    *,
    temperature_K: float,
    pressure_GPa: float | None = None,
    features: bool = False,
    features_dtype: FeaturesDtype = "float32",
    start: RestartState | None = None,
    before_step: BeforeStep | None = None,
    report: Report = silent,
    observe: Observe = ignore,
) -> MDRun:
    """Run, or continue, molecular dynamics of one periodic cell (or, in NVT, of a finite system).

    supercell: one frame of at least two atoms.  pressure_GPa: needed in NPT, not read in NVT.
    features: store the feature vectors of every frame, from the pass that made its forces, in ``features_dtype``.
    start: continue from this state of a run with the same supercell, potential and settings (:data:`FREE_TO_CHANGE`
        apart); a run in pieces equals one in one go bit for bit (float64, same machine, potential without memory).
    before_step: called before every step with a function that gives the restart state of the moment; an error that
        it raises ends the run.
    report: called with steps done and steps in total.
    observe: given every point of the series as it is recorded.
    The stress is evaluated at every step in NPT and at recorded steps in NVT, always in the pass of the forces.
    Raises UnstableDynamics, whose ``results`` are the outputs so far; InvalidStructure, InvalidSettings,
    ElementsNotInModel.
    """
    check_inputs(supercell, potential, settings, temperature_K, pressure_GPa)
    simulation = Simulation(
        supercell, potential, settings, temperature_K, pressure_GPa, features_dtype if features else None, start
    )
    total = simulation.schedule.n_steps
    try:
        while simulation.step < total:
            if before_step is not None:
                before_step(simulation.restart_state)
            simulation.advance()
            if simulation.schedule.records(simulation.step):
                observe(simulation.recorder.last_point())
            report(simulation.step, total)
    except UnstableDynamics as error:
        error.results = simulation.results().outputs()
        raise
    return simulation.results()


class Simulation:
    """One run's moving parts, at an absolute step."""

    def __init__(
        self,
        supercell: Configurations,
        potential: Potential,
        settings: ClassicalMD,
        temperature_K: float,
        pressure_GPa: float | None,
        features_dtype: FeaturesDtype | None,
        start: RestartState | None,
    ) -> None:
        """features_dtype: None stores no features."""
        self.schedule = Schedule.from_settings(settings)
        self.rng = np.random.default_rng(settings.rng_seed)
        self.guard = StabilityGuard(
            settings, temperature_K, float(supercell.volumes[0]) if supercell.periodic else None
        )
        calculator = potential.calculator()
        self.has_stress = supercell.periodic and "stress" in calculator.implemented_properties
        if settings.ensemble == "NPT" and not self.has_stress:
            raise InvalidSettings("ensemble = 'NPT' needs a potential with stress, this one has none: use 'NVT'.")
        self.needs_stress = settings.ensemble == "NPT"
        masses = dynamical_masses(supercell, settings)
        self.evaluation = SinglePass(calculator, masses, self.guard.check_evaluation)
        self.atoms = _atoms(supercell, masses, start)
        if start is None:
            self.atoms.set_momenta(maxwell_boltzmann_momenta(masses, temperature_K, self.rng))
        self.atoms.calc = self.evaluation
        self.integrator = build_integrator(
            self.atoms, settings, temperature_K=temperature_K, pressure_GPa=pressure_GPa, rng=self.rng
        )
        self.features = features_dtype is not None and potential.feature_length > 0
        self.recorder = Recorder(self.atoms, self.schedule, supercell.masses, features_dtype)
        if start is None:
            self._prepare(0)
            self._record()
        else:
            self._restore(start)

    @property
    def step(self) -> int:
        """Absolute number of steps made."""
        return self.guard.step

    def advance(self) -> None:
        """One time step, checked and recorded."""
        self._prepare(self.step + 1)
        self.integrator.step()
        kinetic = self.atoms.get_kinetic_energy()
        volume = self.atoms.get_volume() if self.guard.volume_A3 is not None else None
        self.guard.check_state(self.recorder.temperature(kinetic), volume)
        self._record()

    def _prepare(self, step: int) -> None:
        self.guard.step = step
        self.evaluation.wants_stress = self.needs_stress or (self.has_stress and self.schedule.records(step))
        self.evaluation.wants_features = self.features and self.schedule.stores_frame(step)

    def _record(self) -> None:
        if self.schedule.records(self.step):
            # Touching the energy first makes the one evaluation of step 0.
            self.atoms.get_potential_energy()
            conserved = conserved_energy(self.integrator)
            self.recorder.record(self.step, self.evaluation.results, conserved)

    def results(self) -> MDRun:
        """The records up to now."""
        return MDRun(frames=self.recorder.frames(), series=self.recorder.series())

    def restart_state(self) -> RestartState:
        """Everything that decides the steps to come, copied."""
        results = {name: np.array(self.evaluation.results[name]) for name in ("energy", "forces")}
        if "stress" in self.evaluation.results:
            results["stress"] = self.evaluation.results["stress"].copy()
        return RestartState(
            step=self.step,
            positions=self.atoms.get_positions(),
            momenta=self.atoms.get_momenta(),
            cell=self.atoms.cell.array.copy() if self.guard.volume_A3 is not None else None,
            integrator=integrator_state(self.integrator),
            rng_state=rng_state_to_json(self.rng),
            results=results,
            recorded=self.recorder.rows(),
        )

    def _restore(self, start: RestartState) -> None:
        self.guard.step = start.step
        restore_integrator(self.integrator, start.integrator)
        restore_rng(self.rng, start.rng_state)
        results: Results = dict(start.results)
        self.evaluation.restore(self.atoms, results | {"energy": float(results["energy"])})
        self.recorder.restore(start.recorded)


def _atoms(supercell: Configurations, masses: FloatArray, start: RestartState | None) -> Atoms:
    positions = supercell.positions[0] if start is None else start.positions
    cell = start.cell if start is not None else None if supercell.cells is None else supercell.cells[0]
    atoms = Atoms(supercell.numbers, positions, cell=cell, pbc=supercell.periodic, masses=masses)
    if start is not None:
        atoms.set_momenta(start.momenta)
    return atoms


def check_inputs(
    supercell: Configurations,
    potential: Potential,
    settings: ClassicalMD,
    temperature_K: float,
    pressure_GPa: float | None,
) -> None:
    """Raise InvalidStructure, InvalidSettings or ElementsNotInModel for what no run can start from."""
    potential.require_elements(supercell.numbers)
    if supercell.n_frames != 1 or supercell.n_atoms < 2:
        raise InvalidStructure(
            f"Molecular dynamics starts from one frame of at least two atoms, "
            f"given {supercell.n_frames} frames of {supercell.n_atoms} atoms."
        )
    if not (np.isfinite(temperature_K) and temperature_K > 0):
        raise InvalidSettings(f"temperature_K = {temperature_K}: give a temperature above 0 K.")
    if settings.ensemble == "NPT":
        if not supercell.periodic:
            raise InvalidStructure("ensemble = 'NPT' needs a periodic cell, this structure is finite: use 'NVT'.")
        if pressure_GPa is None or not np.isfinite(pressure_GPa):
            raise InvalidSettings(f"pressure_GPa = {pressure_GPa}: ensemble = 'NPT' needs a pressure in GPa.")
