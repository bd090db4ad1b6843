"""Labels of frames and clusters by as many jobs side by side as asked for."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.labels import join_labels
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.workflows.base import StageWorkChain


def define_n_jobs(spec: WorkChainSpec) -> None:
    """Add the port ``n_jobs``."""
    spec.input(
        "n_jobs",
        valid_type=orm.Int,
        required=False,
        validator=lambda node, _: None if node is None or node.value > 0 else f"n_jobs = {node.value}: give 1 or more.",
        help="Jobs of labels that run side by side; without, one.",
    )


class LabelJobs(StageWorkChain):
    """Base of the WorkChains that label what they sample.

    The step that labels is ``ctx[label]`` in the end: a single job, or the calcfunction that joins what several gave.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports."""
        super().define(spec)
        define_n_jobs(spec)

    @property
    def n_jobs(self) -> int:
        """Jobs that share the labels."""
        return int(self.inputs.n_jobs.value) if "n_jobs" in self.inputs else 1

    def run_label_jobs(self, label: str, sets: Nodes) -> ToContext[str, orm.ProcessNode] | None:
        """All jobs at once; in this process one after another."""
        if self.n_jobs == 1:
            return self.compute("labels", label, **sets)
        submitted: dict[str, orm.ProcessNode] = {}
        for number in range(1, self.n_jobs + 1):
            part = orm.List([number, self.n_jobs])
            submitted |= self.compute("labels", f"{label}_{number}", part=part, **sets) or {}
        return ToContext(**submitted) if submitted else None

    def inspect_label_jobs(self, label: str) -> ExitCode | None:
        """Stop where a job failed; join what several gave."""
        if self.n_jobs == 1:
            return self.failed(self.ctx[label])
        jobs = [self.ctx[f"{label}_{number}"] for number in range(1, self.n_jobs + 1)]
        failure = next((failure for failure in map(self.failed, jobs) if failure is not None), None)
        if failure is not None:
            return failure
        parts = {f"part_{number}": labelled_sets(job) for number, job in enumerate(jobs, start=1)}
        shared = {"model": self.inputs.model, "inference": self.inputs.inference, "run_info": jobs[0].outputs.run_info}
        self.ctx[label] = self.call(join_labels, label, **shared, **parts)
        return self.failed(self.ctx[label])


def labelled_sets(step: orm.ProcessNode) -> dict[str, orm.Data]:
    """Labelled frames and clusters of a step, by link label."""
    found = {link.link_label: link.node for link in step.base.links.get_outgoing(node_class=orm.Data).all()}
    return {name: node for name, node in found.items() if isinstance(node, orm.TrajectoryData | ClusterSetData)}
