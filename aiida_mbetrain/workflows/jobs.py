"""Restart WorkChains: a heavy stage as jobs, of which interrupted ones are continued."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, Process, ProcessHandlerReport, process_handler, while_
from aiida.engine.processes.ports import InputPort
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.exit_codes import define_exit_codes, exit_code_of
from aiida_mbetrain.calculations.force_constants import ForceConstantsCalculation
from aiida_mbetrain.calculations.isolated_molecule import IsolatedMoleculeCalculation
from aiida_mbetrain.calculations.labels import LabelsCalculation
from aiida_mbetrain.calculations.md_replicas import MDReplicasCalculation
from aiida_mbetrain.calculations.molecular_dynamics import MolecularDynamicsCalculation
from aiida_mbetrain.calculations.monitors import is_unstable
from aiida_mbetrain.calculations.reference_labels import ReferenceLabelsCalculation
from aiida_mbetrain.calculations.relaxation import RelaxationCalculation
from aiida_mbetrain.calculations.stage import StageCalculation
from aiida_mbetrain.calculations.training import TrainingCalculation
from aiida_mbetrain.errors import (
    DiskFull,
    JobCancelled,
    NoProgress,
    NoResults,
    StoppedEarly,
    UnreadableResults,
    UnstableDynamics,
)
from aiida_mbetrain.science.potentials import CPU_BATCH_ATOMS
from aiida_mbetrain.settings import Inference

SCHEDULER = StageCalculation.exit_codes
OUT_OF_MEMORY = SCHEDULER.ERROR_SCHEDULER_OUT_OF_MEMORY.status
INTERRUPTED = {
    StoppedEarly.code,
    DiskFull.code,
    NoResults.code,
    UnreadableResults.code,
    SCHEDULER.ERROR_NO_RETRIEVED_FOLDER.status,
    SCHEDULER.ERROR_SCHEDULER_OUT_OF_WALLTIME.status,
    SCHEDULER.ERROR_SCHEDULER_NODE_FAILURE.status,
}
"""Exit codes of jobs that another job continues."""

MAX_JOBS = 100
MAX_JOBS_WITHOUT_PROGRESS = 3
SMALLEST_BATCH_ATOMS = 16
NAMESPACE = "__"
"""Between the names in the label of a link, where the name of a port has a dot."""
NOT_PASSED_ON = ("retrieved", "remote_folder", "remote_stash", "checkpoint")


class StageJob(BaseRestartWorkChain):
    """Base of the restart WorkChains: one stage, in as many jobs as it takes."""

    _process_class: type[StageCalculation]

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.expose_inputs(cls._process_class, namespace="calculation")
        max_jobs, on_failure = spec.inputs["max_iterations"], spec.inputs["on_unhandled_failure"]
        assert isinstance(max_jobs, InputPort)
        assert isinstance(on_failure, InputPort)
        spec.input(
            "continue_cancelled",
            valid_type=orm.Bool,
            default=lambda: orm.Bool(False),
            help="Continue also a job that was cancelled in the queue.",
        )
        max_jobs.default = lambda: orm.Int(MAX_JOBS)
        on_failure.default = lambda: orm.Str("abort")
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )
        spec.expose_outputs(cls._process_class, exclude=NOT_PASSED_ON)
        define_exit_codes(spec)

    def setup(self) -> None:
        """The inputs of the first job."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(self._process_class, "calculation"))
        self.ctx.jobs_without_progress = 0

    def submit(self, process: type[Process], inputs: dict[str, Any] | None = None, **kwargs: object) -> orm.ProcessNode:
        """Submit in the daemon; under ``run`` run at once, for without a broker waiting for a submitted job would
        cost one ``runner.poll.interval`` (60 s by default) for nothing.
        """
        if self.runner.is_daemon_runner:
            return super().submit(process, inputs, **kwargs)
        _, node = self.runner.run_get_node(process, inputs, **kwargs)
        return node

    @process_handler(priority=200)
    def continue_interrupted(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Continue from the checkpoint: out of walltime, preempted, killed, node failed, disk full."""
        return self._next_job(node) if node.exit_status in INTERRUPTED else None

    @process_handler(priority=195)
    def continue_cancelled(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Continue a job that was cancelled, if the user wants that."""
        wanted = node.exit_status == JobCancelled.code and self.inputs.continue_cancelled.value
        return self._next_job(node) if wanted else None

    @process_handler(priority=190)
    def halve_batch(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Halve the batch after the scheduler killed the job for its memory, and continue."""
        if node.exit_status != OUT_OF_MEMORY:
            return None
        inference = Inference(**self.ctx.inputs.inference.get_dict())
        atoms = (inference.batch_atoms or CPU_BATCH_ATOMS) // 2
        if atoms < SMALLEST_BATCH_ATOMS:
            return self._give_up(node)
        self.ctx.inputs.inference = orm.Dict(inference.to_dict() | {"batch_atoms": atoms})
        self.report(f"out of memory: batches of {atoms} atoms from here on")
        return self._next_job(node)

    @process_handler(priority=0)
    def pass_on_failure(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End with the exit code of the job: refused input, physics and bugs would end another job the same way.

        What the job has made all the same, such as a trajectory that became unstable, is handed out.
        """
        if not node.is_failed:
            return None
        self.results()
        return self._give_up(node)

    def _next_job(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue from the checkpoint of the job, unless several jobs in a row made no progress."""
        if self._take_checkpoint(node):
            self.ctx.jobs_without_progress = 0
        else:
            self.ctx.jobs_without_progress += 1
        if self.ctx.jobs_without_progress == MAX_JOBS_WITHOUT_PROGRESS:
            error = NoProgress(
                f"{MAX_JOBS_WITHOUT_PROGRESS} jobs in a row brought no progress; the last one, <{node.pk}>, ended with "
                f"[{node.exit_status}] {node.exit_message} Raise max_wallclock_seconds or look into its files."
            )
            return ProcessHandlerReport(True, exit_code_of(error))
        return ProcessHandlerReport(True)

    def _take_checkpoint(self, node: orm.CalcJobNode) -> bool:
        """Make the checkpoint of the job the input of the next; return True if it differs from the one before."""
        if "checkpoint" not in node.outputs:
            return False
        new, old = node.outputs.checkpoint, self.ctx.inputs.get("checkpoint")
        self.ctx.inputs.checkpoint = new
        return old is None or old.base.repository.hash() != new.base.repository.hash()

    def _give_up(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        assert node.exit_status is not None
        return ProcessHandlerReport(True, ExitCode(node.exit_status, node.exit_message))

    def results(self) -> None:
        """Hand out the nodes of the last job."""
        node = self.ctx.children[-1]
        outputs = {link.link_label: link.node for link in node.base.links.get_outgoing(node_class=orm.Data).all()}
        for label, output in outputs.items():
            if label not in NOT_PASSED_ON:
                self.out(name_of_output(label), output)


def name_of_output(link_label: str) -> str:
    """The name under which a process hands out what has a link of this label: ``replicas.cold.trajectory``."""
    return link_label.replace(NAMESPACE, ".")


class RelaxationJob(StageJob):
    """Relaxation of a crystal."""

    _process_class = RelaxationCalculation


class IsolatedMoleculeJob(StageJob):
    """Relaxation and vibrations of an isolated molecule."""

    _process_class = IsolatedMoleculeCalculation


class MolecularDynamicsJob(StageJob):
    """Molecular dynamics of a supercell."""

    _process_class = MolecularDynamicsCalculation

    @process_handler(priority=180)
    def stopped_by_monitor(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End a run stopped by the stability monitor with the exit code of unstable dynamics."""
        message = node.exit_message or ""
        if node.exit_status != SCHEDULER.STOPPED_BY_MONITOR.status or not is_unstable(message):
            return None
        return ProcessHandlerReport(True, exit_code_of(UnstableDynamics(message)))


class MDReplicasJob(StageJob):
    """Molecular dynamics of several replicas of a supercell."""

    _process_class = MDReplicasCalculation


class ForceConstantsJob(StageJob):
    """Force constants of a relaxed crystal."""

    _process_class = ForceConstantsCalculation


class LabelsJob(StageJob):
    """Labels of frames and clusters."""

    _process_class = LabelsCalculation


class ReferenceLabelsJob(StageJob):
    """Reference labels of a bundle of fragments."""

    _process_class = ReferenceLabelsCalculation

    @process_handler(priority=195)
    def continue_out_of_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """The scheduler killed the job for its memory: go on from what was saved.

        A calculation in the midst of which two jobs were killed is recorded as failed, and the rest goes on.
        """
        return self._next_job(node) if node.exit_status == OUT_OF_MEMORY else None


class TrainingJob(StageJob):
    """Training of a model, continued from MACE's checkpoints."""

    _process_class = TrainingCalculation

    @process_handler(priority=195)
    def end_out_of_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End with the scheduler's code: a smaller batch would be another training."""
        return self._give_up(node) if node.exit_status == OUT_OF_MEMORY else None
