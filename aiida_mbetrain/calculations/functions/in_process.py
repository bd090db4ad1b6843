"""Shared steps of the calcfunctions: errors as exit codes, the potential of a node, progress reports."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar

from aiida import orm
from aiida.engine import ExitCode, Process
from aiida.manage import get_manager

from aiida_mbetrain.calculations.exit_codes import exit_code_of, invalidates_cache
from aiida_mbetrain.calculations.functions import checkpoints
from aiida_mbetrain.calculations.functions.interruption import stop_on_signal
from aiida_mbetrain.data.conversion import as_node, as_science
from aiida_mbetrain.data.mace_model import MaceModelData
from aiida_mbetrain.data.sum_model import SumModelData
from aiida_mbetrain.errors import MbetrainError, StoppedEarly
from aiida_mbetrain.science.io import naming_full_disk
from aiida_mbetrain.science.potentials import NoPotential, Potential, named_calculator
from aiida_mbetrain.science.progress import Report, silent
from aiida_mbetrain.settings import Inference, JsonObject, NamedCalculator
from aiida_mbetrain.worker.machine import describe_machine

MODEL_TYPES = (MaceModelData, SumModelData, orm.Dict)
"""A MACE model, a sum of models, or a Dict with the name and parameters of an ASE calculator."""

P = ParamSpec("P")
R = TypeVar("R")
StageReport = Callable[[str, int, int], None]
_listener: list[StageReport] = []


@contextmanager
def listening(report: StageReport) -> Iterator[None]:
    """Send the progress of in-process stages to ``report(stage, done, total)`` inside the block."""
    _listener.append(report)
    try:
        yield
    finally:
        _listener.remove(report)


def report_for(stage: str) -> Report:
    """The progress callback of a stage: that of the innermost listener, or one that does nothing."""
    return functools.partial(_listener[-1], stage) if _listener else silent


def exit_codes(function: Callable[P, R]) -> Callable[P, R | ExitCode]:
    """Turn an MbetrainError into the ExitCode of the process; anything else is a bug and propagates.

    What the error carries becomes outputs of the process, which a function that returns an ExitCode cannot return.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | ExitCode:
        try:
            return function(*args, **kwargs)
        except MbetrainError as error:
            process = current_process()
            for name, value in error.results.items():
                assert process is not None  # only stages keep results, and they run as processes
                process.out(name, as_node(value))
            if process is not None and invalidates_cache(type(error)):
                process.node.base.caching.is_valid_cache = False  # of functions AiiDA does not look at the exit code
            return exit_code_of(error)

    return wrapped


def current_process() -> Process | None:
    """The process that this function runs in."""
    process = Process.current()
    return process if isinstance(process, Process) else None


def load_potential(model: orm.Data, inference: Inference) -> Potential:
    """Load the potential of a ``model`` input."""
    if isinstance(model, MaceModelData | SumModelData):
        return model.load(inference)
    assert isinstance(model, orm.Dict)
    return named_calculator(NamedCalculator(**model.get_dict()))


def run_stage(
    stage: str,
    model: orm.Data | None,
    inference: orm.Dict | None,
    settings: Mapping[str, object] | None = None,
    **inputs: orm.Data,
) -> dict[str, orm.Data]:
    """Run a heavy stage in this process and return its results as nodes, together with a ``run_info`` node.

    It continues from the checkpoint that an interrupted run of the same job has left in the folder of the profile.
    Model and inference are None for a stage that evaluates no potential.
    """
    from aiida_mbetrain.science.stages import STAGES, Job

    options = Inference() if inference is None else Inference(**inference.get_dict())
    began = time.perf_counter()
    potential = NoPotential() if model is None else load_potential(model, options)
    loading = time.perf_counter() - began
    checkpoints.settle_checkpoints()
    process = current_process()
    warnings: list[str] = []
    job = Job(
        inputs={name: as_science(node) for name, node in inputs.items()},
        potential=potential,
        settings=settings or {},
        inference=options,
        report=report_for(stage),
        warn=warnings.append,
        checkpoint=checkpoints.StageCheckpoint(process.node if process is not None else None),
        checkpoint_interval_s=checkpoints.INTERVAL_s,
    )
    # Not get_runner(): it would connect to the broker, which runs only beside a daemon.
    runner = get_manager()._runner
    start = time.perf_counter(), time.process_time()

    def run_info() -> JsonObject:
        spent = {"wall_time_s": time.perf_counter() - start[0], "cpu_time_s": time.process_time() - start[1]}
        spent["loading_time_s"] = loading
        said = {"warnings": warnings} if warnings else {}
        return {"stage": stage, "potential": potential.describe()} | said | spent | describe_machine()

    with stop_on_signal(in_daemon=runner is not None and runner.is_daemon_runner) as should_stop, naming_full_disk():
        try:
            results = STAGES[stage](replace(job, should_stop=should_stop))
        except StoppedEarly:
            raise StoppedEarly(
                f"{stage} was interrupted by a signal; what is done is kept: run the same again, and it goes on."
            ) from None
        except MbetrainError as error:
            error.results = {**error.results, "run_info": run_info()} if error.results else {}
            raise
    if process is not None:
        for warning in warnings:
            process.logger.warning(warning)
    return {name: as_node(value) for name, value in results.items()} | {"run_info": orm.Dict(run_info())}
