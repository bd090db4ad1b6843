"""Reference labels of cluster sets, by as many jobs side by side as asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.reference_labels import (
    compose_reference_labels,
    expansion_of,
    import_reference_labels,
    reference_fragments,
)
from aiida_mbetrain.calculations.reference_labels import validate_method, validate_reference_settings
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.reference_labels import ReferenceLabelsData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import InvalidSettings, MbetrainError
from aiida_mbetrain.settings import IN_PROCESS, ReferenceLabels
from aiida_mbetrain.workflows.base import StageWorkChain
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages

STAGE = "reference_labels"
Validator = Callable[[Any, Any], str | None]
"""Of a port, as AiiDA calls it: with the value and the port."""


class ReferenceLabelsWorkChain(StageWorkChain):
    """Label clusters by quantum chemistry: fragments, calculations, composition.

    Labels of the same method that the profile has are used, not calculated again.
    """

    needs_potential = False

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
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
        spec.input(
            "outputs",
            valid_type=orm.FolderData,
            required=False,
            help="Outputs of a program that was run elsewhere, to be read in place of calculations.",
        )
        define_heavy_stages(spec, STAGE)
        spec.inputs.validator = outputs_belong_to_programs_elsewhere(spec.inputs.validator)
        spec.input_namespace("sets", valid_type=ClusterSetData, dynamic=True, help="What is to be labelled.")
        spec.input_namespace(
            "crystals",
            valid_type=MolecularCrystalData,
            dynamic=True,
            required=False,
            help="Reference of each set, under its name; without, the one that the set was cut from.",
        )
        spec.outline(cls.setup, cls.make_fragments, cls.run_jobs, cls.inspect_jobs, cls.compose, cls.results)
        spec.output("labels", valid_type=ReferenceLabelsData, help="Of all fragments.")
        spec.output("missing", valid_type=orm.Dict, help="Missing fragments by set and frame; messages of failures.")
        spec.output_namespace("clusters", valid_type=ClusterSetData, dynamic=True)
        spec.output_namespace("expansions", valid_type=TableData, dynamic=True)

    def setup(self) -> ExitCode | None:
        """The crystal of each set, and what the profile knows of their fragments."""
        settings, sets = ReferenceLabels(**self.inputs.settings.get_dict()), dict(self.inputs.sets)
        given = self.inputs.get("crystals", {})
        try:
            crystals = {name: given[name] if name in given else crystal_of(node) for name, node in sets.items()}
            fragments = expansion_of(settings, sets, crystals).fragments
        except MbetrainError as error:
            return self.refuse(error)
        self.ctx.known = known_labels(settings, set(fragments.ids.tolist()))
        self.ctx.shared = {"settings": self.inputs.settings, "sets": sets, "crystals": crystals}
        return None

    def make_fragments(self) -> ExitCode | None:
        """Distinct fragments without a label, in bundles."""
        node = self.call(
            reference_fragments, "fragments", n_jobs=self.inputs.n_jobs, known=self.ctx.known, **self.ctx.shared
        )
        if node.is_finished_ok:
            outputs = outputs_of(node)
            self.ctx.bundles = {name: outputs[name] for name in sorted(outputs) if name.startswith("bundle_")}
            facts = node.outputs.summary.get_dict()
            self.report("{n_clusters} clusters: {n_fragments} fragments, {n_known} known".format(**facts))
        return self.failed(node)

    def run_jobs(self) -> ToContext[str, orm.ProcessNode] | None:
        """All bundles at once; in this process one after another.  Outputs from elsewhere are read instead."""
        if "outputs" in self.inputs:
            for name, bundle in self.ctx.bundles.items():
                inputs = {"settings": self.inputs.settings, "outputs": self.inputs.outputs}
                self.ctx[name] = self.call(import_reference_labels, name, fragments=bundle, **inputs)
            return None
        submitted: dict[str, orm.ProcessNode] = {}
        for name, bundle in self.ctx.bundles.items():
            submitted |= self.compute(STAGE, name, fragments=bundle, settings=self.inputs.settings) or {}
        return ToContext(**submitted) if submitted else None

    def inspect_jobs(self) -> ExitCode | None:
        """Stop where a bundle failed as a whole; the labels of the others are known the next time."""
        failures = (self.failed(self.ctx[name]) for name in self.ctx.bundles)
        return next((failure for failure in failures if failure is not None), None)

    def compose(self) -> ExitCode | None:
        """Clusters from their fragments."""
        labels = {name: self.ctx[name].outputs.labels for name in self.ctx.bundles}
        self.ctx.composed = self.call(
            compose_reference_labels, "compose", labels={**self.ctx.known, **labels}, **self.ctx.shared
        )
        return self.failed(self.ctx.composed)

    def results(self) -> None:
        """Hand out the nodes."""
        for name, node in outputs_of(self.ctx.composed).items():
            self.out(name.replace("__", "."), node)


def outputs_belong_to_programs_elsewhere(
    before: Validator | None,
) -> Validator:
    """Validator that adds to another: outputs are given for programs that are run elsewhere, and only for these."""

    def validate(inputs: Nodes, context: Any) -> str | None:
        message = None if before is None else before(inputs, context)
        if message is not None or "settings" not in inputs:
            return message
        if "outputs" not in inputs:
            return validate_reference_settings(inputs["settings"], context)
        program = ReferenceLabels(**inputs["settings"].get_dict()).method.program
        if program in IN_PROCESS:
            return f"outputs are those of a program that is run elsewhere, and {program} is not: leave them out."
        return "code is for calculations, and outputs are read: leave one out." if "code" in inputs else None

    return validate


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


def crystal_of(clusters: ClusterSetData) -> MolecularCrystalData:
    """The crystal that a cluster set was cut from.  Raises InvalidSettings where its history does not tell."""
    query = orm.QueryBuilder().append(ClusterSetData, filters={"id": clusters.pk}, tag="set")
    query.append(MolecularCrystalData, with_descendants="set", tag="crystal")
    query.distinct().order_by({"crystal": {"ctime": "desc"}})
    found: MolecularCrystalData | None = query.first(flat=True)
    if found is None:
        raise InvalidSettings(
            f"The history of ClusterSetData<{clusters.pk}> has no crystal: give it as an input, under crystals."
        )
    return found
