"""Relaxation, force constants, bands and thermodynamics of one crystal."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Self

from aiida import orm
from aiida.engine import ExitCode, ToContext
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mbetrain.calculations.functions.force_constants import phonon_bands, thermodynamics
from aiida_mbetrain.data.force_constants import ForceConstantsData
from aiida_mbetrain.data.structures import structure_to_configurations
from aiida_mbetrain.data.tables import TableData
from aiida_mbetrain.errors import MbetrainError
from aiida_mbetrain.science.crystal import phonon_supercell_matrix
from aiida_mbetrain.settings import FreeEnergy
from aiida_mbetrain.workflows.base import StageWorkChain, check_inputs, validator_of
from aiida_mbetrain.workflows.heavy_stages import define_heavy_stages


class HarmonicCrystalWorkChain(StageWorkChain):
    """Relax a crystal and compute its force constants, phonon bands and harmonic thermodynamics.

    The crystal of a harmonic calculation, and every volume of a quasi-harmonic one.
    """

    heavy_stages: ClassVar[tuple[str, ...]] = ("relaxation", "force_constants")

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:  # type: ignore[override]  # AiiDA narrows the spec by class
        """Ports, outline, outputs."""
        super().define(spec)
        spec.input("structure", valid_type=orm.StructureData, help="The crystal, not relaxed.")
        spec.input(
            "settings",
            valid_type=orm.Dict,
            default=lambda: orm.Dict(FreeEnergy(thermal_expansion=False).to_dict()),
            validator=validator_of(FreeEnergy),
            help="The settings class FreeEnergy.",
        )
        define_heavy_stages(spec, *cls.heavy_stages)
        spec.outline(cls.setup, *cls.harmonic_steps())
        spec.output("structure", valid_type=orm.StructureData, help="The relaxed crystal.")
        spec.output("relaxed", valid_type=orm.TrajectoryData, help="The same with energy, forces and stress.")
        spec.output("relaxation", valid_type=orm.Dict, help="Steps, residual force and stress, space groups.")
        spec.output("force_constants", valid_type=ForceConstantsData)
        spec.output("phonon_bands", valid_type=orm.BandsData)
        spec.output("thermodynamics", valid_type=TableData, help="Harmonic, at the relaxed volume.")

    @classmethod
    def harmonic_steps(cls) -> tuple[Callable[[Self], object], ...]:
        """The steps of an outline from the structure to the thermodynamics."""
        return (
            cls.run_relaxation,
            cls.inspect_relaxation,
            cls.run_force_constants,
            cls.inspect_force_constants,
            cls.derive_harmonic_properties,
        )

    def setup(self) -> ExitCode | None:
        """Check elements and the size of the supercell before the relaxation."""
        settings = FreeEnergy(**self.inputs.settings.get_dict())
        try:
            check_inputs(self.inputs.structure, self.inputs.model)
            phonon_supercell_matrix(structure_to_configurations(self.inputs.structure), settings)
        except MbetrainError as error:
            return self.refuse(error)
        return None

    def run_relaxation(self) -> ToContext[str, orm.ProcessNode] | None:
        """Relax the input structure."""
        return self.compute("relaxation", structure=self.inputs.structure, settings=self.inputs.settings)

    def inspect_relaxation(self) -> ExitCode | None:
        """Hand out the relaxed crystal; stop where the relaxation failed."""
        failure = self.failed(self.ctx.relaxation)
        if failure is None:
            self.out("structure", self.ctx.relaxation.outputs.structure)
            self.out("relaxed", self.ctx.relaxation.outputs.relaxed)
            self.out("relaxation", self.ctx.relaxation.outputs.summary)
        return failure

    def run_force_constants(self) -> ToContext[str, orm.ProcessNode] | None:
        """Finite displacements of the relaxed crystal."""
        return self.compute(
            "force_constants", structure=self.ctx.relaxation.outputs.structure, settings=self.inputs.settings
        )

    def inspect_force_constants(self) -> ExitCode | None:
        """Hand out the force constants; report a supercell that loses a part of the point group."""
        failure = self.failed(self.ctx.force_constants)
        if failure is None:
            self.out("force_constants", self.ctx.force_constants.outputs.force_constants)
            facts = self.ctx.force_constants.outputs.force_constants.base.attributes
            n_kept, n_operations = facts.get("n_operations_kept"), facts.get("n_operations")
            if n_kept < n_operations:
                self.report(
                    f"the supercell keeps {n_kept} of {n_operations} operations of the point group, and so do the "
                    "force constants: the q mesh is reduced by these alone; keep_point_group = True keeps all"
                )
        return failure

    def derive_harmonic_properties(self) -> ExitCode | None:
        """Bands and thermodynamics; modes that the free energy leaves out are reported."""
        node = self.ctx.force_constants.outputs.force_constants
        self.ctx.bands = self.call(phonon_bands, "phonon_bands", force_constants=node)
        self.ctx.thermodynamics = self.call(
            thermodynamics, "thermodynamics", force_constants=node, settings=self.inputs.settings
        )
        failure = self.failed(self.ctx.bands) or self.failed(self.ctx.thermodynamics)
        if failure is None:
            self.out("phonon_bands", self.ctx.bands.outputs.result)
            self.out("thermodynamics", self.ctx.thermodynamics.outputs.result)
            self._report_left_out_modes(self.ctx.thermodynamics.outputs.result)
        return failure

    def _report_left_out_modes(self, table: TableData) -> None:
        n_modes, n_left_out, n_imaginary = (
            int(table.get_array(name)[0]) for name in ("n_modes", "n_left_out_modes", "n_imaginary_modes")
        )
        if n_left_out:
            lowest = (float(table.get_array(f"{kind}_freq_min_THz")[0]) for kind in ("acoustic", "optical"))
            acoustic, optical = (f"{frequency:.3f}" for frequency in lowest)
            self.report(
                f"{n_left_out} of {n_modes} modes of the mesh have no real frequency and enter no sum, {n_imaginary} "
                f"of them below imaginary_mode_threshold: lowest acoustic frequency {acoustic} THz, lowest optical "
                f"{optical} THz"
            )
