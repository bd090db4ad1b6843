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
from aiida_mbetrain.calculations.reference_labels import validate_reference_settings
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.crystals import Nodes
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.reference_labels import ReferenceLabelsData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import InvalidSettings, MbetrainError
from aiida_mbetrain.settings import IN_PROCESS, ReferenceLabels
from aiida_mbetrain.workflows.fragment_bundles import FragmentBundles, bundles_of, known_labels, outputs_of

Validator = Callable[[Any, Any], str | None]
"""Of a port, as AiiDA calls it: with the value and the port."""


class ReferenceLabelsWorkChain(FragmentBundles):
    """Label clusters by quantum chemistry: fragments, calculations, composition.

    Labels of the same method that the profile has are used, not calculated again.
    """

    needs_potential = False

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input(
            "outputs",
            valid_type=orm.FolderData,
            required=False,
            help="Outputs of a program that was run elsewhere, to be read in place of calculations.",
        )
        spec.inputs.validator = outputs_belong_to_programs_elsewhere(spec.inputs.validator)
        spec.input_namespace("sets", valid_type=ClusterSetData, dynamic=True, help="What is to be labelled.")
        spec.input_namespace(
            "crystals",
            valid_type=MolecularCrystalData,
            dynamic=True,
            required=False,
            help="Reference of each set, under its name; without, the one that the set was cut from.",
        )
        spec.input(
            "picks",
            valid_type=TableData,
            required=False,
            help="Columns `set` and `row` of the frames to be labelled, as `subsample` gives them; without, all.",
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
        picks = {"picks": self.inputs.picks} if "picks" in self.inputs else {}
        self.ctx.shared = {"settings": self.inputs.settings, "sets": sets, "crystals": crystals, **picks}
        return None

    def make_fragments(self) -> ExitCode | None:
        """Distinct fragments without a label, in bundles."""
        node = self.call(
            reference_fragments, "fragments", n_jobs=self.inputs.n_jobs, known=self.ctx.known, **self.ctx.shared
        )
        if node.is_finished_ok:
            self.ctx.bundles = bundles_of(node)
            facts = node.outputs.summary.get_dict()
            self.report("{n_clusters} clusters: {n_fragments} fragments, {n_known} known".format(**facts))
        return self.failed(node)

    def run_jobs(self) -> ToContext[str, orm.ProcessNode] | None:
        """All bundles at once; outputs from elsewhere are read instead."""
        if "outputs" not in self.inputs:
            return super().run_jobs()
        for name, bundle in self.ctx.bundles.items():
            inputs = {"settings": self.inputs.settings, "outputs": self.inputs.outputs}
            self.ctx[name] = self.call(import_reference_labels, name, fragments=bundle, **inputs)
        return None

    def compose(self) -> ExitCode | None:
        """Clusters from their fragments."""
        self.ctx.composed = self.call(
            compose_reference_labels, "compose", labels=self.labels_of_fragments(), **self.ctx.shared
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
