"""Molecular dynamics with classical nuclei: frames of a thermal ensemble, and the series that show it is one.

Integrators and their degrees of freedom: :mod:`.integrators`.  Restart: :mod:`.checkpoints`.  Windows that
stop a run: :mod:`.stability`.  Velocities start from the Maxwell-Boltzmann distribution; positions are never
wrapped into the cell, so that molecules stay whole if they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mbetrain.errors import InvalidSettings, InvalidStructure
from aiida_mbetrain.science.configurations import Configurations, FloatArray
from aiida_mbetrain.science.molecular_dynamics.cached_calculator import SinglePass
from aiida_mbetrain.science.molecular_dynamics.integrators import (
    build_integrator,
    conserved_energy,
    integrator_state,
    maxwell_boltzmann_momenta,
    restore_integrator,
)
from aiida_mbetrain.science.molecular_dynamics.restart_state import (
    Checkpoint,
    restore_rng,
    rng_state_to_json,
    run_fingerprint,
)
from aiida_mbetrain.science.molecular_dynamics.stability import StabilityGuard
from aiida_mbetrain.science.molecular_dynamics.trajectory import Recorder, Schedule
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Observe, Report, ShouldStop, ignore, never, silent
from aiida_mbetrain.settings import ClassicalMD

OnCheckpoint = Callable[[Checkpoint], None]


@dataclass(frozen=True, eq=False)
class MDRun:
    """Stored results of a run.

    frames: the stored frames, at t > time_equilibration_fs, with energies, forces, stress (of the potential
        alone; None where the potential has none), velocities, and features if asked for and offered; origin
        ``md_step`` (absolute) and ``time_fs``.
    series: one-dimensional arrays from t = 0 of ``time_fs``, ``temperature_K`` (of 3N - 3 degrees of freedom),
        ``pressure_GPa`` (kinetic part included), ``volume_A3``, ``potential_energy_eV``, ``kinetic_energy_eV``,
        ``conserved_energy_eV``; every frame's time is among them.  A finite system has pressure and volume nan.
    checkpoint: where to continue; None when finished.
    """

    frames: Configurations
    series: dict[str, FloatArray]
    checkpoint: Checkpoint | None = None
    finished: bool = True


def run_molecular_dynamics(
    supercell: Configurations,
    potential: Potential,
    settings: ClassicalMD,
    *,
    temperature_K: float,
    pressure_GPa: float | None = None,
    features: bool = False,
    checkpoint: Checkpoint | None = None,
    should_stop: ShouldStop = never,
    report: Report = silent,
    observe: Observe = ignore,
    checkpoint_interval_steps: int | None = None,
    on_checkpoint: OnCheckpoint | None = None,
) -> MDRun:
    """Run, or continue, molecular dynamics of one periodic cell (or, in NVT, of a finite system).

    supercell: one frame of at least two atoms.  pressure_GPa: needed in NPT, not read in NVT.
    features: store the feature vectors of every frame, from the pass that made its forces.
    checkpoint: continue from here; a run in pieces equals one in one go bit for bit (float64, same machine,
        potential without memory).
    should_stop: asked before every step; True returns an unfinished run with its checkpoint.
    report: called with steps done and steps in total.
    observe: given every point of the series as it is recorded.
    on_checkpoint: given a checkpoint every ``checkpoint_interval_steps`` absolute steps.
    The stress is evaluated at every step in NPT and at recorded steps in NVT, always in the pass of the forces.
    Raises UnstableDynamics, InvalidStructure, InvalidSettings, ElementsNotInModel, and UnreadableFile for a
    checkpoint of another run.
    """
    _check_inputs(supercell, potential, settings, temperature_K, pressure_GPa)
    state: dict[str, Any] = {"temperature_K": temperature_K, "features": features}
    state |= {"pressure_GPa": pressure_GPa} if settings.ensemble == "NPT" else {}
    fingerprint = run_fingerprint(supercell, settings, state, potential.describe())
    if checkpoint is not None:
        checkpoint.require(fingerprint)
    simulation = _Simulation(
        supercell, potential, settings, temperature_K, pressure_GPa, features, fingerprint, checkpoint
    )
    total = simulation.schedule.n_steps
    while simulation.step < total:
        if should_stop():
            return simulation.result(finished=False)
        simulation.advance()
        if simulation.schedule.records(simulation.step):
            observe(simulation.recorder.last_point())
        report(simulation.step, total)
        if on_checkpoint and checkpoint_interval_steps and simulation.step % checkpoint_interval_steps == 0:
            on_checkpoint(simulation.checkpoint())
    return simulation.result(finished=True)


class _Simulation:
    """One run's moving parts, at an absolute step."""

    def __init__(
        self,
        supercell: Configurations,
        potential: Potential,
        settings: ClassicalMD,
        temperature_K: float,
        pressure_GPa: float | None,
        features: bool,
        fingerprint: str,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.fingerprint = fingerprint
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
        self.evaluation = SinglePass(calculator, supercell.masses, self.guard.check_evaluation)
        self.atoms = _atoms(supercell, checkpoint)
        if checkpoint is None:
            self.atoms.set_momenta(maxwell_boltzmann_momenta(supercell.masses, temperature_K, self.rng))
        self.atoms.calc = self.evaluation
        self.integrator = build_integrator(
            self.atoms, settings, temperature_K=temperature_K, pressure_GPa=pressure_GPa, rng=self.rng
        )
        self.features = features and potential.has_features
        self.recorder = Recorder(self.atoms, self.schedule)
        if checkpoint is None:
            self._prepare(0)
            self._record()
        else:
            self._restore(checkpoint)

    @property
    def step(self) -> int:
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

    def result(self, *, finished: bool) -> MDRun:
        return MDRun(
            frames=self.recorder.frames(),
            series=self.recorder.series(),
            checkpoint=None if finished else self.checkpoint(),
            finished=finished,
        )

    def checkpoint(self) -> Checkpoint:
        results = {name: np.array(self.evaluation.results[name]) for name in ("energy", "forces")}
        if "stress" in self.evaluation.results:
            results["stress"] = self.evaluation.results["stress"].copy()
        return Checkpoint(
            fingerprint=self.fingerprint,
            step=self.step,
            positions=self.atoms.get_positions(),
            momenta=self.atoms.get_momenta(),
            cell=self.atoms.cell.array.copy() if self.guard.volume_A3 is not None else None,
            integrator=integrator_state(self.integrator),
            rng_state=rng_state_to_json(self.rng),
            results=results,
            frames=self.recorder.frames(),
            series=self.recorder.series(),
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.guard.step = checkpoint.step
        restore_integrator(self.integrator, checkpoint.integrator)
        restore_rng(self.rng, checkpoint.rng_state)
        results: dict[str, Any] = dict(checkpoint.results)
        self.evaluation.restore(self.atoms, results | {"energy": float(results["energy"])})
        self.recorder.restore(checkpoint.frames, checkpoint.series)


def _atoms(supercell: Configurations, checkpoint: Checkpoint | None) -> Atoms:
    if checkpoint is None:
        return Atoms(
            supercell.numbers,
            supercell.positions[0],
            cell=None if supercell.cells is None else supercell.cells[0],
            pbc=supercell.periodic,
        )
    atoms = Atoms(supercell.numbers, checkpoint.positions, cell=checkpoint.cell, pbc=supercell.periodic)
    atoms.set_momenta(checkpoint.momenta)
    return atoms


def _check_inputs(
    supercell: Configurations,
    potential: Potential,
    settings: ClassicalMD,
    temperature_K: float,
    pressure_GPa: float | None,
) -> None:
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
