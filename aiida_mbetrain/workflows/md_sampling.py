"""Molecular dynamics of a crystal and the clusters cut from it."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.exit_codes import exit_code_of_status
from aiida_mbetrain.calculations.functions.clusters import extract_clusters
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import InvalidSettings
from aiida_mbetrain.settings import MDSampling
from aiida_mbetrain.workflows.base import validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages
from aiida_mbetrain.workflows.label_jobs import LabelJobs
from aiida_mbetrain.workflows.protocols import ProtocolMixin
from aiida_mbetrain.workflows.replica_port import define_replica_port, is_replica_of
from aiida_mbetrain.workflows.supercell_start import SupercellWorkChain

DYNAMICS = ("trajectory", "thermodynamics")
"""Outputs of a dynamics, and ports of one that was made together with others."""


class MDSamplingWorkChain(ProtocolMixin, SupercellWorkChain, LabelJobs):
    """Sample thermally accessible configurations: supercell, molecules, dynamics, clusters, labels."""

    protocol_section = "md_sampling"
    heavy_stages = ("relaxation", "molecular_dynamics", "labels")

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(MDSampling().to_dict()),
            validator=validator_of(MDSampling),
            help="The settings class MDSampling.",
        )
        define_replica_port(spec)
        define_heavy_stages(spec, *cls.heavy_stages)
        spec.outline(
            cls.setup,
            if_(cls.should_run)(
                if_(cls.should_relax)(cls.run_relaxation, cls.inspect_relaxation),
                cls.build_supercell,
                cls.detect_molecules,
                cls.run_md,
                cls.inspect_md,
            ).else_(cls.take_replica),
            cls.extract_clusters,
            cls.label_clusters,
            cls.inspect_labels,
            cls.results,
        )
        spec.output("molecular_crystal", valid_type=MolecularCrystalData, required=False)
        spec.output("trajectory", valid_type=orm.TrajectoryData)
        spec.output("thermodynamics", valid_type=TableData)
        spec.output_namespace("clusters", valid_type=ClusterSetData, dynamic=True, required=False)

    def setup(self) -> ExitCode | None:
        """Check structure, elements and masses."""
        return self.begin(MDSampling(**self.inputs.settings.get_dict()))

    def should_run(self) -> bool:
        """Return True unless the dynamics is there already, made together with others."""
        return "replica" not in self.inputs

    def run_md(self) -> ToContext[str, orm.ProcessNode] | None:
        """Molecular dynamics of the supercell."""
        settings = self.ctx.settings.to_dict()
        wanted = {name: settings[name] for name in ("temperature_K", "pressure_GPa", "md_crystal")}
        return self.compute("molecular_dynamics", supercell=self.ctx.supercell, settings=orm.Dict(wanted))

    def inspect_md(self) -> ExitCode | None:
        """Hand out the dynamics, as far as it got; stop where it failed."""
        outputs = self.ctx.molecular_dynamics.outputs
        self._hand_out({name: outputs[name] for name in DYNAMICS if name in outputs})
        return self.failed(self.ctx.molecular_dynamics)

    def take_replica(self) -> ExitCode | None:
        """Hand out the given dynamics, as far as it got; stop where it failed."""
        replica = self.inputs.replica
        made = {name: replica[name] for name in DYNAMICS if name in replica}
        for name, node in made.items():
            if not is_replica_of(node, self.ctx.settings, self.inputs.model, self.inputs.inference):
                return self.refuse(
                    InvalidSettings(
                        f"replica.{name} <{node.pk}> is not the dynamics of these settings with this model: give "
                        "what ReplicaSamplingWorkChain has made with them, or leave it out."
                    )
                )
        self.ctx.supercell = replica.supercell
        if "relaxed_structure" in replica:
            self.out("relaxed_structure", replica.relaxed_structure)
        self._hand_out(made)
        outcome = replica.outcome.get_dict()
        if outcome["status"] != "finished":
            self.report(outcome["message"])
            return exit_code_of_status(outcome["status"], outcome["message"])
        return self.detect_molecules()

    def _hand_out(self, made: dict[str, orm.Data]) -> None:
        self.out("supercell", self.ctx.supercell)
        self.ctx.trajectory = made.get("trajectory")
        for name, node in made.items():
            self.out(name, node)

    def extract_clusters(self) -> ExitCode | None:
        """Cut the clusters from every stored frame."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        self.ctx.extraction = self.call(
            extract_clusters,
            "extract_clusters",
            frames=self.ctx.trajectory,
            molecular_crystal=self.ctx.molecular_crystal,
            settings=self.ctx.filter,
        )
        return self.failed(self.ctx.extraction)

    def label_clusters(self) -> ToContext[str, orm.ProcessNode] | None:
        """Energies, forces and features of the clusters; the frames have theirs from the dynamics."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        sets = {link.link_label: link.node for link in self.ctx.extraction.base.links.get_outgoing().all()}
        return self.run_label_jobs("label_clusters", sets)

    def inspect_labels(self) -> ExitCode | None:
        """Stop where labelling failed."""
        return None if self.ctx.settings.finite_subsystem_filter is None else self.inspect_label_jobs("label_clusters")

    def results(self) -> None:
        """Hand out the clusters; the dynamics is handed out where it ends."""
        if "label_clusters" in self.ctx:
            self.out("molecular_crystal", self.ctx.molecular_crystal)
            self.out("clusters", cluster_outputs(self.ctx.label_clusters))


def cluster_outputs(labels_node: orm.ProcessNode) -> dict[str, ClusterSetData]:
    """The labelled cluster sets of a labels step, by link label."""
    nodes = {link.link_label: link.node for link in labels_node.base.links.get_outgoing().all()}
    return {label: node for label, node in nodes.items() if isinstance(node, ClusterSetData)}
