"""Replicas: runs of one crystal that differ in temperature, pressure or seed, and whose evaluations are one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

from aiida_mbetrain.errors import InvalidSettings, UnstableDynamics
from aiida_mbetrain.science.configurations import AnyArray, Configurations
from aiida_mbetrain.science.io import array_to_text, text_to_array
from aiida_mbetrain.science.molecular_dynamics.common_batch import CommonBatch
from aiida_mbetrain.science.molecular_dynamics.restart_state import RestartState
from aiida_mbetrain.science.molecular_dynamics.run import MDRun, Simulation, check_inputs
from aiida_mbetrain.science.potentials import Potential
from aiida_mbetrain.science.progress import Observe, Report, ignore, silent
from aiida_mbetrain.settings import ClassicalMD, FeaturesDtype, Replica


@dataclass(frozen=True, eq=False)
class ReplicaState:
    """State of one replica between two steps of all.

    restart: None for one that was unstable at its start.  failure: message with which it ended; empty while it runs.
    """

    restart: RestartState | None
    failure: str = ""

    def to_arrays(self) -> dict[str, AnyArray]:
        """All but what is recorded, see :meth:`.restart_state.RestartState.to_arrays`."""
        return {"failure": text_to_array(self.failure)} | ({} if self.restart is None else self.restart.to_arrays())

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], recorded: Mapping[str, AnyArray]) -> Self:
        """The inverse of :meth:`to_arrays`."""
        restart = RestartState.from_arrays(arrays, recorded) if "step" in arrays else None
        return cls(restart, array_to_text(arrays["failure"]))


BeforeSteps = Callable[[Callable[[], dict[str, ReplicaState]]], None]
"""Given a function that makes the states of the moment, by replica; called often, so it must be cheap to ignore it."""


def run_replicas(
    supercell: Configurations,
    potential: Potential,
    settings: ClassicalMD,
    replicas: Mapping[str, Replica],
    *,
    features: bool = False,
    features_dtype: FeaturesDtype = "float32",
    start: Mapping[str, ReplicaState] | None = None,
    before_step: BeforeSteps | None = None,
    report: Report = silent,
    observe: Observe = ignore,
) -> dict[str, MDRun | UnstableDynamics]:
    """Run, or continue, molecular dynamics of one supercell at several conditions, step by step together.

    Each replica is a run of its own, as :func:`.run.run_molecular_dynamics` makes it; their geometries are evaluated
    by one call of the potential, so that the results differ from those of separate runs by the rounding of a batch.
    One replica by itself is that run, bit for bit.
    settings: of all; the seed is that of the replica.
    start: continue from these states of the same replicas; a batch in pieces equals one in one go bit for bit.
    before_step: called before every step with a function that gives the states of the moment; an error that it raises
        ends all.
    report: called with steps done and steps in total, of each replica.
    observe: told the number of replicas that still run, at every recorded step.
    Returns the run of every replica, or the error of one that became unstable, whose ``results`` are its outputs as
    far as they got; the others go on.
    Raises InvalidStructure, InvalidSettings, ElementsNotInModel.
    """
    if not replicas:
        raise InvalidSettings("replicas has no entry: give at least one.")
    batch = CommonBatch(potential)
    evaluated = batch if len(replicas) > 1 else potential
    found = start or {}
    runs: dict[str, _Run] = {}
    for name, replica in replicas.items():
        check_inputs(supercell, potential, settings, replica.temperature_K, replica.pressure_GPa)
        begin = partial(
            Simulation,
            supercell,
            evaluated,
            settings.model_copy(update={"rng_seed": replica.rng_seed}),
            replica.temperature_K,
            replica.pressure_GPa,
            features_dtype if features else None,
        )
        runs[name] = _Run(begin, found.get(name))
    batch.run([run.begin for run in runs.values()])
    while running := [run for run in runs.values() if run.is_unfinished]:
        if before_step is not None:
            before_step(lambda: {name: run.state() for name, run in runs.items()})
        batch.run([run.advance for run in running])
        simulation = running[0].current
        if simulation.schedule.records(simulation.step):
            observe({"n_running": sum(run.error is None for run in runs.values())})
        report(simulation.step, simulation.schedule.n_steps)
    return {name: run.outcome() for name, run in runs.items()}


class _Run:
    """One replica: its simulation, and the error that ended it."""

    def __init__(self, begin: Callable[[RestartState | None], Simulation], found: ReplicaState | None) -> None:
        self._begin = begin
        self._found = found
        self._simulation: Simulation | None = None
        self.error = UnstableDynamics(found.failure) if found is not None and found.failure else None

    @property
    def current(self) -> Simulation:
        """The simulation, which a replica has that has begun."""
        assert self._simulation is not None
        return self._simulation

    @property
    def is_unfinished(self) -> bool:
        """True while there are steps to make."""
        return self.error is None and self.current.step < self.current.schedule.n_steps

    def begin(self) -> None:
        """Evaluate the first geometry, or take over what was found."""
        restart = None if self._found is None else self._found.restart
        if self.error is None or restart is not None:
            self._keeping_instability(lambda: setattr(self, "_simulation", self._begin(restart)))

    def advance(self) -> None:
        """One time step."""
        self._keeping_instability(self.current.advance)

    def _keeping_instability(self, task: Callable[[], None]) -> None:
        try:
            task()
        except UnstableDynamics as error:
            self.error = error

    def state(self) -> ReplicaState:
        """The state between two steps."""
        restart = None if self._simulation is None else self._simulation.restart_state()
        return ReplicaState(restart, "" if self.error is None else self.error.message)

    def outcome(self) -> MDRun | UnstableDynamics:
        """The run, or the error with what was made before it."""
        if self.error is None:
            return self.current.results()
        if self._simulation is not None:
            self.error.results = self._simulation.results().outputs()
        return self.error
