"""Configurations along the normal modes and the clusters cut from them."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.clusters import detect_molecules, extract_clusters
from aiida_mbetrain.calculations.functions.force_constants import phonon_sampling
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.settings import PhononSampling
from aiida_mbetrain.workflows.base import validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages
from aiida_mbetrain.workflows.label_jobs import LabelJobs
from aiida_mbetrain.workflows.md_sampling import cluster_outputs
from aiida_mbetrain.workflows.protocols import ProtocolMixin


class PhononSamplingWorkChain(ProtocolMixin, LabelJobs):
    """Sample configurations from phonon modes: molecules, frames, clusters, labels."""

    protocol_section = "phonon_sampling"
    source_port = "force_constants"
    heavy_stages = ("labels",)

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("force_constants", valid_type=ForceConstantsData, help="From any earlier run.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(PhononSampling().to_dict()),
            validator=validator_of(PhononSampling),
            help="The settings class PhononSampling.",
        )
        define_heavy_stages(spec, *cls.heavy_stages)
        spec.outline(
            cls.setup,
            cls.detect_molecules,
            cls.sample_phonons,
            cls.extract_clusters,
            cls.run_labels,
            cls.inspect_labels,
            cls.results,
        )
        spec.output("trajectory", valid_type=orm.TrajectoryData, help="The displaced frames, labelled.")
        spec.output("modes", valid_type=TableData, help="Sampled modes and every frame's amplitudes.")
        spec.output("molecular_crystal", valid_type=MolecularCrystalData, required=False)
        spec.output_namespace("clusters", valid_type=ClusterSetData, dynamic=True, required=False)

    def setup(self) -> None:
        """Read the settings."""
        self.ctx.settings = PhononSampling(**self.inputs.settings.get_dict())

    def detect_molecules(self) -> ExitCode | None:
        """Molecules of the supercell of the force constants."""
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        self.ctx.filter = orm.Dict(self.ctx.settings.finite_subsystem_filter.to_dict())
        node = self.call(
            detect_molecules,
            "detect_molecules",
            structure=self.inputs.force_constants,
            settings=self.ctx.filter,
        )
        self.ctx.molecular_crystal = node.outputs.result if node.is_finished_ok else None
        return self.failed(node)

    def sample_phonons(self) -> ExitCode | None:
        """Displace the supercell along the selected modes."""
        self.ctx.sampling = self.call(
            phonon_sampling,
            "phonon_sampling",
            force_constants=self.inputs.force_constants,
            settings=self.inputs.settings,
        )
        return self.failed(self.ctx.sampling)

    def extract_clusters(self) -> ExitCode | None:
        """Cut the clusters from every frame."""
        self.ctx.sets = {"frames": self.ctx.sampling.outputs.frames}
        if self.ctx.settings.finite_subsystem_filter is None:
            return None
        node = self.call(
            extract_clusters,
            "extract_clusters",
            frames=self.ctx.sampling.outputs.frames,
            molecular_crystal=self.ctx.molecular_crystal,
            settings=self.ctx.filter,
        )
        self.ctx.sets |= {link.link_label: link.node for link in node.base.links.get_outgoing().all()}
        return self.failed(node)

    def run_labels(self) -> ToContext[str, orm.ProcessNode] | None:
        """Energies, forces, stress and features of frames and clusters."""
        return self.run_label_jobs("labels", self.ctx.sets)

    def inspect_labels(self) -> ExitCode | None:
        """Stop where labelling failed."""
        return self.inspect_label_jobs("labels")

    def results(self) -> None:
        """Hand out the nodes."""
        self.out("trajectory", self.ctx.labels.outputs.frames)
        self.out("modes", self.ctx.sampling.outputs.modes)
        if self.ctx.settings.finite_subsystem_filter is not None:
            self.out("molecular_crystal", self.ctx.molecular_crystal)
            self.out("clusters", cluster_outputs(self.ctx.labels))
