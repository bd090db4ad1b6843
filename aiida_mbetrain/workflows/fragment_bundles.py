"""Fragments in bundles: labels that the profile has are used, the others calculated by jobs side by side."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.reference_labels import validate_method
from aiida_mbetrain.data.reference_labels import ReferenceLabelsData
from aiida_mbetrain.settings import ReferenceLabels
from aiida_mbetrain.workflows.base import StageWorkChain
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages

STAGE = "reference_labels"


class FragmentBundles(StageWorkChain):
    """Base of the WorkChains that calculate fragments.

    A subclass sets ``ctx.known``, labels of earlier runs, and ``ctx.bundles``, fragments without one.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports."""
        super().define(spec)
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(ReferenceLabels().to_dict()),
            validator=validate_method,
            help="The settings class ReferenceLabels.",
        )
        spec.input(
            "n_jobs",
            valid_type=orm.Int,
            default=lambda: orm.Int(1),
            validator=lambda node, _: None if node.value > 0 else f"n_jobs = {node.value}: give at least 1.",
            help="Jobs that run side by side.",
        )
        define_heavy_stages(spec, STAGE)

    def run_jobs(self) -> ToContext[str, orm.ProcessNode] | None:
        """All bundles at once; in this process one after another."""
        submitted: dict[str, orm.ProcessNode] = {}
        for name, bundle in self.ctx.bundles.items():
            submitted |= self.compute(STAGE, name, fragments=bundle, settings=self.inputs.settings) or {}
        return ToContext(**submitted) if submitted else None

    def inspect_jobs(self) -> ExitCode | None:
        """Stop where a bundle failed as a whole; the labels of the others are known the next time."""
        failures = (self.failed(self.ctx[name]) for name in self.ctx.bundles)
        return next((failure for failure in failures if failure is not None), None)

    def labels_of_fragments(self) -> dict[str, orm.Data]:
        """Known labels and those of the bundles, as inputs."""
        return {**self.ctx.known, **{name: self.ctx[name].outputs.labels for name in self.ctx.bundles}}


def bundles_of(process: orm.ProcessNode) -> dict[str, orm.Data]:
    """The bundles of fragments that a calcfunction made."""
    outputs = outputs_of(process)
    return {name: outputs[name] for name in sorted(outputs) if name.startswith("bundle_")}


def outputs_of(process: orm.ProcessNode) -> dict[str, orm.Data]:
    """Outputs of a process by link label."""
    links = process.base.links.get_outgoing(node_class=orm.Data).all()
    return {link.link_label: link.node for link in links if isinstance(link.node, orm.Data)}


def known_labels(settings: ReferenceLabels, ids: set[str]) -> dict[str, orm.Data]:
    """Labels of the method in the profile that cover some of the fragments, as inputs."""
    nodes = [node for node in tried_labels(settings, ids) if node.base.attributes.get("n_labelled")]
    return {f"known_{i}": node for i, node in enumerate(nodes)}


def tried_labels(settings: ReferenceLabels, ids: set[str]) -> list[ReferenceLabelsData]:
    """Results of the method in the profile for some of the fragments, oldest first, also where all failed.

    Those that a composition put together are left out.
    """
    query = orm.QueryBuilder().append(
        orm.ProcessNode, filters={"attributes.process_label": {"!==": "compose_reference_labels"}}, tag="job"
    )
    found = {"attributes.method_hash": settings.method.hash}
    query.append(ReferenceLabelsData, with_incoming="job", edge_filters={"type": "create"}, filters=found, tag="labels")
    query.order_by({"labels": {"ctime": "asc"}})
    return [node for node in query.all(flat=True) if not ids.isdisjoint(node.get_array("ids").tolist())]
