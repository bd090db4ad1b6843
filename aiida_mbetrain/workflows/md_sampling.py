"""Molecular dynamics of a crystal and the clusters cut from it."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext, if_
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.clusters import detect_molecules, extract_clusters
from aiida_mbetrain.calculations.functions.molecular_dynamics import md_supercell
from aiida_mbetrain.data.cluster_set import ClusterSetData
from aiida_mbetrain.data.molecular_crystal import MolecularCrystalData
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.molecular_dynamics import dynamical_masses
from aiida_mbetrain.settings import FreeEnergy, MDSampling
from aiida_mbetrain.workflows.base import check_inputs, validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages
from aiida_mbetrain.workflows.label_jobs import LabelJobs
from aiida_mbetrain.workflows.protocols import ProtocolMixin


class MDSamplingWorkChain(ProtocolMixin, LabelJobs):
    """Sample thermally accessible configurations: supercell, molecules, dynamics, clusters, labels."""

    protocol_section = "md_sampling"
    heavy_stages = ("relaxation", "molecular_dynamics", "labels")

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
            if_(cls.should_relax)(cls.run_relaxation, cls.inspect_relaxation),
            cls.build_supercell,
            cls.detect_molecules,
            cls.run_md,
            cls.inspect_md,
            cls.extract_clusters,
            cls.label_clusters,
            cls.inspect_labels,
            cls.results,
        )
        spec.output("relaxed_structure", valid_type=orm.StructureData, required=False, help="Of relax_first.")
        spec.output("supercell", valid_type=orm.StructureData)
        spec.output("molecular_crystal", valid_type=MolecularCrystalData, required=False)
        spec.output("trajectory", valid_type=orm.TrajectoryData)
        spec.output("thermodynamics", valid_type=TableData)
        spec.output_namespace("clusters", valid_type=ClusterSetData, dynamic=True, required=False)

    def setup(self) -> ExitCode | None:
        """Check structure, elements and masses."""
        self.ctx.settings = MDSampling(**self.inputs.settings.get_dict())
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
            dynamical_masses(structure_to_configurations(self.inputs.structure), self.ctx.settings.md_crystal)
        except MbetrainError as error:
            return self.refuse(error)
        self.ctx.structure = self.inputs.structure
        return None

    def should_relax(self) -> bool:
        """Return True if the dynamics starts from the relaxed crystal."""
        return bool(self.ctx.settings.relax_first)

    def run_relaxation(self) -> ToContext[str, orm.ProcessNode] | None:
        """Relax the crystal."""
        settings = orm.Dict(relaxation_before(self.ctx.settings).to_dict())
        return self.compute("relaxation", structure=self.inputs.structure, settings=settings)

    def inspect_relaxation(self) -> ExitCode | None:
        """Go on with the relaxed crystal; stop where the relaxation failed."""
        failure = self.failed(self.ctx.relaxation)
        if failure is None:
            self.ctx.structure = self.ctx.relaxation.outputs.structure
            self.out("relaxed_structure", self.ctx.structure)
        return failure

    def build_supercell(self) -> ExitCode | None:
        """Build the supercell of the dynamics."""
        node = self.call(
            md_supercell,
            "supercell",
            structure=self.ctx.structure,
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
        return self.run_label_jobs("label_clusters", sets)

    def inspect_labels(self) -> ExitCode | None:
        """Stop where labelling failed."""
        return None if self.ctx.settings.finite_subsystem_filter is None else self.inspect_label_jobs("label_clusters")

    def results(self) -> None:
        """Hand out the clusters; the dynamics is handed out where it ends."""
        if "label_clusters" in self.ctx:
            self.out("molecular_crystal", self.ctx.molecular_crystal)
            self.out("clusters", cluster_outputs(self.ctx.label_clusters))


def relaxation_before(settings: MDSampling) -> FreeEnergy:
    """Settings of the relaxation before a dynamics.

    In NVT the cell is what the user chose, and stays.  The dynamics keeps no symmetry, so neither does its start, and
    forces a hundred times smaller than those of thermal motion do for it.
    """
    one_crystal = FreeEnergy(thermal_expansion=False, symmetrize_unit_cell=False, max_force_on_atom=1e-3)
    if settings.md_crystal.ensemble == "NVT":
        return one_crystal.model_copy(update={"relax_input_cell": "only_atoms"})
    return one_crystal.model_copy(update={"relax_input_cell": "full", "pressure_GPa": settings.pressure_GPa})


def cluster_outputs(labels_node: orm.ProcessNode) -> dict[str, ClusterSetData]:
    """The labelled cluster sets of a labels step, by link label."""
    nodes = {link.link_label: link.node for link in labels_node.base.links.get_outgoing().all()}
    return {label: node for label, node in nodes.items() if isinstance(node, ClusterSetData)}
