"""Base class of the parsers: from the results of the worker to the nodes of the calcfunction of the stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aiida import orm
from aiida.engine import CalcJob, ExitCode, OutputPort
from aiida.engine.processes.ports import PortNamespace
from aiida.parsers import Parser

from aiida_mbetrain.calculations.exit_codes import exit_code_of, exit_code_of_status
from aiida_mbetrain.data.conversion import as_node
from aiida_mbetrain.errors import (
    JobCancelled,
    MbetrainError,
    NoResults,
    StoppedEarly,
    UnreadableFile,
    UnreadableResults,
)
from aiida_mbetrain.settings import JsonObject
from aiida_mbetrain.worker import codec, job_file

INTERRUPTED = (StoppedEarly.status,)
CANCELLED = re.compile(r"\*\*\* (JOB|STEP) \S+ ON \S+ CANCELLED AT \S+ \*\*\*")
"""SLURM's last words to a job; for a time limit, a preemption or a node failure they give it as the reason."""


def is_cancelled(accounting: str, stderr: str) -> bool:
    """Return True for a job that was cancelled, by SLURM's accounting (a table with bars) or what it wrote."""
    header, *rows = accounting.strip().splitlines() or [""]
    states = (dict(zip(header.split("|"), row.split("|"), strict=False)).get("State", "") for row in rows[:1])
    return any(state.startswith("CANCELLED") for state in states) or CANCELLED.search(stderr) is not None


def fits_output(ports: PortNamespace, name: str, node: orm.Data) -> bool:
    """Return True for an output that is declared with this type; a dot leads into a namespace."""
    first, _, rest = name.partition(".")
    port = ports.get(first)
    if rest and isinstance(port, PortNamespace):
        return fits_output(port, rest, node)
    if isinstance(port, OutputPort) and not rest:
        return isinstance(node, port.valid_type or orm.Data)
    known = port is None and ports.dynamic and all(part.isidentifier() for part in name.split("."))
    return known and isinstance(node, ports.valid_type or orm.Data)


class StageParser(Parser):
    """A parser that attaches outputs, run_info and checkpoint, and returns the exit code of the status word."""

    CACHE_VERSION = 1

    def parse(self, **kwargs: str) -> ExitCode | None:
        """Attach the outputs; return None to keep the exit code of the scheduler if there are no results."""
        folder = Path(kwargs["retrieved_temporary_folder"])
        self._keep_checkpoint(folder / job_file.CHECKPOINT)
        try:
            results = self._read_results()
            if results is None or results["status"] in INTERRUPTED:
                self._refuse_cancelled()
            if results is None:
                return self._without_results()
            self.out("run_info", orm.Dict({key: value for key, value in results.items() if key != "outputs"}))
            for warning in results.get("warnings", ()):
                self.logger.warning(warning)
            finished = results["status"] == job_file.FINISHED
            outputs = results["outputs"] if finished else results.get("outputs") or {}
            if outputs:
                nodes = self.output_nodes(folder / job_file.OUTPUTS, outputs)
                self._require_outputs_of_the_stage(nodes)
                for name, node in nodes.items():
                    self.out(name, node)
            if not finished:
                return exit_code_of_status(results["status"], results["message"])
        except (KeyError, UnreadableFile) as error:
            return exit_code_of(UnreadableResults(f"{job_file.RESULTS_FILE} or an output of the job: {error}"))
        except MbetrainError as error:
            return exit_code_of(error)
        return ExitCode(0)

    def output_nodes(self, folder: Path, entries: dict[str, JsonObject]) -> dict[str, orm.Data]:
        """The nodes of the stage's outputs."""
        return {name: as_node(codec.load(folder, entry)) for name, entry in entries.items()}

    def _require_outputs_of_the_stage(self, outputs: dict[str, orm.Data]) -> None:
        """Raise UnreadableResults for a name, or a type, that the job does not declare."""
        for name, node in outputs.items():
            if not fits_output(self.node.process_class.spec().outputs, name, node):
                raise UnreadableResults(
                    f"{job_file.RESULTS_FILE} has the output {name!r}, a {type(node).__name__}: none of the stage."
                )

    def _read_results(self) -> JsonObject | None:
        """The results.json of the worker; None if there is none."""
        try:
            text = self.retrieved.base.repository.get_object_content(job_file.RESULTS_FILE, "r")
        except FileNotFoundError:
            return None
        try:
            results: JsonObject = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UnreadableResults(f"{job_file.RESULTS_FILE} is damaged: {error}.") from error
        if not isinstance(results, dict) or not all(isinstance(results.get(key), str) for key in ("status", "message")):
            raise UnreadableResults(f"{job_file.RESULTS_FILE} has no status and message.")
        if results["status"] == job_file.FINISHED and not isinstance(results.get("outputs"), dict):
            raise UnreadableResults(f"{job_file.RESULTS_FILE} of a finished job has no outputs.")
        return results

    def _refuse_cancelled(self) -> None:
        """Raise JobCancelled for a job that its user or an administrator cancelled; AiiDA's monitors cancel, too."""
        told = self.node.get_detailed_job_info() or {}
        stopped_by_monitor = CalcJob.exit_codes.STOPPED_BY_MONITOR.status
        if self.node.exit_status != stopped_by_monitor and is_cancelled(
            str(told.get("stdout", "")), self.node.get_scheduler_stderr() or ""
        ):
            raise JobCancelled(
                f"Job {self.node.get_job_id()} was cancelled in the queue, so no other job was started; what it had "
                "saved is its output `checkpoint`. Set continue_cancelled of the stage for jobs that others cancel."
            )

    def _without_results(self) -> ExitCode | None:
        if self.node.exit_status:
            return None
        complaint = (self.node.get_scheduler_stderr() or "").strip().splitlines()[-1:]
        return exit_code_of(
            NoResults(
                f"The job left no {job_file.RESULTS_FILE}: it was killed, its node failed, or the worker could not "
                f"start. Last line of its standard error: {complaint[0] if complaint else 'none'}"
            )
        )

    def _keep_checkpoint(self, path: Path) -> None:
        if path.is_file() and not path.is_symlink():
            self.out("checkpoint", orm.SinglefileData(path))
