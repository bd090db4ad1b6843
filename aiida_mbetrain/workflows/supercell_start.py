"""Steps before molecular dynamics of a crystal: relaxation if asked for, supercell, molecules."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.clusters import detect_molecules
from aiida_mbetrain.calculations.functions.molecular_dynamics import md_supercell
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.molecular_dynamics import dynamical_masses
from aiida_mbetrain.settings import FreeEnergy, MDSampling
from aiida_mbetrain.workflows.base import StageWorkChain, check_inputs


class SupercellWorkChain(StageWorkChain):
    """Base of the WorkChains that run dynamics of a supercell of the input ``structure``.

    A subclass gives ``ctx.settings``, an MDSampling, in its first step.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """The crystal, and what is made of it."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The crystal.")
        spec.output("relaxed_structure", valid_type=orm.StructureData, required=False, help="Of relax_first.")
        spec.output("supercell", valid_type=orm.StructureData)

    def begin(self, settings: MDSampling) -> ExitCode | None:
        """Check structure, elements and masses."""
        self.ctx.settings = settings
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
            dynamical_masses(structure_to_configurations(self.inputs.structure), settings.md_crystal)
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


def relaxation_before(settings: MDSampling) -> FreeEnergy:
    """Settings of the relaxation before a dynamics.

    In NVT the cell is what the user chose, and stays.  The dynamics keeps no symmetry, so neither does its start, and
    forces a hundred times smaller than those of thermal motion do for it.
    """
    one_crystal = FreeEnergy(thermal_expansion=False, symmetrize_unit_cell=False, max_force_on_atom=1e-3)
    if settings.md_crystal.ensemble == "NVT":
        return one_crystal.model_copy(update={"relax_input_cell": "only_atoms"})
    return one_crystal.model_copy(update={"relax_input_cell": "full", "pressure_GPa": settings.pressure_GPa})
