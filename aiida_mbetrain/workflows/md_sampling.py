"""Molecular dynamics of a crystal and the clusters cut from it."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.clusters import detect_molecules, extract_clusters
from aiida_mbetrain.calculations.functions.molecular_dynamics import md_supercell
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.settings import MDSampling
from aiida_mbetrain.workflows.base import StageWorkChain, check_inputs, validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages
from aiida_mbetrain.workflows.protocols import ProtocolMixin


class MDSamplingWorkChain(ProtocolMixin, StageWorkChain):
    """Sample thermally accessible configurations: supercell, molecules, dynamics, clusters, labels."""

    protocol_section = "md_sampling"
    heavy_stages = ("molecular_dynamics", "labels")

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The crystal.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(MDSampling().to_dict()),
            validator=validator_of(MDSampling),
            help="The settings class MDSampling.",
        )
        define_heavy_stages(spec, *cls.heavy_stages)
        spec.outline(
            cls.setup,
            cls.detect_molecules,
            cls.run_md,
            cls.inspect_md,
            cls.extract_clusters,
            cls.label_clusters,
            cls.inspect_labels,
            cls.results,
        )
        spec.output("supercell", valid_type=orm.StructureData)
        spec.output("molecular_crystal", valid_type=MolecularCrystalData, required=False)
        spec.output("trajectory", valid_type=orm.TrajectoryData)
        spec.output("thermodynamics", valid_type=TableData)
        spec.output_namespace("clusters", valid_type=ClusterSetData, dynamic=True, required=False)

    def setup(self) -> ExitCode | None:
        """Check structure and elements; build the supercell."""
        self.ctx.settings = MDSampling(**self.inputs.settings.get_dict())
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
        except MbetrainError as error:
            return self.refuse(error)
        node = self.call(
            md_supercell,
            "supercell",
            structure=self.inputs.structure,
            settings=orm.Dict(self.ctx.settings.md_crystal.to_dict()),
        )
        self.ctx.supercell = node.outputs.result if node.is_finished_ok else None
        return self.failed(node)

    def detect_molecules(self) -> ExitCode | None:
        """Molecules of the undistorted supercell, before any expensive step."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        self.ctx.filter = orm.Dict(self.ctx.settings.finite_subsystem_filter.to_dict())
        node = self.call(detect_molecules, "detect_molecules", structure=self.ctx.supercell, settings=self.ctx.filter)
        self.ctx.molecular_crystal = node.outputs.result if node.is_finished_ok else None
        return self.failed(node)

    def run_md(self) -> ToContext[str, orm.ProcessNode] | None:
        """Molecular dynamics of the supercell."""
        settings = self.ctx.settings.to_dict()
        wanted = {name: settings[name] for name in ("temperature_K", "pressure_GPa", "md_crystal")}
        return self.compute("molecular_dynamics", supercell=self.ctx.supercell, settings=orm.Dict(wanted))

    def inspect_md(self) -> ExitCode | None:
        """Hand out the dynamics, as far as it got; stop where it failed."""
        self.out("supercell", self.ctx.supercell)
        for name in ("trajectory", "thermodynamics"):
            if name in self.ctx.molecular_dynamics.outputs:
                self.out(name, self.ctx.molecular_dynamics.outputs[name])
        return self.failed(self.ctx.molecular_dynamics)

    def extract_clusters(self) -> ExitCode | None:
        """Cut the clusters from every stored frame."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        self.ctx.extraction = self.call(
            extract_clusters,
            "extract_clusters",
            frames=self.ctx.molecular_dynamics.outputs.trajectory,
            molecular_crystal=self.ctx.molecular_crystal,
            settings=self.ctx.filter,
        )
        return self.failed(self.ctx.extraction)

    def label_clusters(self) -> ToContext[str, orm.ProcessNode] | None:
        """Energies, forces and features of the clusters; the frames have theirs from the dynamics."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        sets = {link.link_label: link.node for link in self.ctx.extraction.base.links.get_outgoing().all()}
        return self.compute("labels", "label_clusters", **sets)

    def inspect_labels(self) -> ExitCode | None:
        """Stop where labelling failed."""
        return self.failed(self.ctx.label_clusters) if "label_clusters" in self.ctx else None

    def results(self) -> None:
        """Hand out the clusters; the dynamics is handed out where it ends."""
        if "label_clusters" in self.ctx:
            self.out("molecular_crystal", self.ctx.molecular_crystal)
            self.out("clusters", cluster_outputs(self.ctx.label_clusters))


def cluster_outputs(labels_node: orm.ProcessNode) -> dict[str, ClusterSetData]:
    """The labelled cluster sets of a labels step, by link label."""
    nodes = {link.link_label: link.node for link in labels_node.base.links.get_outgoing().all()}
    return {label: node for label, node in nodes.items() if isinstance(node, ClusterSetData)}
